"""Per-pixel acquisition scores: how much a label at a pixel would help the model.

Every function takes class probabilities (C, H, W), or (T, C, H, W) from T stochastic passes, and returns
float32 (H, W) scores where higher means "ask first". Scores of several passes are averaged: the "soft" vote
of PixelPick (Shin et al., ICCV 2021 workshop).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

Scores = NDArray[np.float32]
Acquisition = Callable[[NDArray[np.floating[Any]], np.random.Generator], Scores]


def random(probs: NDArray[np.floating[Any]], rng: np.random.Generator) -> Scores:
    """Uniform noise in [0, 1): the baseline that knows nothing."""
    height, width = _passes(probs).shape[-2:]
    return rng.random((height, width), dtype=np.float32)


def least_confidence(probs: NDArray[np.floating[Any]], rng: np.random.Generator) -> Scores:  # noqa: ARG001
    """1 - max p, in [0, 1 - 1/C]."""
    return _mean_over_passes(probs, lambda classes: 1 - classes.max(axis=0))


def margin(probs: NDArray[np.floating[Any]], rng: np.random.Generator) -> Scores:  # noqa: ARG001
    """1 - (p of the best class - p of the second best), in [0, 1]."""
    return one_minus_margin(probs)


def entropy(probs: NDArray[np.floating[Any]], rng: np.random.Generator) -> Scores:  # noqa: ARG001
    """-sum p log p in nats, in [0, log C]; a class of probability 0 adds 0."""
    return _mean_over_passes(probs, _entropy)


ACQUISITIONS: Mapping[str, Acquisition] = {
    "random": random,
    "least_confidence": least_confidence,
    "margin": margin,
    "entropy": entropy,
}


def get_acquisition(name: str) -> Acquisition:
    """The acquisition of that name; ValueError lists the names there are."""
    try:
        return ACQUISITIONS[name]
    except KeyError:
        raise ValueError(unknown_name("acquisition", name, ACQUISITIONS)) from None


def one_minus_margin(probs: NDArray[np.floating[Any]]) -> Scores:
    """What ``margin`` computes, for callers without a random generator."""
    return _mean_over_passes(probs, _one_minus_margin)


def unknown_name(kind: str, name: str, known: Mapping[str, Any]) -> str:
    """The message for a strategy that does not exist."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown {kind} {name!r}: expected one of {', '.join(sorted(known))}{hint}"


def _mean_over_passes(
    probs: NDArray[np.floating[Any]], score: Callable[[NDArray[np.floating[Any]]], NDArray[np.floating[Any]]]
) -> Scores:
    passes = _passes(probs)
    total = np.zeros(passes.shape[-2:], dtype=np.float32)
    for classes in passes:
        total += score(classes)
    return total / np.float32(len(passes))


def _passes(probs: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """probs as (T, C, H, W)."""
    passes = probs[np.newaxis] if probs.ndim == 3 else probs
    if passes.ndim != 4 or 0 in passes.shape[:2]:
        raise ValueError(f"probabilities have shape {probs.shape}; expected (C, H, W) or (T, C, H, W)")
    return passes


def _one_minus_margin(classes: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    # A running best and second best: a sorted copy of (C, H, W) would double the memory of a large image.
    best = np.array(classes[0])
    second = np.zeros_like(best)
    for plane in classes[1:]:
        np.maximum(second, np.minimum(best, plane), out=second)
        np.maximum(best, plane, out=best)
    scores: NDArray[np.floating[Any]] = 1 - (best - second)
    return scores


def _entropy(classes: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    total = np.zeros(classes.shape[-2:], dtype=np.float32)
    for plane in classes:
        total -= xlogy(plane, plane).astype(np.float32)
    return total
