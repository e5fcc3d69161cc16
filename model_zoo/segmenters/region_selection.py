"""Clicks and boxes as steps up and down a tree of regions: start, grow, join, carve.

A click chooses the region that stands out most around it; another one inside grows what is chosen, one outside joins
its own region to it, a negative one carves its region out. Nothing is fitted and nothing is remembered: the answer
is a function of the tree and the ordered clicks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo.training.region_tree import RegionTree

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
TINY = 1e-12  # cost of merging what is equal


@dataclass(frozen=True)
class Rules:
    """Areas are shares of the image; chosen by simulated clicks on held-out training photographs."""

    smallest: float = 0.01  # of the region that a first click chooses
    largest: float = 0.5
    growth: float = 1.25  # a further click inside makes the region at least so many times larger
    border: float = 20.0  # taken off the prominence for holding the whole border of the image
    inside_box: float = 0.8  # of a region's cells, for a click to reach it when there is a box


@dataclass(frozen=True, eq=False)
class Regions:
    """A tree of n cells and how much each node stands out: prominence (2n - 1,) float32, 0 at the root."""

    tree: RegionTree
    prominence: Floats

    @property
    def nbytes(self) -> int:
        tree = self.tree
        arrays = tree.children, tree.parents, tree.order, tree.start, tree.size, self.prominence
        return int(sum(array.nbytes for array in arrays))


def prominence(tree: RegionTree, features: Floats, border: float) -> Floats:
    """How much a node stands out: log of Ward's cost of merging it with its sibling, less a share of the border.

    features: (h, w, C), those that the tree was built of. ``border`` is taken off in proportion to the share of the
    image's outermost cells that the node holds, as objects seldom do. Returns (2n - 1,), 0 for the root.
    """
    cells = tree.height * tree.width
    ordered = features.reshape(cells, -1)[tree.order].astype(np.float64)
    stop = tree.start + tree.size
    sums = _running(ordered)
    means = (sums[stop] - sums[tree.start]) / tree.size[:, None]
    left, right = tree.children[:, 0], tree.children[:, 1]
    share = tree.size[left] / tree.size[cells:] * tree.size[right]
    apart = means[left] - means[right]
    cost = np.maximum(share * np.einsum("ij,ij->i", apart, apart), TINY)
    frame = np.ones((tree.height, tree.width))
    frame[1:-1, 1:-1] = 0.0
    held = _running(frame.ravel()[tree.order])
    worth = np.zeros(2 * cells - 1)
    worth[:-1] = np.log(cost[tree.parents[:-1] - cells])
    worth[:-1] -= border * ((held[stop] - held[tree.start]) / frame.sum())[:-1]
    return worth.astype(np.float32)


def select(
    regions: Regions, clicks: Sequence[tuple[int, bool]], box: Bools | None = None, rules: Rules | None = None
) -> Bools:
    """The chosen cells (h, w).

    clicks: (cell, positive) in order, cells row-major; of two in one cell the later counts. Cells of positive clicks
    are chosen and those of negative ones are not, whatever else happens. box: (h, w) cells of a box: all starts with
    the part inside it of the region that fits it best, and regions mostly outside it are out of reach.
    """
    choice = _Choice(regions, box, rules or Rules())
    for cell, positive in clicks:
        choice.click(cell, positive)
    chosen = np.empty_like(choice.chosen)
    chosen[regions.tree.order] = choice.chosen
    return chosen.reshape(regions.tree.height, regions.tree.width)


class _Choice:
    """What is chosen after some clicks; cells stand in the tree's order, in which every node is a slice."""

    def __init__(self, regions: Regions, box: Bools | None, rules: Rules) -> None:
        self._tree, self._worth, self._rules = regions.tree, regions.prominence, rules
        self._cells = regions.tree.height * regions.tree.width
        self._signs: dict[int, bool] = {}
        self._boxed = box is not None
        self._within = np.ones(len(self._tree.size)) if box is None else self._shares(box)
        self.chosen: Bools = np.zeros(self._cells, dtype=np.bool_)
        if box is not None:
            self.chosen[self._slice(self._tree.best_match(box))] = True
            self.chosen &= box.ravel()[self._tree.order]

    def click(self, cell: int, positive: bool) -> None:
        self._signs[cell] = positive
        path = self._free_path(cell, not positive)
        here = self.chosen[self._tree.start[cell]]
        if positive and here:
            self._grow(path)
        elif positive:
            self.chosen[self._slice(self._standing_out(path))] = True
        elif here:
            self.chosen[self._slice(self._carved(path))] = False
        for clicked, sign in self._signs.items():
            self.chosen[self._tree.start[clicked]] = sign

    def _grow(self, path: list[int]) -> None:
        """To the smallest region on the path that makes the choice clearly larger; nothing where there is none."""
        enough = self._rules.growth * int(self.chosen.sum())
        for node in path:
            grown = self.chosen.copy()
            grown[self._slice(node)] = True
            if grown.sum() >= enough:
                self.chosen = grown
                return

    def _standing_out(self, path: Sequence[int]) -> int:
        """The most prominent region of the path that has a sensible area, else the largest one below that."""
        areas = [self._tree.area(node) for node in path]
        sensible = [
            node
            for node, area in zip(path, areas, strict=True)
            if self._rules.smallest <= area <= self._rules.largest
        ]
        if sensible:
            return max(sensible, key=lambda node: float(self._worth[node]))
        small = [node for node, area in zip(path, areas, strict=True) if area <= self._rules.largest]
        return small[-1] if small else path[0]

    def _carved(self, path: Sequence[int]) -> int:
        """The largest region of the path; where only a box was given, one with at most half of what is chosen."""
        if not self._boxed or any(self._signs.values()):
            return path[-1]
        half = 0.5 * float(self.chosen.sum())
        fitting = [node for node in path if self.chosen[self._slice(node)].sum() <= half]
        return fitting[-1] if fitting else path[0]

    def _free_path(self, cell: int, barred: bool) -> list[int]:
        """Regions from the cell upwards that hold no click of the sign ``barred`` and are mostly inside the box."""
        places = [int(self._tree.start[other]) for other, sign in self._signs.items() if sign == barred]
        path = [cell]
        for node in self._tree.path(cell)[1:]:
            held = self._slice(node)
            if any(held.start <= place < held.stop for place in places):
                break
            if not barred and self._within[node] < self._rules.inside_box:
                break
            path.append(node)
        return path

    def _shares(self, box: Bools) -> NDArray[np.float64]:
        """How much of each node (2n - 1,) is inside the box."""
        held = _running(box.ravel()[self._tree.order].astype(np.float64))
        inside = held[self._tree.start + self._tree.size] - held[self._tree.start]
        return np.asarray(inside / self._tree.size)

    def _slice(self, node: int) -> slice:
        start = int(self._tree.start[node])
        return slice(start, start + int(self._tree.size[node]))


def _running(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the first 0, 1, ..., n rows."""
    return np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
