"""Which regions of a tree are likely to be what an annotator asks for: those that stand out, away from the border.

MIS draws a node by its depth alone, so that a training object is a part or a piece of background more often than an
object. Here nodes are drawn as in MIS, several at a time, and one of them is kept by how much it stands out: the
share of the variance of all features that is explained by cutting the region out of the image (Otsu's criterion),
and how little of the image's border the region holds (the boundary prior of Wei et al., ECCV 2012). No
label is used to draw them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_zoo.training.region_tree import RegionTree

Floats = NDArray[np.float32]
POWER = 3.0
BORDER = 10.0
"""Exponent of the separation, and decay by the share of the border; chosen on held-out photographs, see docs."""
CANDIDATES = 24


def separation(features: Floats, tree: RegionTree) -> Floats:
    """Of each node (2n - 1,): the variance between it and the rest of the image over all variance, 0 to 1.

    features: (h, w, C), those that the tree was built from.
    """
    cells = tree.height * tree.width
    sorted_cells = features.reshape(cells, -1).astype(np.float64)[tree.order]
    sorted_cells -= sorted_cells.mean(axis=0)
    sums = np.concatenate([np.zeros((1, sorted_cells.shape[1])), np.cumsum(sorted_cells, axis=0)])
    inside = sums[tree.start + tree.size] - sums[tree.start]  # of the rest: minus that, since the whole is 0
    size = tree.size.astype(np.float64)
    between = (inside**2).sum(axis=1) * cells / (size * np.maximum(cells - size, 1.0))
    total = float((sorted_cells**2).sum())
    return np.asarray(np.where(size < cells, between / max(total, 1e-12), 0.0), dtype=np.float32)


def border_share(tree: RegionTree) -> Floats:
    """Of each node (2n - 1,): the share of the image's border cells that it holds; corners count twice."""
    cells = np.zeros((tree.height, tree.width))
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        cells[edge] += 1.0
    sums = np.concatenate([[0.0], np.cumsum(cells.ravel()[tree.order])])
    return np.asarray((sums[tree.start + tree.size] - sums[tree.start]) / cells.sum(), dtype=np.float32)


def salience(tree: RegionTree) -> Floats:
    """How likely each node (2n - 1,) is an object, up to a factor; all alike when the tree has no separation."""
    if tree.separation is None:
        return np.ones(len(tree.size), dtype=np.float32)
    return np.asarray(tree.separation**POWER * np.exp(-BORDER * border_share(tree)), dtype=np.float32)


def draw_salient(tree: RegionTree, chances: Floats, rng: np.random.Generator, minimal_area: float) -> int:
    """One of several nodes drawn top-down, by its chance; ``salience`` gives the chances."""
    nodes = [tree.sample(rng, minimal_area=minimal_area) for _ in range(CANDIDATES)]
    weights = chances[nodes].astype(np.float64)
    if not weights.sum() > 0:
        return nodes[0]
    return nodes[int(rng.choice(len(nodes), p=weights / weights.sum()))]
