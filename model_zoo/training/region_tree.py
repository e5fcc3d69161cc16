"""Regions of an image without labels: a binary tree of Ward merges over the cells of a feature grid.

Every node is a connected region; one drawn top-down is a training object for click models. Li et al.,
"Multi-granularity interaction simulation for unsupervised interactive segmentation", ICCV 2023 (MIS); written from
the paper (its code has no licence). Deliberate differences: the merging is scikit-learn's, which gives the same tree
up to exact ties, and a region is a slice of one permutation of the leaves instead of a walk.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import ward_tree
from sklearn.feature_extraction.image import grid_to_graph

from model_zoo.errors import BadInput

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RegionTree:
    """Merges of n = height * width cells: nodes 0 to n - 1 are cells, row-major; n + r is the merge of row r.

    children: (n - 1, 2) int32; the root is 2n - 2. parents: (2n - 1,) int32, -1 for the root. order: (n,) int32,
    the cells permuted so that node i holds order[start[i] : start[i] + size[i]]; start, size: (2n - 1,) int32.
    separation: (2n - 1,) float32, how much each node stands out, see ``salience``; None where nobody asked.
    """

    children: Ints
    height: int
    width: int
    parents: Ints
    order: Ints
    start: Ints
    size: Ints
    separation: Floats | None = None

    @property
    def root(self) -> int:
        return len(self.size) - 1

    def mask(self, node: int) -> NDArray[np.bool_]:
        """Cells of the node, (h, w)."""
        inside = np.zeros(self.height * self.width, dtype=np.bool_)
        first = self.start[node]
        inside[self.order[first : first + self.size[node]]] = True
        return inside.reshape(self.height, self.width)

    def area(self, node: int) -> float:
        """Share of the image that the node covers, above 0 and at most 1."""
        return float(self.size[node]) / (self.height * self.width)

    def parent(self, node: int) -> int | None:
        """The node that this one was merged into; None for the root."""
        above = int(self.parents[node])
        return above if above >= 0 else None

    def path(self, leaf: int) -> list[int]:
        """Nodes from the leaf (or any node) to the root, both included: what "grow the region" walks along."""
        nodes = [int(leaf)]
        while (above := self.parent(nodes[-1])) is not None:
            nodes.append(above)
        return nodes

    def overlaps(self, mask: NDArray[np.bool_] | NDArray[np.float32]) -> NDArray[np.float64]:
        """Intersection over union (2n - 1,) of every node with a mask (h, w), bool or the covered share per cell.

        0 everywhere for an empty mask. Raises BadInput when the mask is not on the tree's grid.
        """
        if mask.shape != (self.height, self.width):
            raise BadInput(
                f"mask has shape {mask.shape}; expected the tree's grid {(self.height, self.width)}; resize it first"
            )
        covered = np.cumsum(mask.ravel()[self.order], dtype=np.float64)
        before = np.concatenate([[0.0], covered])
        inside = before[self.start + self.size] - before[self.start]
        return np.asarray(inside / (self.size + covered[-1] - inside), dtype=np.float64)

    def best_match(self, mask: NDArray[np.bool_] | NDArray[np.float32]) -> int:
        """The node of highest intersection over union with a mask (h, w); of equal ones the smallest."""
        return int(np.argmax(self.overlaps(mask)))

    def sample(
        self,
        rng: np.random.Generator,
        alpha: float = 0.9,
        minimal_area: float = 0.05,
        attempts: int = 100,
        maximal_area: float = 1.0,
    ) -> int:
        """A random node: from the root to a child with probability 1, alpha, alpha^2, ... (MIS, top-down sampling).

        Drawn again, ``attempts`` times at most, until its share of the image is above ``minimal_area`` and not
        above ``maximal_area``; the last draw is kept when none is. Never the root, unless it is the only cell.
        """
        node = self.root
        for _ in range(max(1, attempts)):
            node = self._descend(rng, alpha)
            if minimal_area < self.area(node) <= maximal_area:
                break
        return node

    def _descend(self, rng: np.random.Generator, alpha: float) -> int:
        cells, node, chance = self.height * self.width, self.root, 1.0
        while node >= cells and rng.random() < chance:
            node = int(self.children[node - cells, rng.integers(2)])
            chance *= alpha
        return node

    def save(self) -> bytes:
        """The tree as a compressed npz archive without pickles; ``load`` reads it."""
        stream = io.BytesIO()
        grid = np.array([self.height, self.width], dtype=np.int32)
        arrays: dict[str, Any] = {"children": self.children, "grid": grid}
        if self.separation is not None:
            arrays["separation"] = self.separation.astype(np.float16)
        np.savez_compressed(stream, **arrays)
        return stream.getvalue()

    @staticmethod
    def load(data: bytes) -> RegionTree:
        """The tree that ``save`` wrote; raises BadInput for anything else."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                children, grid = archive["children"], archive["grid"].tolist()
                separated = archive.get("separation")
            height, width = grid
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise BadInput(f"region tree cannot be read: {error}; build it again") from error
        tree = tree_of(children, int(height), int(width))
        if separated is None:
            return tree
        if separated.shape != tree.size.shape:
            raise BadInput(
                f"region tree has {len(tree.size)} nodes and {separated.shape} values of them; build it again"
            )
        return replace(tree, separation=separated.astype(np.float32))


