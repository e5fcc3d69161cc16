"""Gaussian-process posterior of a logit map given clicks: a prior map, corrected so that it passes through them.

Formulae: Zhou et al., Interactive Segmentation as Gaussian Process Classification, CVPR 2023 (re-implemented from
the paper). Deliberate differences: nothing is learned; each observation has its own noise, so that a click is
nearly exact and weak evidence stays weak; solved in float64 by Cholesky instead of an explicit inverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular

Array = NDArray[np.float64]
ATTEMPTS = 8


@dataclass(frozen=True, eq=False)
class Posterior:
    """weights: (n,) of the kernel columns. factor: (n, n) lower Cholesky factor of the noisy Gram matrix."""

    weights: Array
    factor: Array

    def mean(self, prior: NDArray[np.float32] | float, cross: NDArray[np.float32]) -> NDArray[np.float32]:
        """Posterior logits f = g + k(x, Z) v. cross: (pixels, n) kernel between pixels and observations."""
        return np.asarray(prior + cross @ self.weights.astype(np.float32), dtype=np.float32)

    def variance(self, cross: NDArray[np.float32], diagonal: float = 1.0) -> NDArray[np.float32]:
        """Posterior variance k(x, x) - |L^-1 k(Z, x)|^2, clamped to [0, diagonal]. cross as in ``mean``."""
        half = solve_triangular(self.factor.astype(np.float32), cross.T, lower=True, check_finite=False)
        remaining = np.clip(diagonal - np.einsum("ij,ij->j", half, half), 0.0, diagonal)
        return np.asarray(remaining, dtype=np.float32)


def fit(gram: Array, residual: Array, noise: Array) -> Posterior:
    """Posterior for observations u with residual u - g(Z), variance ``noise`` and kernel ``gram`` (n, n).

    The diagonal noise grows tenfold, at most ATTEMPTS times, until the matrix can be factored.
    """
    for attempt in range(ATTEMPTS):
        try:
            factor, lower = cho_factor(gram + np.diag(noise * 10.0**attempt), lower=True)
        except LinAlgError:
            continue
        return Posterior(cho_solve((factor, lower), residual), np.tril(factor))
    raise LinAlgError(f"kernel of {len(gram)} observations is not positive definite, even with much noise")


def targets(prior: Array, positive: NDArray[np.bool_], confidence: float) -> Array:
    """Value that each click asks for: y * max(confidence, y * g); a click that the prior obeys asks for nothing."""
    sign = np.where(positive, 1.0, -1.0)
    return np.asarray(sign * np.maximum(confidence, sign * prior))


def latest_per_cell(
    cells: Sequence[int], positive: Sequence[bool]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """One observation a cell, sorted by cell: of several clicks on a cell the latest counts."""
    merged = dict(zip(cells, positive, strict=True))
    ordered = sorted(merged)
    return np.array(ordered, dtype=np.int64), np.array([merged[cell] for cell in ordered], dtype=np.bool_)
