from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from model_zoo.errors import BadInput
from model_zoo.training.region_tree import RegionTree, build_tree
from model_zoo.training.salience import border_share, draw_salient, salience, separation

pytestmark = pytest.mark.unit


def features(seed: int = 0) -> np.ndarray:
    """A square that stands out in the middle of noise."""
    values = np.random.default_rng(seed).normal(0, 0.3, size=(10, 12, 3))
    values[3:7, 4:8] += 3.0
    return values.astype(np.float32)


def with_separation(seed: int = 0) -> RegionTree:
    tree = build_tree(features(seed))
    return replace(tree, separation=separation(features(seed), tree))


def test_separation_is_the_share_of_variance_between_a_node_and_the_rest() -> None:
    tree, flat = build_tree(features()), features().reshape(-1, 3).astype(np.float64)
    found, total = separation(features(), tree), ((flat - flat.mean(0)) ** 2).sum()
    for node in range(0, tree.root, 7):
        inside = tree.mask(node).ravel()
        within = sum(((part - part.mean(0)) ** 2).sum() for part in (flat[inside], flat[~inside]))
        assert found[node] == pytest.approx(1 - within / total, abs=1e-5)
    assert found[tree.root] == 0


def test_border_cells_are_counted() -> None:
    tree = build_tree(features())
    shares = border_share(tree)
    assert shares[tree.root] == pytest.approx(1.0)
    cells = shares[:120].reshape(10, 12)
    assert (cells[1:-1, 1:-1] == 0).all()
    assert cells[0, 0] == pytest.approx(2 / 44)
    assert cells[0, 5] == cells[5, 0] == pytest.approx(1 / 44)


def test_what_stands_out_is_drawn_before_all_else() -> None:
    tree, rng = with_separation(), np.random.default_rng(1)
    square = tree.best_match(np.pad(np.ones((4, 4), dtype=bool), ((3, 3), (4, 4))))
    plain = replace(tree, separation=None)
    often, seldom = (
        Counter(draw_salient(one, salience(one), rng, 0.05) for _ in range(100))[square]
        for one in (tree, plain)
    )
    assert often > 60 > 2 * seldom


def test_it_travels_with_the_tree_and_must_fit_it() -> None:
    tree = with_separation()
    again = RegionTree.load(tree.save())
    assert again.separation == pytest.approx(tree.separation, abs=1e-3)
    assert RegionTree.load(replace(tree, separation=None).save()).separation is None
    with pytest.raises(BadInput, match="build it again"):
        RegionTree.load(replace(tree, separation=np.zeros(3, dtype=np.float32)).save())


def test_a_photograph_of_one_colour_has_nothing_that_stands_out() -> None:
    flat = np.ones((6, 6, 2), dtype=np.float32)
    tree = build_tree(flat)
    tree = replace(tree, separation=separation(flat, tree))
    assert np.isfinite(salience(tree)).all()
    assert tree.area(draw_salient(tree, salience(tree), np.random.default_rng(0), 0.05)) > 0.05