def build_tree(features: NDArray[np.float32]) -> RegionTree:
    """Merge the cells of a feature grid (h, w, c) into a tree: next come the 4-neighbours that cost least.

    The cost s_A s_B / (s_A + s_B) |mu_A - mu_B|^2 is Ward's, the increase of the squared error within regions
    (MIS, bottom-up merging). It may fall from one merge to the next, so that a cost is no threshold to cut the tree at.
    Equal costs are broken by scikit-learn's order, always in the same way. Raises BadInput.
    """
    if features.ndim != 3 or 0 in features.shape:
        raise BadInput(f"features have shape {features.shape}; expected (h, w, c), each at least 1")
    if not np.isfinite(features).all():
        raise BadInput(
            "features hold NaN or infinity; expected finite numbers; check the image and the encoder"
        )
    height, width, channels = features.shape
    if height * width == 1:
        return tree_of(np.empty((0, 2), dtype=np.int32), 1, 1)
    flat = np.ascontiguousarray(features.reshape(-1, channels), dtype=np.float64)
    children = ward_tree(flat, connectivity=grid_to_graph(height, width))[0]
    return tree_of(np.asarray(children), height, width)


def tree_of(children: NDArray[np.integer], height: int, width: int) -> RegionTree:
    """The tree of these merges (n - 1, 2) of n = height * width cells; raises BadInput when they are none."""
    cells = height * width
    _check_merges(children, height, width)
    rows = (
        children.tolist()
    )  # plain integers: the passes below are serial, and a list is ten times an array's speed
    size = [1] * cells
    for left, right in rows:
        size.append(size[left] + size[right])
    start, parents = [0] * (2 * cells - 1), [-1] * (2 * cells - 1)
    for node in range(2 * cells - 2, cells - 1, -1):
        left, right = rows[node - cells]
        start[left], start[right] = start[node], start[node] + size[left]
        parents[left] = parents[right] = node
    starts = np.array(start, dtype=np.int32)
    order = np.empty(cells, dtype=np.int32)
    order[starts[:cells]] = np.arange(cells, dtype=np.int32)
    return RegionTree(
        children=np.ascontiguousarray(children, dtype=np.int32),
        height=height,
        width=width,
        parents=np.array(parents, dtype=np.int32),
        order=order,
        start=starts,
        size=np.array(size, dtype=np.int32),
    )


def _check_merges(children: NDArray[np.integer], height: int, width: int) -> None:
    """Raise BadInput unless every node but the root is merged exactly once, and after it exists."""
    cells = height * width
    if height < 1 or width < 1 or children.shape != (cells - 1, 2) or children.dtype.kind not in "iu":
        raise BadInput(
            f"merges are {children.dtype} of shape {children.shape}; a {height}x{width} grid needs integers of "
            f"shape ({cells - 1}, 2) and sides of at least 1; build the tree again"
        )
    once = np.array_equal(np.sort(children, axis=None), np.arange(2 * cells - 2))
    if not once or bool((children.max(axis=1, initial=-1) >= cells + np.arange(cells - 1)).any()):
        raise BadInput(
            "merges do not form a tree: a node is used twice, never, or too early; build the tree again"
        )
