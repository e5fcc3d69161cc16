"""Clicks as steps in a tree whose regions are known."""

from __future__ import annotations

import numpy as np
import pytest

from model_zoo.segmenters.region_selection import Regions, Rules, prominence, select
from model_zoo.training.region_tree import build_tree

pytestmark = pytest.mark.unit
HEIGHT, WIDTH = 24, 32


def colours() -> np.ndarray:
    """An inner rectangle in an outer one on a ground, (h, w, 3): clearly different, with little noise."""
    image = np.zeros((HEIGHT, WIDTH, 3), dtype=np.float32)
    image[2:22, 3:29] = (3.0, 0.0, 0.0)
    image[8:16, 10:22] = (3.0, 1.5, 0.0)
    noise = np.random.default_rng(0).normal(0.0, 0.01, image.shape)
    return image + noise.astype(np.float32)


def rectangle(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    inside = np.zeros((HEIGHT, WIDTH), dtype=bool)
    inside[top:bottom, left:right] = True
    return inside


INNER, OUTER = rectangle(8, 10, 16, 22), rectangle(2, 3, 22, 29)


@pytest.fixture(scope="module")
def regions() -> Regions:
    features = colours()
    tree = build_tree(features)
    return Regions(tree, prominence(tree, features, Rules().border))


def at(row: int, col: int, positive: bool = True) -> tuple[int, bool]:
    return row * WIDTH + col, positive


def test_one_click_selects_the_inner_rectangle_and_a_second_grows_it_to_the_outer(regions: Regions) -> None:
    assert np.array_equal(select(regions, [at(12, 16)]), INNER)
    assert np.array_equal(select(regions, [at(12, 16), at(11, 18)]), OUTER)


def test_a_negative_click_shrinks_it_again(regions: Regions) -> None:
    assert np.array_equal(select(regions, [at(12, 16), at(11, 18), at(5, 7, False)]), INNER)


def test_a_negative_click_carves_the_inner_rectangle_out(regions: Regions) -> None:
    ring = [at(5, 7), at(5, 8), at(5, 9)]
    assert np.array_equal(select(regions, ring), OUTER)
    assert np.array_equal(select(regions, [*ring, at(12, 16, False)]), OUTER & ~INNER)


def test_a_click_outside_joins_its_own_region(regions: Regions) -> None:
    both, ring = select(regions, [at(12, 16), at(5, 7)]), select(regions, [at(5, 7)])
    assert np.array_equal(both, INNER | ring)
    assert ring[5, 7]
    assert not ring[12, 16]


def test_a_negative_click_outside_changes_nothing_but_stops_growth(regions: Regions) -> None:
    ground = at(0, 1, False)
    assert np.array_equal(select(regions, [at(12, 16), ground]), INNER)
    clicks = [at(12, 16), ground, *[at(12, col) for col in range(11, 21)]]
    assert np.array_equal(select(regions, clicks), OUTER)


def test_without_negative_clicks_growth_ends_at_the_whole_image(regions: Regions) -> None:
    assert select(regions, [at(12, col) for col in range(11, 21)]).all()


def test_a_box_selects_what_fits_it_best(regions: Regions) -> None:
    assert np.array_equal(select(regions, [], rectangle(7, 9, 17, 23)), INNER)
    assert np.array_equal(select(regions, [], rectangle(1, 2, 23, 30)), OUTER)


def test_a_click_in_a_box_does_not_grow_beyond_it(regions: Regions) -> None:
    box = rectangle(7, 9, 17, 23)
    assert np.array_equal(select(regions, [at(12, 16)], box), INNER)


def test_a_negative_click_in_a_box_leaves_most_of_it(regions: Regions) -> None:
    box = rectangle(1, 2, 23, 30)
    assert np.array_equal(select(regions, [at(12, 16, False)], box), select(regions, [], box) & ~INNER)


@pytest.mark.parametrize("seed", range(20))
def test_every_click_is_honoured_and_the_later_one_of_a_cell_counts(regions: Regions, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells, signs = rng.integers(0, HEIGHT * WIDTH, 40), rng.integers(0, 2, 40)
    clicks = [(int(cell), bool(sign)) for cell, sign in zip(cells, signs, strict=True)]
    box = rectangle(1, 2, 23, 30) if seed % 2 else None
    chosen = select(regions, clicks, box).ravel()
    assert all(chosen[cell] == positive for cell, positive in dict(clicks).items())


def test_nothing_is_chosen_by_nothing_or_by_negative_clicks(regions: Regions) -> None:
    assert not select(regions, []).any()
    assert not select(regions, [at(12, 16, False)]).any()
    assert not select(regions, [at(12, 16), at(12, 16, False)]).any()


def test_prominence_is_the_cost_of_merging_less_the_border() -> None:
    features = np.array([[[0.0], [1.0], [5.0]]], dtype=np.float32)
    tree = build_tree(features)
    # 0 and 1 merge first: 1 * 1 / 2 * 1; then the pair (mean 0.5) with 5: 2 * 1 / 3 * 4.5^2 = 13.5
    free = prominence(tree, features, border=0.0)
    assert np.allclose(free, [np.log(0.5), np.log(0.5), np.log(13.5), np.log(13.5), 0.0], atol=1e-5)
    held = prominence(tree, features, border=3.0)
    assert np.allclose(free - held, [1.0, 1.0, 1.0, 2.0, 0.0], atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 2), (1, 5, 2), (4, 1, 2), (2, 2, 2)])
def test_small_and_flat_grids(shape: tuple[int, int, int]) -> None:
    features = np.zeros(shape, dtype=np.float32)
    tree = build_tree(features)
    flat = Regions(tree, prominence(tree, features, 10.0))
    assert np.isfinite(flat.prominence).all()
    assert select(flat, [(0, True)]).ravel()[0]
    assert select(flat, [], np.ones(shape[:2], dtype=bool)).any()
