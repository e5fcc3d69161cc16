"""Region trees of photographs, built once: kept beside the training as NAME-DIGEST.npz."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from model_zoo.encoders import Encoder
from model_zoo.errors import BadInput
from model_zoo.training.pictures import LONGEST, Picture
from model_zoo.training.region_tree import RegionTree, build_tree
from model_zoo.training.salience import separation
from model_zoo.training.tree_features import LONG_SIDE, PyramidMix, token_features


@dataclass(frozen=True, eq=False)
class TreeCache:
    """Trees in a folder. The digest is that of the image file and of all that its tree depends on."""

    folder: Path
    encoder: Encoder

    def get(self, picture: Picture) -> RegionTree:
        """The tree of a photograph, built when it is not there; raises BadInput for what is no image."""
        path = self.folder / f"{picture.name}-{self._digest(picture.image)}.npz"
        try:
            return RegionTree.load(path.read_bytes())
        except (OSError, BadInput):  # not there, or cut short by a full disk
            pass
        features = token_features(picture.load(), self.encoder)
        tree = build_tree(features)
        tree = replace(tree, separation=separation(features, tree))
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        data = tree.save()
        unfinished.write_bytes(data)
        unfinished.replace(path)
        return RegionTree.load(data)  # rounded as the next run will find it

    def _digest(self, image: Path) -> str:
        try:
            content = image.read_bytes()
        except OSError as error:
            raise BadInput(f"{image} cannot be read: {error}; remove or replace it") from error
        facts = (self.encoder.fingerprint, PyramidMix(), LONG_SIDE, LONGEST, "separation")
        return hashlib.sha256(repr(facts).encode() + content).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Grown:
    """A photograph with its tree, or with the reason why it has none."""

    picture: Picture
    tree: RegionTree | None
    problem: str = ""


def grow_trees(pictures: Sequence[Picture], cache: TreeCache) -> Iterator[Grown]:
    """Trees one after the other, in the order of the photographs; unreadable ones are reported, not raised."""
    for picture in pictures:
        try:
            grown = Grown(picture, cache.get(picture))
        except BadInput as error:
            grown = Grown(picture, None, str(error))
        yield grown
