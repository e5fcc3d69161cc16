from __future__ import annotations

import heapq
import io
import itertools
import pickle

import cv2
import numpy as np
import pytest

from model_zoo.errors import BadInput
from model_zoo.training.region_tree import RegionTree, build_tree, tree_of

pytestmark = pytest.mark.unit


def noise(height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(height, width, channels)).astype(np.float32)


def grid_edges(height: int, width: int) -> list[tuple[int, int]]:
    index = np.arange(height * width).reshape(height, width)
    down = zip(index[:-1].ravel().tolist(), index[1:].ravel().tolist(), strict=True)
    right = zip(index[:, :-1].ravel().tolist(), index[:, 1:].ravel().tolist(), strict=True)
    return [*down, *right]


class Clusters:
    """Algorithm 1 of the paper, to the letter and in float64: centres, sizes, neighbours."""

    def __init__(self, features: np.ndarray) -> None:
        height, width, channels = features.shape
        self.mu = list(features.reshape(-1, channels).astype(np.float64))
        self.sizes = [1] * (height * width)
        self.near: dict[int, set[int]] = {cell: set() for cell in range(height * width)}
        self.costs: list[float] = []
        self.rows: list[tuple[int, int]] = []
        for one, two in grid_edges(height, width):
            self.near[one].add(two)
            self.near[two].add(one)

    def cost(self, one: int, two: int) -> float:
        a, b = self.sizes[one], self.sizes[two]
        return float(a * b / (a + b) * ((self.mu[one] - self.mu[two]) ** 2).sum())

    def merge(self, one: int, two: int) -> int:
        a, b, new = self.sizes[one], self.sizes[two], len(self.mu)
        self.costs.append(self.cost(one, two))
        self.rows.append((one, two))
        self.mu.append((a * self.mu[one] + b * self.mu[two]) / (a + b))
        self.sizes.append(a + b)
        self.near[new] = (self.near.pop(one) | self.near.pop(two)) - {one, two}
        for other in self.near[new]:
            self.near[other] = (self.near[other] - {one, two}) | {new}
        return new


def merged_naively(features: np.ndarray) -> Clusters:
    clusters = Clusters(features)
    while len(clusters.near) > 1:
        pairs = [(one, two) for one, others in clusters.near.items() for two in others if one < two]
        clusters.merge(*min(pairs, key=lambda pair: clusters.cost(*pair)))
    return clusters


def merged_with_a_heap(features: np.ndarray) -> Clusters:
    clusters = Clusters(features)
    heap = [(clusters.cost(*edge), *edge) for edge in grid_edges(*features.shape[:2])]
    heapq.heapify(heap)
    while len(clusters.near) > 1:
        _, one, two = heapq.heappop(heap)
        if one in clusters.near and two in clusters.near:
            new = clusters.merge(one, two)
            for other in clusters.near[new]:
                heapq.heappush(heap, (clusters.cost(new, other), new, other))
    return clusters


def leaves(children: np.ndarray, node: int) -> set[int]:
    cells = len(children) + 1
    if node < cells:
        return {node}
    return set().union(*(leaves(children, int(child)) for child in children[node - cells]))


def balanced_tree() -> RegionTree:
    """1024 cells, every leaf at depth 10."""
    nodes = np.arange(2 * 1024 - 2)
    return tree_of(nodes.reshape(-1, 2), 32, 32)


def test_scikit_learn_a_heap_and_the_naive_algorithm_agree() -> None:
    features = noise(10, 12, 16)
    expected = [set(row) for row in merged_naively(features).rows]
    assert [set(row) for row in merged_with_a_heap(features).rows] == expected
    assert [set(row) for row in build_tree(features).children.tolist()] == expected


def test_every_region_is_connected() -> None:
    tree = build_tree(noise(9, 11, 5))
    for node in range(tree.root + 1):
        count, _ = cv2.connectedComponents(tree.mask(node).astype(np.uint8), connectivity=4)
        assert count == 2  # the region and, in OpenCV's count, the outside


def test_merge_costs_add_up_to_the_error_around_the_mean() -> None:
    features = noise(8, 9, 6)
    flat = features.reshape(-1, 6).astype(np.float64)
    total = ((flat - flat.mean(axis=0)) ** 2).sum()
    tree, sums = build_tree(features), 0.0
    for left, right in tree.children.tolist():
        one, two = (features[tree.mask(node)].astype(np.float64) for node in (left, right))
        share = len(one) * len(two) / (len(one) + len(two))
        sums += share * ((one.mean(axis=0) - two.mean(axis=0)) ** 2).sum()
    assert sums == pytest.approx(total)
    assert sum(merged_naively(features).costs) == pytest.approx(total)


def test_intervals_hold_the_leaves_below_a_node() -> None:
    tree = build_tree(noise(7, 13, 4))
    for node in range(tree.root + 1):
        expected = leaves(tree.children, node)
        assert set(np.flatnonzero(tree.mask(node)).tolist()) == expected
        assert tree.size[node] == len(expected)
        assert tree.area(node) == pytest.approx(len(expected) / 91)


