"""Temperature scaling: one number that makes probabilities as sure as they are right.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017. It changes no decision, only how sure it is said to be.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FEWEST_LABELS = 50
"""With fewer labels kept aside the temperature would follow chance; it is 1 then."""
TEMPERATURES = np.geomspace(0.4, 4.0, 47)
"""What is tried; finer steps change probabilities by less than chance does."""


def fit_temperature(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature T of least cross-entropy, with softmax(log p / T) as the answer; 1 for too few labels.

    probabilities: (n, C) of pixels that were not trained on; labels: (n,) class indices. Pixels of a class that the
    model does not know (p = 0) say nothing about T and are left out.
    """
    own = probabilities[np.arange(len(labels)), labels]
    known = own > 0
    if known.sum() < FEWEST_LABELS:
        return 1.0
    with np.errstate(divide="ignore"):
        logs = np.log(probabilities[known].astype(np.float64))
    wanted = np.log(own[known].astype(np.float64))
    losses = [float(np.mean(_log_sum_exp(logs / t) - wanted / t)) for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def _log_sum_exp(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    highest = logs.max(axis=1)
    return np.asarray(highest + np.log(np.exp(logs - highest[:, None]).sum(axis=1)))
