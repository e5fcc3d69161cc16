"""The segmenter of growing and shrinking regions, on colours in place of a network's features."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch

from model_zoo.encoders import Encoder
from model_zoo.prompt import Box, Click, Prompt
from model_zoo.segmenters.base import Embedding
from model_zoo.segmenters.region_selection import Rules
from model_zoo.segmenters.regions import RegionSegmenter

pytestmark = pytest.mark.unit
HEIGHT, WIDTH = 256, 320


class Colours:
    """The mean colours of a pyramid's cells, in place of an encoder."""

    name, fingerprint, strides = "colours", "colours:1", (8, 16, 32)

    def features(self, image: np.ndarray) -> tuple[torch.Tensor, ...]:
        levels = []
        for stride in self.strides:
            size = -(-image.shape[1] // stride), -(-image.shape[0] // stride)
            cells = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
            levels.append(torch.from_numpy(cells).permute(2, 0, 1).contiguous())
        return tuple(levels)


def rectangle(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    inside = np.zeros((HEIGHT, WIDTH), dtype=bool)
    inside[top:bottom, left:right] = True
    return inside


OUTER, INNER = rectangle(24, 24, 232, 296), rectangle(82, 101, 172, 221)
MIDDLE = Click(128.5, 160.5)


def picture() -> np.ndarray:
    """A red rectangle in an orange one on blue."""
    image = np.full((HEIGHT, WIDTH, 3), (40, 70, 200), dtype=np.uint8)
    image[OUTER], image[INNER] = (240, 150, 40), (200, 20, 30)
    noise = np.random.default_rng(0).integers(-3, 4, image.shape)
    return np.clip(image.astype(np.int16) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def segmenter() -> RegionSegmenter:
    return RegionSegmenter("regions", cast("Encoder", cast("Any", Colours())))


@pytest.fixture(scope="module")
def embedding(segmenter: RegionSegmenter) -> Embedding:
    return segmenter.encode(picture())


def overlap(logits: np.ndarray, truth: np.ndarray) -> float:
    found = logits > 0
    return float((found & truth).sum() / (found | truth).sum())


def test_one_click_selects_the_inner_rectangle(segmenter: RegionSegmenter, embedding: Embedding) -> None:
    assert overlap(segmenter.decode(embedding, Prompt((MIDDLE,))).logits, INNER) > 0.93


def test_a_second_click_grows_it_to_the_outer_one(segmenter: RegionSegmenter, embedding: Embedding) -> None:
    clicks = (MIDDLE, Click(110.5, 140.5))
    assert overlap(segmenter.decode(embedding, Prompt(clicks)).logits, OUTER) > 0.93


def test_a_negative_click_carves_the_inner_one_out(segmenter: RegionSegmenter, embedding: Embedding) -> None:
    outer = Box(20, 20, 236, 300)
    mask = segmenter.decode(embedding, Prompt((Click(128.5, 160.5, False),), box=outer))
    assert overlap(mask.logits, OUTER & ~INNER) > 0.9
    assert 0.5 < mask.score < 1.0


def test_a_box_selects_what_is_in_it(segmenter: RegionSegmenter, embedding: Embedding) -> None:
    assert overlap(segmenter.decode(embedding, Prompt(box=Box(78, 96, 176, 226))).logits, INNER) > 0.9
    assert overlap(segmenter.decode(embedding, Prompt(box=Box(20, 20, 236, 300))).logits, OUTER) > 0.9


def test_the_order_of_clicks_matters_and_is_said_to(segmenter: RegionSegmenter, embedding: Embedding) -> None:
    assert not segmenter.order_free
    back = Click(MIDDLE.row, MIDDLE.col, False)
    assert overlap(segmenter.decode(embedding, Prompt((back, MIDDLE))).logits, INNER) > 0.93
    assert not (segmenter.decode(embedding, Prompt((MIDDLE, back))).logits > 0).any()


def test_other_rules_are_another_fingerprint() -> None:
    encoder = cast("Encoder", cast("Any", Colours()))
    one, two = RegionSegmenter("regions", encoder), RegionSegmenter("regions", encoder, Rules(growth=2.0))
    assert one.fingerprint != two.fingerprint