def test_depths_of_draws_follow_the_paper() -> None:
    tree, rng, draws = balanced_tree(), np.random.default_rng(0), 20_000
    depths = [len(tree.path(tree.sample(rng, minimal_area=0.0))) - 1 for _ in range(draws)]
    seen = np.bincount(depths, minlength=11) / draws
    going_on = np.cumprod(0.9 ** np.arange(10))  # entry d - 1: the chance to reach depth d
    expected = [going_on[depth - 1] * (1 - 0.9**depth) for depth in range(1, 10)]
    assert seen[0] == 0
    assert seen[1:10] == pytest.approx(expected, abs=0.012)
    assert expected[:4] == pytest.approx([0.10, 0.17, 0.20, 0.18], abs=0.01)


def test_both_children_are_drawn_and_alpha_0_stops_below_the_root() -> None:
    tree, rng = balanced_tree(), np.random.default_rng(0)
    drawn = [tree.sample(rng, alpha=0.0) for _ in range(200)]
    assert set(drawn) == set(tree.children[-1].tolist())
    assert 60 < drawn.count(int(tree.children[-1, 0])) < 140


def test_draws_respect_the_areas_and_keep_the_last_one_when_none_does() -> None:
    tree, rng = balanced_tree(), np.random.default_rng(0)
    areas = [tree.area(tree.sample(rng, maximal_area=0.25)) for _ in range(200)]
    assert all(0.05 < area <= 0.25 for area in areas)
    assert len(set(areas)) > 1
    assert tree.area(tree.sample(rng, minimal_area=0.125)) > 0.125  # equal to the limit is too small
    assert tree.area(tree.sample(rng, minimal_area=0.9, attempts=3)) <= 0.5


def test_the_path_grows_from_a_cell_to_the_image() -> None:
    tree = build_tree(noise(6, 8, 3))
    path = tree.path(20)
    assert path[0] == 20
    assert path[-1] == tree.root
    for below, above in itertools.pairwise(path):
        assert tree.parent(below) == above
        assert below in tree.children[above - 48]
        assert tree.mask(above)[tree.mask(below)].all()
    assert tree.parent(tree.root) is None


def test_the_best_match_is_the_node_of_highest_overlap() -> None:
    tree = build_tree(noise(9, 10, 3))
    mask = np.random.default_rng(1).random((9, 10)) < 0.4
    masks = [tree.mask(node) for node in range(tree.root + 1)]
    expected = [(m & mask).sum() / (m | mask).sum() for m in masks]
    assert tree.overlaps(mask) == pytest.approx(expected)
    assert tree.best_match(mask) == int(np.argmax(expected))
    for node in (0, 95, 150, tree.root):
        assert tree.best_match(masks[node]) == node
    assert not tree.overlaps(np.zeros((9, 10), dtype=np.bool_)).any()
    assert tree.overlaps(np.full((9, 10), 0.5, dtype=np.float32))[tree.root] == pytest.approx(0.5)
    with pytest.raises(BadInput, match="resize it first"):
        tree.overlaps(mask[:5])


def test_regions_are_those_of_the_features() -> None:
    features = np.zeros((16, 20, 2), dtype=np.float32)
    features[3:9, 4:15, 0] = 5.0
    features += 0.01 * noise(16, 20, 2)
    tree = build_tree(features)
    assert (tree.mask(tree.best_match(features[..., 0] > 2)) == (features[..., 0] > 2)).all()


def test_saved_and_read_again() -> None:
    tree = build_tree(noise(11, 6, 3))
    data = tree.save()
    again = RegionTree.load(data)
    assert (again.height, again.width) == (11, 6)
    for name in ("children", "parents", "order", "start", "size"):
        one, two = getattr(tree, name), getattr(again, name)
        assert one.dtype == two.dtype == np.int32
        assert np.array_equal(one, two)
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        assert archive["children"].dtype == np.int32


@pytest.mark.parametrize("data", [b"", b"no archive", pickle.dumps([1, 2]), balanced_tree().save()[:900]])
def test_what_is_no_saved_tree_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match="build it again"):
        RegionTree.load(data)


@pytest.mark.parametrize(
    "children",
    [[[0, 1], [2, 2]], [[0, 4], [1, 2]], [[0, 1], [0, 3]], [[0, -1], [2, 3]], [[0, 1]], [[0.0, 1.0]] * 2],
)
def test_what_is_no_tree_is_refused(children: list[list[int]]) -> None:
    with pytest.raises(BadInput, match="build the tree again"):
        tree_of(np.array(children), 1, 3)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 2), (2, 1), (1, 9), (7, 1), (2, 2)])
def test_small_grids(height: int, width: int) -> None:
    tree = build_tree(noise(height, width, 3))
    node = tree.sample(np.random.default_rng(0))
    assert tree.mask(tree.root).all()
    assert tree.mask(node).shape == (height, width)
    assert (node == tree.root) == (height * width == 1)
    assert RegionTree.load(tree.save()).path(0)[-1] == tree.root


def test_a_flat_image_still_gives_a_tree_and_always_the_same() -> None:
    one, two = (build_tree(np.zeros((8, 8, 2), dtype=np.float32)) for _ in range(2))
    assert np.array_equal(one.children, two.children)
    assert one.mask(one.root).all()


@pytest.mark.parametrize(
    "features", [np.zeros((4, 5)), np.zeros((4, 0, 3)), np.zeros((4, 5, 0)), np.full((2, 2, 1), np.nan)]
)
def test_bad_features_are_refused(features: np.ndarray) -> None:
    with pytest.raises(BadInput, match="expected"):
        build_tree(features.astype(np.float32))
