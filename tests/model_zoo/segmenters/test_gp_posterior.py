"""The identities of the Gaussian-process posterior, on random features."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import LinAlgError

from model_zoo.segmenters.gp_posterior import fit, latest_per_cell, targets

pytestmark = pytest.mark.unit
RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(200, 6))
PRIOR = RNG.normal(size=200).astype(np.float32)


def kernel(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * ((one[:, None] - two[None]) ** 2).sum(-1) / 4.0)


def posterior_map(cells: list[int], wanted: np.ndarray, noise: float) -> np.ndarray:
    cross = kernel(FEATURES, FEATURES[cells])
    posterior = fit(cross[cells], wanted - PRIOR[cells], np.full(len(cells), noise))
    return posterior.mean(PRIOR, cross.astype(np.float32))


def test_without_noise_the_map_passes_through_the_clicks() -> None:
    cells, wanted = [3, 77, 150], np.array([3.0, -2.0, 2.5])
    assert posterior_map(cells, wanted, 1e-10)[cells] == pytest.approx(wanted, abs=1e-5)


def test_the_residual_at_the_clicks_is_noise_times_weights() -> None:
    cells, wanted, noise = [3, 77, 150, 151], np.array([3.0, -2.0, 2.5, 1.0]), 1e-3
    cross = kernel(FEATURES, FEATURES[cells])
    posterior = fit(cross[cells], wanted - PRIOR[cells], np.full(4, noise))
    got = PRIOR[cells] + cross[cells] @ posterior.weights
    assert wanted - got == pytest.approx(noise * posterior.weights, rel=1e-6)


def test_a_click_that_the_prior_obeys_changes_nothing() -> None:
    cells = [5, 60]
    assert posterior_map(cells, PRIOR[cells].astype(np.float64), 1e-3) == pytest.approx(PRIOR)


def test_the_order_of_observations_does_not_matter() -> None:
    cells, wanted = [3, 77, 150], np.array([3.0, -2.0, 2.5])
    turned = posterior_map(cells[::-1], wanted[::-1], 1e-3)
    assert posterior_map(cells, wanted, 1e-3) == pytest.approx(turned, abs=1e-5)


def test_a_far_pixel_keeps_the_prior() -> None:
    cross = np.array([[1.0], [1e-9]])
    posterior = fit(cross[:1], np.array([4.0]), np.array([1e-3]))
    assert posterior.mean(-1.0, cross.astype(np.float32)) == pytest.approx([3.0, -1.0], abs=1e-2)


def test_the_same_observation_twice_changes_little() -> None:
    once = posterior_map([3, 77], np.array([3.0, -2.0]), 1e-3)
    twice = posterior_map([3, 77, 77], np.array([3.0, -2.0, -2.0]), 1e-3)
    assert twice == pytest.approx(once, abs=1e-2)


def test_variance_is_small_at_a_click_and_full_far_away() -> None:
    cross = np.array([[1.0], [0.5], [0.0]])
    variance = fit(cross[:1], np.array([4.0]), np.array([1e-3])).variance(cross.astype(np.float32))
    assert variance == pytest.approx([0.001, 0.75, 1.0], abs=1e-3)


def test_a_singular_kernel_gets_more_noise_and_a_hopeless_one_is_refused() -> None:
    ones = np.ones((2, 2))
    assert np.isfinite(fit(ones, np.array([1.0, -1.0]), np.full(2, 1e-18)).weights).all()
    with pytest.raises(LinAlgError, match="2 observations"):
        fit(-1e12 * ones, np.array([1.0, -1.0]), np.full(2, 1e-9))


def test_targets_ask_for_the_larger_of_confidence_and_prior() -> None:
    prior = np.array([5.0, 1.0, 1.0, -4.0])
    positive = np.array([True, True, False, False])
    assert targets(prior, positive, 3.0).tolist() == [5.0, 3.0, -3.0, -4.0]


def test_of_several_clicks_on_a_cell_the_latest_counts() -> None:
    cells, positive = latest_per_cell([9, 4, 9], [True, True, False])
    assert cells.tolist() == [4, 9]
    assert positive.tolist() == [True, False]
    assert latest_per_cell([], [])[0].shape == (0,)
