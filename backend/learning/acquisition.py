"""Per-pixel acquisition scores: how much a label at a pixel would help the model.

Every function takes class probabilities (C, H, W), or (T, C, H, W) from T stochastic passes, and returns
float32 (H, W) scores where higher means "ask first". Scores of several passes are averaged: the "soft" vote
of PixelPick (Shin et al., ICCV 2021 workshop); a hard vote counts the class that each pass decides for.
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


def balanced_margin(probs: NDArray[np.floating[Any]], rng: np.random.Generator) -> Scores:  # noqa: ARG001
    """``margin`` times how rare the classes in question are in the image, in [0, 1 / sqrt(RARE)].

    Rare is the mean of f_c^(-1/2) under the pixel's own probabilities, f_c being the mean probability of class c over
    the image, at least RARE. After class-balanced acquisition (Cai et al., CVPR 2021).
    """
    return _mean_over_passes(probs, _balanced)


def hard_vote(probs: NDArray[np.floating[Any]], rng: np.random.Generator) -> Scores:  # noqa: ARG001
    """1 - (share of passes that decide for the winning class - that of the second), in [0, 1]; 0 for one pass."""
    passes = _passes(probs)
    decided = passes.argmax(axis=1)
    shares = np.zeros(passes.shape[1:], dtype=np.float32)
    for index in range(len(shares)):
        shares[index] = np.mean(decided == index, axis=0, dtype=np.float32)
    return _one_minus_margin(shares).astype(np.float32)


PASSES = 10
"""Stochastic passes of the acquisitions by MC-dropout. PixelPick's 20 cost twice the time and memory."""

ACQUISITIONS: Mapping[str, Acquisition] = {
    "random": random,
    "least_confidence": least_confidence,
    "margin": margin,
    "balanced_margin": balanced_margin,
    "entropy": entropy,
    "mc_dropout_soft": margin,
    "mc_dropout_hard": hard_vote,
}


def passes_of(name: str) -> int:
    """How many stochastic passes of the learner the acquisition of that name wants; 1 is a plain prediction."""
    return PASSES if name.startswith("mc_dropout") else 1


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


RARE = 0.005
"""Share of the image below which a class counts as no rarer."""


def _balanced(classes: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    rarity = np.maximum(classes.mean(axis=(1, 2)), RARE) ** -0.5
    scores: NDArray[np.floating[Any]] = _one_minus_margin(classes) * np.tensordot(rarity, classes, axes=1)
    return scores


def _entropy(classes: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    total = np.zeros(classes.shape[-2:], dtype=np.float32)
    for plane in classes:
        total -= xlogy(plane, plane).astype(np.float32)
    return total
