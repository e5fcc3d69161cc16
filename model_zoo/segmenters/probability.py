"""Logits to probabilities and to what follows from them; no logit, however large, overflows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Floats = NDArray[np.float32]


def probability(logits: Floats) -> Floats:
    """1 / (1 + exp(-logits)), of the logits' shape, in [0, 1]."""
    return np.asarray(expit(logits), dtype=np.float32)


def uncertainty(logits: Floats) -> Floats:
    """2 min(p, 1 - p), of the logits' shape: 1 at a logit of 0, towards 0 on both sides."""
    return np.asarray(2.0 * expit(-np.abs(logits)), dtype=np.float32)


def confidence(logits: Floats) -> float:
    """Mean probability of the pixels taken for object (logits above 0); 0 when there are none."""
    chosen = logits[logits > 0]
    return float(probability(chosen).mean()) if chosen.size else 0.0
