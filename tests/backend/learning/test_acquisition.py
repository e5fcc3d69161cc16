from __future__ import annotations

import numpy as np
import pytest

from backend.learning.acquisition import ACQUISITIONS, PASSES, get_acquisition, passes_of

pytestmark = pytest.mark.unit


def row_of(*distributions: tuple[float, ...]) -> np.ndarray:
    """An image of one row whose pixels have the given class distributions: (C, 1, W)."""
    return np.array(distributions, dtype=np.float32).T[:, np.newaxis, :]


SURE = (1.0, 0.0, 0.0)
LIKELY = (0.7, 0.2, 0.1)
TWO_WAY = (0.5, 0.5, 0.0)
THREE_WAY = (0.4, 0.3, 0.3)
FLAT = (1 / 3, 1 / 3, 1 / 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("least_confidence", [0.0, 0.3, 0.5, 0.6, 2 / 3]),
        ("margin", [0.0, 0.5, 1.0, 0.9, 1.0]),
        ("entropy", [0.0, 0.8018186, 0.6931472, 1.0888999, 1.0986123]),
    ],
)
def test_scores_of_known_distributions(name: str, expected: list[float]) -> None:
    probs = row_of(SURE, LIKELY, TWO_WAY, THREE_WAY, FLAT)
    scores = get_acquisition(name)(probs, np.random.default_rng(0))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, [expected], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "asked_first"),
    [
        ("least_confidence", "FLAT THREE_WAY TWO_WAY LIKELY SURE"),
        ("entropy", "FLAT THREE_WAY LIKELY TWO_WAY SURE"),
    ],
)
def test_the_orders_differ_between_least_confidence_and_entropy(name: str, asked_first: str) -> None:
    names = np.array(["SURE", "LIKELY", "TWO_WAY", "THREE_WAY", "FLAT"])
    scores = get_acquisition(name)(row_of(SURE, LIKELY, TWO_WAY, THREE_WAY, FLAT), np.random.default_rng(0))
    assert " ".join(names[np.argsort(-scores[0])]) == asked_first


@pytest.mark.parametrize("name", ["least_confidence", "margin", "entropy"])
def test_the_order_of_the_classes_does_not_matter(name: str) -> None:
    probs = np.random.default_rng(1).dirichlet(np.ones(5), size=(6, 7)).transpose(2, 0, 1)
    rng = np.random.default_rng(0)
    shuffled = probs[[3, 1, 4, 0, 2]]
    np.testing.assert_allclose(
        get_acquisition(name)(probs, rng), get_acquisition(name)(shuffled, rng), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", sorted(ACQUISITIONS))
def test_every_acquisition_is_finite_at_certainty_and_leaves_its_input_alone(name: str) -> None:
    probs = row_of(SURE, SURE)
    before = probs.copy()
    scores = get_acquisition(name)(probs, np.random.default_rng(0))
    assert scores.shape == (1, 2)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(probs, before)


@pytest.mark.parametrize("name", ["least_confidence", "margin", "entropy"])
def test_several_passes_are_averaged(name: str) -> None:
    first, second = row_of(SURE, LIKELY), row_of(FLAT, LIKELY)
    rng = np.random.default_rng(0)
    score = get_acquisition(name)
    expected = (score(first, rng) + score(second, rng)) / 2
    np.testing.assert_allclose(score(np.stack([first, second]), rng), expected, rtol=1e-6)


def test_random_depends_on_the_generator_alone() -> None:
    probs = row_of(SURE, FLAT, LIKELY)
    draw = get_acquisition("random")
    np.testing.assert_array_equal(
        draw(probs, np.random.default_rng(5)), draw(probs[::-1], np.random.default_rng(5))
    )
    assert not np.array_equal(draw(probs, np.random.default_rng(5)), draw(probs, np.random.default_rng(6)))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'margins'.*entropy, least_confidence, margin, .*random.*'margin'"):
        get_acquisition("margins")


def test_a_single_map_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(4, 4\); expected \(C, H, W\)"):
        get_acquisition("margin")(np.zeros((4, 4)), np.random.default_rng(0))


def test_balanced_margin_prefers_the_rare_of_two_equally_torn_pixels() -> None:
    common, rare = (0.5, 0.5, 0.0, 0.0), (0.0, 0.0, 0.5, 0.5)
    probs = row_of(*[common] * 9, rare, (1.0, 0.0, 0.0, 0.0))
    scores = get_acquisition("balanced_margin")(probs, np.random.default_rng(0))[0]
    assert scores.argmax() == 9
    assert scores[10] == 0.0
    frequencies = probs.mean(axis=(1, 2))
    np.testing.assert_allclose(scores[0], (0.5 * frequencies[:2] ** -0.5).sum(), rtol=1e-5)
    np.testing.assert_allclose(scores[9], (0.5 * frequencies[2:] ** -0.5).sum(), rtol=1e-5)


def test_balanced_margin_is_margin_where_all_classes_are_as_frequent() -> None:
    probs = row_of((0.6, 0.3, 0.1), (0.1, 0.6, 0.3), (0.3, 0.1, 0.6))
    rng = np.random.default_rng(0)
    expected = get_acquisition("margin")(probs, rng) * 3**0.5
    np.testing.assert_allclose(get_acquisition("balanced_margin")(probs, rng), expected, rtol=1e-5)


def test_a_hard_vote_counts_decisions_and_not_confidence() -> None:
    passes = np.stack([row_of(SURE, (0.4, 0.6, 0.0), LIKELY)] * 3 + [row_of(SURE, (0.9, 0.1, 0.0), FLAT)])
    scores = get_acquisition("mc_dropout_hard")(passes, np.random.default_rng(0))
    np.testing.assert_allclose(scores, [[0.0, 0.5, 0.0]], atol=1e-6)
    assert get_acquisition("mc_dropout_hard")(passes[0], np.random.default_rng(0)).max() == 0.0


def test_only_the_dropout_acquisitions_want_several_passes() -> None:
    wanted = {name: passes_of(name) for name in ACQUISITIONS}
    assert {name for name, passes in wanted.items() if passes > 1} == {"mc_dropout_soft", "mc_dropout_hard"}
    assert set(wanted.values()) == {1, PASSES}
