"""Labels that a click model gives itself: its answers to clicks towards salient regions of a tree, where both agree.

A tree region has the place of an object and the coarse outline of its cells. In a model that learnt from many, their
errors cancel out in part, and its answer follows the photograph more closely; where the answer overlaps the region
that it was asked for, it takes the region's place. No mask that a person drew is used. Own idea, in the spirit of
pseudo-labels (Lee, ICML workshop 2013: a model learns from its own confident answers) and of Noisy Student (Xie et
al., CVPR 2020: the student sees varied views, here those of ``views`` and ``pasting``).
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo.errors import BadInput
from model_zoo.evaluation.clicker import center_click
from model_zoo.evaluation.metrics import iou
from model_zoo.evaluation.noc import click_through
from model_zoo.prompt import Click
from model_zoo.segmenters.base import Embedding, Mask, Segmenter
from model_zoo.segmenters.probability import probability
from model_zoo.training.pictures import LONGEST, SEAM, Bools, TreeRegions
from model_zoo.training.region_tree import RegionTree
from model_zoo.training.tree_cache import Grown

REGIONS, CLICKS = 3, 3
"""Regions drawn in a photograph, and clicks made towards each, at most."""
GOOD = 0.9
"""IoU with the region above which no third click is made."""
AGREEING = 0.65
"""IoU with the region from which an answer is kept: below it was asked for something else."""
DOUBT = 0.1
"""Pixels whose probability is nearer to 0.5 do not count."""
TREE_SHARE = 0.4
"""Of the objects learnt from where a photograph has answers too: without them a model hears only itself."""
Bits = NDArray[np.uint8]
UNREADABLE = OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error
"""What damaged archives raise, whichever byte it is."""


@dataclass(frozen=True, eq=False)
class SelfRegions:
    """K answers kept for a photograph, one as likely as another.

    masks, doubts: (K, ceil(height * width / 8)) uint8, eight pixels a byte, row-major: objects, pixels in doubt.
    """

    height: int
    width: int
    masks: Bits
    doubts: Bits

    def __len__(self) -> int:
        return len(self.masks)

    def draw(self, rng: np.random.Generator) -> tuple[Bools, Bools]:
        chosen = int(rng.integers(len(self)))
        valid = ~self._unpacked(self.doubts[chosen])
        return self._unpacked(self.masks[chosen]) & valid, valid

    def _unpacked(self, bits: Bits) -> Bools:
        flat = np.unpackbits(bits, count=self.height * self.width)
        return flat.reshape(self.height, self.width).astype(np.bool_)

    def save(self) -> bytes:
        """The answers as a compressed npz archive without pickles; ``load`` reads it."""
        stream = io.BytesIO()
        size = np.array([self.height, self.width], dtype=np.int32)
        np.savez_compressed(stream, size=size, masks=self.masks, doubts=self.doubts)
        return stream.getvalue()

    @staticmethod
    def load(data: bytes) -> SelfRegions:
        """What ``save`` wrote; raises BadInput for anything else."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                height, width = archive["size"].tolist()
                masks, doubts = archive["masks"], archive["doubts"]
        except UNREADABLE as error:
            raise BadInput(f"self-made labels cannot be read: {error}; make them again") from error
        expected = len(masks), math.ceil(height * width / 8)
        for name, bits in (("masks", masks), ("doubts", doubts)):
            if bits.shape != expected or bits.dtype != np.uint8:
                raise BadInput(
                    f"self-made labels have {name} {bits.dtype} of shape {bits.shape}; expected uint8 of shape "
                    f"{expected} for {height}x{width} pixels; make them again"
                )
        return SelfRegions(height, width, masks, doubts)


