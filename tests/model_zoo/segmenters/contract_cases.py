"""The segmenters that the contract is held to, and what they are shown.

Networks whose weights others publish are small random ones here: they promise all that takes no knowledge.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from model_zoo.errors import WeightsMissing
from model_zoo.prompt import Box, Click, Prompt
from model_zoo.registry import create_segmenter, find_model, list_models
from model_zoo.segmenters.base import Embedding, Mask, Segmenter
from model_zoo.weights import WeightSource

MODIFIED = "ritm-hrnet18s"  # the network on which modifiers are tried
THOROUGHLY = ("gp-lite0+gp", f"{MODIFIED}+fbrs-b")  # the modified ones to which all of the contract is held
NAMES = [
    *(info.name for info in list_models(kind="segmenter")),
    "gp-lite0+gp",
    *(f"{MODIFIED}+{one}" for info in list_models(MODIFIED) for one in (*info.modifiers, "gp")),
]
TWINS = {
    twin: name
    for name, twins in {
        "focalclick-hrnet18s-s2": ["focalclick-hrnet32-s2"],
        "focalclick-segformer-b0-s2": ["focalclick-segformer-b3-s2"],
        "ritm-hrnet18s": ["ritm-hrnet18", "ritm-hrnet18-sbd", "ritm-hrnet32"],
        "sam-hq-vit-b": ["sam-hq-vit-l", "sam-hq-vit-h"],
        "sam-vit-b": ["sam-vit-l", "sam-vit-h", "slimsam-50", "slimsam-77"],
        "sam2.1-hiera-tiny": ["sam2.1-hiera-small", "sam2.1-hiera-base-plus", "sam2.1-hiera-large"],
        "simpleclick-vit-xtiny": ["simpleclick-vit-b", "simpleclick-vit-l", "simpleclick-vit-h"],
    }.items()
    for twin in twins
}
"""Networks that are the very same as another one here, made small."""

DISTINCT = [name for name in NAMES if name not in TWINS and ("+" not in name or name in THOROUGHLY)]
"""For what takes long."""

HEIGHT, WIDTH = 90, 120
CLICKS = (Click(45.5, 60.5), Click(5.5, 5.5, False), Click(38.2, 52.9), Click(80.5, 110.5, False))
PROMPTS = {
    "one click": Prompt(CLICKS[:1]),
    "four clicks": Prompt(CLICKS),
    "negative only": Prompt(CLICKS[1:2]),
    "box": Prompt(box=Box(20, 30, 70, 90)),
    "box and clicks": Prompt(CLICKS[:2], box=Box(20, 30, 70, 90)),
}


def is_network(name: str) -> bool:
    """Whether its weights have to be fetched, so that it is a small random one here."""
    info = find_model(name, "segmenter")
    return info is not None and any(spec.published is not None for spec in info.weights)


def source_of(name: str) -> WeightSource:
    return WeightSource(tiny=is_network(name))


@cache
def build(name: str) -> Segmenter:
    try:
        return create_segmenter(name, "cpu", source_of(name))
    except WeightsMissing as missing:
        pytest.skip(str(missing))


@cache
def embedded(name: str) -> Embedding:
    return build(name).encode(disk())


def needs_sense(segmenter: Segmenter) -> None:
    """Skip for random weights."""
    if is_network(segmenter.name):
        pytest.skip("random weights know no objects")


def disk() -> np.ndarray:
    """A red disk of radius 25 in the middle of a green ground, with some noise."""
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    inside = np.hypot(rows - 45, cols - 60) < 25
    image = np.where(inside[..., None], (210, 60, 50), (60, 150, 70)).astype(np.int16)
    noise = np.random.default_rng(0).integers(-12, 13, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def replay(segmenter: Segmenter, prompt: Prompt, name: str = "") -> Mask:
    """The answer to a prompt after those to its prefixes, as the service asks. name: whose embedding is used."""
    state = None
    for prefix in prompt.prefixes():
        mask = segmenter.decode(embedded(name or segmenter.name), prefix, state)
        state = mask.state
    return mask


def check(mask: Mask, height: int, width: int) -> None:
    """Shape, type and range."""
    assert mask.logits.shape == (height, width)
    assert mask.logits.dtype == np.float32
    assert np.isfinite(mask.logits).all()
    assert 0.0 <= mask.score <= 1.0
    if mask.uncertainty is not None:
        assert mask.uncertainty.shape == (height, width)
        assert mask.uncertainty.dtype == np.float32
        assert ((mask.uncertainty >= 0.0) & (mask.uncertainty <= 1.0)).all()
