"""A kernel that knows edges: correlation of two grid cells under diffusion that image edges slow down.

With the graph Laplacian L of the 4-connected grid, G = (I + lam L)^-2 is the covariance of a Matern-like random
field whose range shrinks across edges (Whittle; Lindgren, Rue and Lindstrom, JRSS-B 2011). The kernel is
D^-1/2 G D^-1/2, with D an estimate of the diagonal of G, hence positive semi-definite whatever the estimate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

PROBES = 32
LEAK = 1e-3  # conductance of the strongest edge; keeps all cells connected


class DiffusionKernel:
    """Factored once an image; ``columns`` may be called from many threads at once."""

    def __init__(self, features: NDArray[np.float32], lam: float) -> None:
        """features: (C, h, w), scaled so that a squared distance of 1 is an edge. lam: diffusion range, cells^2."""
        size = features.shape[1] * features.shape[2]
        weights = _conductances(features)
        laplacian = sparse.diags_array(np.asarray(weights.sum(axis=1)).ravel()) - weights
        matrix = (sparse.eye_array(size) + lam * laplacian).tocsc()
        self._solver = splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
        # For random signs s, E[(M^-1 s)_x^2] is the x-th diagonal entry of M^-2.
        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(size, PROBES))
        variance = (self._solver.solve(signs) ** 2).mean(axis=1)
        self._scale: NDArray[np.float64] = 1.0 / np.sqrt(variance)
        self.nbytes = 12 * int(self._solver.nnz) + self._scale.nbytes

    def columns(self, cells: NDArray[np.int64]) -> NDArray[np.float32]:
        """Kernel between all cells and the given ones: (h * w, n), about 1 on the diagonal."""
        impulses = np.zeros((len(self._scale), len(cells)))
        impulses[cells, np.arange(len(cells))] = self._scale[cells]
        spread = self._solver.solve(self._solver.solve(impulses))
        return np.asarray(spread * self._scale[:, None], dtype=np.float32)


def _conductances(features: NDArray[np.float32]) -> sparse.csr_array:
    """Symmetric (h * w, h * w) weights exp(-d^2 / 2) + LEAK between 4-neighbours."""
    height, width = features.shape[1:]
    index = np.arange(height * width).reshape(height, width)
    down = ((features[:, :-1] - features[:, 1:]) ** 2).sum(axis=0).ravel()
    across = ((features[:, :, :-1] - features[:, :, 1:]) ** 2).sum(axis=0).ravel()
    first = np.concatenate([index[:-1].ravel(), index[:, :-1].ravel()])
    second = np.concatenate([index[1:].ravel(), index[:, 1:].ravel()])
    weight = np.exp(-0.5 * np.concatenate([down, across]).astype(np.float64)) + LEAK
    half = sparse.coo_array((weight, (first, second)), shape=(index.size, index.size)).tocsr()
    return half + half.T
