"""Batches of a click trainer: a few views, several objects in each, so that an image is encoded once for many."""

from __future__ import annotations

import math
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from model_zoo.errors import BadInput
from model_zoo.segmenters.zoom_in import Region
from model_zoo.training.pasting import PastePolicy, cut_out, paste
from model_zoo.training.pictures import Bools, LabelRegions, Picture, Regions, TreeRegions
from model_zoo.training.region_tree import RegionTree
from model_zoo.training.views import Shape, ViewPolicy, choose_view, cut, cut_labels, recolour

ATTEMPTS = 100
"""Photographs tried for one view; after a third of them any stretch will do."""
FEWEST = 8  # pixels of an object in its view


@dataclass(frozen=True)
class BatchPolicy:
    """How a batch is drawn. unlabelled: share of objects that are tree regions where a picture also has labels."""

    views: int = 6
    objects: int = 2
    unlabelled: float = 0.08
    smallest: float = 0.002  # share of the view that an object covers at least
    visible: float = 0.9  # share of an object that its view shows at least
    largest: float = 0.95
    paste: PastePolicy = field(default_factory=PastePolicy)


@dataclass(frozen=True, eq=False)
class Batch:
    """images: (V, H, W, 3) uint8. truth, valid: (V * K, H, W) bool; sample n shows image n // K."""

    images: NDArray[np.uint8]
    truth: Bools
    valid: Bools


@dataclass(frozen=True, eq=False)
class _Loaded:
    image: NDArray[np.uint8]
    labelled: Regions | None
    tree: TreeRegions | None

    @property
    def nbytes(self) -> int:
        height, width = self.image.shape[:2]
        maps = isinstance(self.labelled, LabelRegions)  # int32 and bool; other regions are kept elsewhere
        return self.image.nbytes + (5 * height * width if maps else 0)

    def source(self, unlabelled: float, rng: np.random.Generator) -> Regions | None:
        """Labels or tree for the next object; None when the picture has neither."""
        use_tree = self.labelled is None or (self.tree is not None and rng.random() < unlabelled)
        return self.tree if use_tree else self.labelled