@dataclass(frozen=True, eq=False)
class SelfLabeller:
    """Labels in a folder, NAME-DIGEST.npz; the digest is that of the image file and of all that they depend on.

    segmenter: the model asked; its fingerprint must tell its weights, see ``network_digest``. The same seed draws the
    same regions of a photograph, whatever the others are.
    """

    folder: Path
    segmenter: Segmenter
    seed: int = 0

    def get(self, grown: Grown) -> SelfRegions:
        """The answers kept for a photograph, asked for when they are not there; BadInput without an image or a tree."""
        if grown.tree is None:
            raise BadInput(f"{grown.picture.image} has no region tree to ask by: {grown.problem}")
        digest = self._digest(grown.picture.image, grown.tree)
        path = self.folder / f"{grown.picture.name}-{digest[:16]}.npz"
        try:
            return SelfRegions.load(path.read_bytes())
        except (OSError, BadInput):  # not there, or cut short by a full disk
            pass
        rng = np.random.default_rng([self.seed, int(digest[16:32], 16)])
        found = self._ask(grown.picture.load(), grown.tree, rng)
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        unfinished.write_bytes(found.save())
        unfinished.replace(path)
        return found

    def _digest(self, image: Path, tree: RegionTree) -> str:
        try:
            content = image.read_bytes()
        except OSError as error:
            raise BadInput(f"{image} cannot be read: {error}; remove or replace it") from error
        facts = (self.segmenter.fingerprint, self.seed, REGIONS, CLICKS, GOOD, AGREEING, DOUBT, SEAM, LONGEST)
        return hashlib.sha256(repr(facts).encode() + tree.children.tobytes() + content).hexdigest()

    def _ask(self, image: NDArray[np.uint8], tree: RegionTree, rng: np.random.Generator) -> SelfRegions:
        height, width = image.shape[:2]
        regions = TreeRegions(tree, height, width)
        embedding = self.segmenter.encode(image)
        masks, doubts = [], []
        for region, valid in _different(regions, rng):
            answer = _answer(self.segmenter, embedding, np.where(valid, region, 255).astype(np.uint8))
            if answer is not None:
                masks.append(np.packbits(answer.logits > 0))
                doubts.append(np.packbits(np.abs(probability(answer.logits) - 0.5) < DOUBT))
        shape = len(masks), math.ceil(height * width / 8)
        packed = (np.array(bits, dtype=np.uint8).reshape(shape) for bits in (masks, doubts))
        return SelfRegions(height, width, *packed)


def label_all(grown: Sequence[Grown], labeller: SelfLabeller) -> Iterator[tuple[Grown, SelfRegions]]:
    """Photographs and the answers kept for them, one after the other; some have none."""
    for one in grown:
        yield one, labeller.get(one)


def network_digest(network: torch.nn.Module) -> str:
    """Hex digest of all weights of a network, on whatever device they are."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _different(regions: TreeRegions, rng: np.random.Generator) -> Iterator[tuple[Bools, Bools]]:
    """Regions and the pixels that count; one drawn twice is asked for once."""
    seen: set[bytes] = set()
    for _ in range(REGIONS):
        region, valid = regions.draw(rng)
        key = np.packbits(region).tobytes()
        if key not in seen:
            seen.add(key)
            yield region, valid


def _answer(segmenter: Segmenter, embedding: Embedding, truth: NDArray[np.uint8]) -> Mask | None:
    """The answer to the last click towards a region, or None when it is another thing."""
    masks: list[Mask] = []

    def keep(_: tuple[Click, ...], mask: Mask, __: float) -> None:
        masks[:] = [mask]

    asked = click_through(
        segmenter, embedding, truth, max_clicks=CLICKS, target=math.inf, clicker=_click, on_click=keep
    )
    return masks[0] if masks and asked.ious[-1] >= AGREEING else None


def _click(mask: Bools, truth: NDArray[np.uint8], clicks: Sequence[Click]) -> Click | None:
    """As ``center_click``, until the answer to two clicks or more is good."""
    if len(clicks) > 1 and iou(truth, mask) > GOOD:
        return None
    return center_click(mask, truth, clicks)
