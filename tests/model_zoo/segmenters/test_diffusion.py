from __future__ import annotations

import numpy as np
import pytest

from model_zoo.segmenters.diffusion import DiffusionKernel

pytestmark = pytest.mark.unit


def two_halves() -> np.ndarray:
    features = np.zeros((1, 12, 16), dtype=np.float32)
    features[:, :, 8:] = 5.0
    return features


def test_the_kernel_is_symmetric_and_positive() -> None:
    kernel = DiffusionKernel(np.random.default_rng(1).normal(size=(2, 6, 7)).astype(np.float32), 20.0)
    gram = kernel.columns(np.arange(42)).astype(np.float64)
    assert gram == pytest.approx(gram.T, abs=1e-5)
    assert np.linalg.eigvalsh((gram + gram.T) / 2).min() > -1e-5


def test_the_diagonal_is_about_one() -> None:
    diagonal = np.diag(DiffusionKernel(two_halves(), 30.0).columns(np.arange(192)))
    assert ((diagonal > 0.4) & (diagonal < 2.5)).all()
    assert diagonal.mean() == pytest.approx(1.0, abs=0.15)


def test_an_edge_stops_it() -> None:
    column = DiffusionKernel(two_halves(), 100.0).columns(np.array([6 * 16 + 6])).reshape(12, 16)
    assert column[6, 3] > 0.5  # three cells away on this side
    assert column[6, 9] < 0.1  # three cells away across the edge


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_degenerate_grids(shape: tuple[int, int]) -> None:
    kernel = DiffusionKernel(np.zeros((3, *shape), dtype=np.float32), 100.0)
    assert np.isfinite(kernel.columns(np.array([0]))).all()
    assert kernel.columns(np.zeros(0, dtype=np.int64)).shape == (shape[0] * shape[1], 0)