class BatchMaker:
    """Draws batches; number i is the same for the same seed, whatever was drawn before and in which thread."""

    def __init__(
        self,
        pictures: Sequence[tuple[Picture, float]],
        trees: Mapping[str, RegionTree],
        *,
        views: ViewPolicy,
        policy: BatchPolicy,
        seed: int,
        supervised: bool = True,
        answers: Mapping[str, Regions] | None = None,
        cache_bytes: int = 8 << 30,
    ) -> None:
        """pictures: (picture, weight). trees: by image path. supervised False leaves their masks aside. answers: by
        image path, see ``self_labels``; the labels of pictures whose masks are not used. cache_bytes: of decoded
        photographs and label maps; those used longest ago are read again."""
        self._pictures = [picture for picture, _ in pictures]
        weights = np.array([weight for _, weight in pictures], dtype=np.float64)
        self._chances = weights / weights.sum()
        self._trees = trees
        self._answers = answers or {}
        self._views = views
        self._stretching = replace(views, stretched=math.inf)  # for photographs of unusual ratio
        self._policy = policy
        self._seed = seed
        self._supervised = supervised
        self._room = cache_bytes
        self._loaded: dict[int, _Loaded] = {}
        self._lock = threading.Lock()

    def make(self, number: int) -> Batch:
        """Batch ``number`` of this seed."""
        rng = np.random.default_rng([self._seed, number])
        shape = self._views.shape(rng)
        views = [self._view(shape, rng) for _ in range(self._policy.views)]
        return Batch(
            np.stack([image for image, _, _ in views]),
            np.concatenate([truth for _, truth, _ in views]),
            np.concatenate([valid for _, _, valid in views]),
        )

    def stream(self, first: int, stride: int = 1, ahead: int = 3) -> Generator[Batch, None, None]:
        """Batches first, first + stride, ... for ever, made ahead in one background thread."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as pool:
            numbers = [first + i * stride for i in range(ahead)]
            waiting: list[Future[Batch]] = [pool.submit(self.make, number) for number in numbers]
            number = first + ahead * stride
            try:
                while True:
                    batch = waiting.pop(0).result()
                    waiting.append(pool.submit(self.make, number))
                    number += stride
                    yield batch
            finally:
                for future in waiting:
                    future.cancel()

    def _view(self, shape: Shape, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Bools, Bools]:
        """(H, W, 3) image, (K, H, W) objects, (K, H, W) valid pixels."""
        for attempt in range(ATTEMPTS):
            loaded = self._load(int(rng.choice(len(self._pictures), p=self._chances)))
            source = loaded.source(self._policy.unlabelled, rng)
            if source is None:
                continue
            first = source.draw(rng)
            views = self._views if attempt < ATTEMPTS // 3 else self._stretching
            shown = choose_view(first[0], shape, views, rng) if first[0].any() else None
            if shown is None or not self._fits(first, shown):
                continue
            seen = self._cut_all(
                [first, *islice(self._others(loaded, shown, rng), self._policy.objects - 1)], shown, shape
            )
            if not seen:
                continue
            image = recolour(cut(loaded.image, shown, shape), self._views, rng)
            flip = slice(None, None, -1 if rng.random() < self._views.mirrored else 1)
            truths, valids = np.stack([t for t, _ in seen]), np.stack([v for _, v in seen])
            view = image[:, flip], truths[:, :, flip], valids[:, :, flip]
            return self._pasted(*view, rng) if rng.random() < self._policy.paste.chance else view
        raise BadInput("a hundred pictures in a row showed no object of a usable size; check the masks")

    def _pasted(
        self, image: NDArray[np.uint8], truths: Bools, valids: Bools, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], Bools, Bools]:
        """The view with an object of another picture, which takes the place of the first object asked for.

        Of the others what is left counts; those that are hidden for the most part are replaced too.
        """
        other = self._load(int(rng.choice(len(self._pictures), p=self._chances)))
        source = other.source(self._policy.unlabelled, rng)
        region = None if source is None else source.draw(rng)[0]
        if region is None or region.sum() < FEWEST or region.mean() > self._policy.paste.largest:
            return image, truths, valids
        piece, inside = cut_out(other.image, region)
        mixed, covered = paste(image, recolour(piece, self._views, rng), inside, self._policy.paste, rng)
        if covered.sum() < max(FEWEST, self._policy.smallest * covered.size):
            return image, truths, valids
        left = truths & ~covered
        hidden = left.sum(axis=(1, 2)) < np.maximum(FEWEST, 0.5 * truths.sum(axis=(1, 2)))
        hidden[0] = True
        left[hidden] = covered
        return mixed, left, valids | covered

    def _others(
        self, loaded: _Loaded, shown: Region, rng: np.random.Generator
    ) -> Iterator[tuple[Bools, Bools]]:
        """Further objects of the same view."""
        for _ in range(3 * self._policy.objects):
            source = loaded.source(self._policy.unlabelled, rng)
            pair = None if source is None else source.draw(rng)
            if pair is not None and self._fits(pair, shown):
                yield pair

    def _cut_all(
        self, pairs: list[tuple[Bools, Bools]], shown: Region, shape: Shape
    ) -> list[tuple[Bools, Bools]]:
        """As many as the policy has objects, repeated where there are fewer; none when too few pixels are left."""
        cut_out = [_cut_pair(*pair, shown, shape) for pair in pairs]
        usable = [pair for pair in cut_out if pair[0].sum() >= FEWEST]
        return [usable[i % len(usable)] for i in range(self._policy.objects)] if usable else []

    def _fits(self, pair: tuple[Bools, Bools], shown: Region) -> bool:
        """Whether the view shows the object, neither too small in it nor all of it."""
        region, valid = pair
        visible = float(region[shown.window].sum())
        share = visible / max(1, int(valid[shown.window].sum()))
        small, large = self._policy.smallest, self._policy.largest
        return small <= share <= large and visible >= self._policy.visible * float(region.sum())

    def _load(self, index: int) -> _Loaded:
        with self._lock:
            found = self._loaded.pop(index, None)
            if found is not None:
                self._loaded[index] = found  # the dict's order is that of use
        if found is None:
            picture = self._pictures[index]
            image = picture.load()
            height, width = image.shape[:2]
            tree = self._trees.get(str(picture.image))
            regions = picture.labelled(height, width) if self._supervised else None
            regions = self._answers.get(str(picture.image)) if regions is None else regions
            found = _Loaded(image, regions, None if tree is None else TreeRegions(tree, height, width))
            self._keep(index, found)
        return found

    def _keep(self, index: int, found: _Loaded) -> None:
        with self._lock:
            if index not in self._loaded:
                self._loaded[index] = found
                self._room -= found.nbytes
            while self._room < 0:
                self._room += self._loaded.pop(next(iter(self._loaded))).nbytes


def _cut_pair(region: Bools, valid: Bools, shown: Region, shape: Shape) -> tuple[Bools, Bools]:
    pair = cut_labels(region.astype(np.int32) + 2 * valid.astype(np.int32), shown, shape)
    counted = pair >= 2
    return (pair % 2 == 1) & counted, counted
