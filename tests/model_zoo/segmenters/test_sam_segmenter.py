"""What a SAM is asked, click by click, and what becomes of its answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from model_zoo.errors import BadInput
from model_zoo.prompt import Box, Click, Prompt, Stroke
from model_zoo.segmenters.sam_network import Maps, SamNetwork
from model_zoo.segmenters.sam_prompt import SamPrompt
from model_zoo.segmenters.sam_segmenter import LIMIT, SamSegmenter, SamState

pytestmark = pytest.mark.unit
HEIGHT, WIDTH = 30, 60
CLICKS = (Click(15.5, 30.5), Click(2.0, 2.0, False), Click(20.25, 40.75))
BOX = Box(5, 10, 25, 50)


class Recorder(SamNetwork):
    """Three masks of logits 1, 50 and 3 with expected IoU 0.2, 0.9 and 0.4, or one of 5 with 1.5."""

    def __init__(self, three: bool = True) -> None:
        super().__init__(side=64)
        self.three = three  # type: ignore[misc]
        self.asked: list[tuple[SamPrompt, bool]] = []

    def embed(self, pixels: Tensor) -> Maps:
        return (pixels * 1e6,)

    def decode(self, maps: Maps, prompt: SamPrompt, several: bool) -> tuple[Tensor, Tensor]:
        assert maps[0].dtype == torch.float32
        assert maps[0].isfinite().all()
        self.asked.append((prompt, several))
        values = torch.tensor([1.0, 50.0, 3.0] if several else [5.0])
        quality = torch.tensor([0.2, 0.9, 0.4] if several else [1.5])
        return values[:, None, None].expand(-1, self.low, self.low), quality


def made(three: bool = True) -> tuple[SamSegmenter, Recorder]:
    network = Recorder(three)
    return SamSegmenter("sam-test", network, "0123"), network


def image() -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), 200, dtype=np.uint8)


@pytest.mark.parametrize(
    ("prompt", "several"),
    [
        (Prompt(CLICKS[:1]), True),
        (Prompt(CLICKS[:2]), False),
        (Prompt(box=BOX), True),
        (Prompt(CLICKS[:1], box=BOX), False),
        (Prompt(strokes=(Stroke(((15.0, 30.0),), True, 2.0),)), True),
        (Prompt(strokes=(Stroke(((15.0, 10.0), (15.0, 50.0)), True, 2.0),)), False),
        (Prompt(CLICKS[:1], mask=np.ones((HEIGHT, WIDTH), dtype=np.bool_)), False),
    ],
)
def test_three_masks_where_several_may_be_meant(prompt: Prompt, several: bool) -> None:
    segmenter, network = made()
    mask = segmenter.decode(segmenter.encode(image()), prompt)
    assert network.asked[0][1] is several
    assert mask.score == (pytest.approx(0.9) if several else 1.0)
    assert np.allclose(mask.logits, 50.0 if several else 5.0)
    assert mask.logits.shape == (HEIGHT, WIDTH)


def test_never_three_from_a_network_that_has_one() -> None:
    segmenter, network = made(three=False)
    segmenter.decode(segmenter.encode(image()), Prompt(CLICKS[:1]))
    assert network.asked[0][1] is False


def test_the_next_click_hands_back_the_answer_before_cut_off() -> None:
    segmenter, network = made()
    embedding, state = segmenter.encode(image()), None
    for prompt in Prompt(CLICKS).prefixes():
        state = segmenter.decode(embedding, prompt, state).state
    first, second, third = (asked for asked, _ in network.asked)
    assert first.mask is None
    assert second.mask is not None
    assert (second.mask == LIMIT).all()
    assert third.mask is not None
    assert (third.mask == 5.0).all()
    assert third.labels.tolist() == [1, 0, 1]
    # (x, y) of whole pixels, 64 / 60 of the image's.
    assert third.points == pytest.approx(np.array([[30, 15], [2, 2], [40, 20]]) * 64 / 60)
    assert isinstance(state, SamState)
    assert state.nbytes == 16 * 16 * 4


def test_a_box_has_its_corners_in_order_and_within_the_image() -> None:
    segmenter, network = made()
    segmenter.decode(segmenter.encode(image()), Prompt(box=Box(25, 70, -5, 10)))
    box = network.asked[0][0].box
    assert box is not None
    assert box.tolist() == pytest.approx(np.array([10, 0, 60, 25]) * 64 / 60)


def test_a_mask_to_start_from_is_handed_over_until_there_is_an_answer() -> None:
    segmenter, network = made()
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[10:20, 15:30] = True
    embedding, prompt = segmenter.encode(image()), Prompt(CLICKS[1:2], mask=mask)
    state = segmenter.decode(embedding, prompt).state
    asked, _ = network.asked[0]
    assert asked.mask is not None
    assert asked.mask.max() == pytest.approx(10.0)
    # Nothing positive was clicked: the mask's box says what is meant.
    assert asked.box is not None
    assert asked.box.tolist() == pytest.approx(np.array([15, 10, 30, 20]) * 64 / 60)
    segmenter.decode(embedding, replace(prompt, clicks=CLICKS), state)
    asked, _ = network.asked[1]
    assert asked.mask is not None
    assert (asked.mask == 5.0).all()
    assert asked.box is None


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(),
        Prompt(CLICKS[1:2]),
        Prompt(strokes=(Stroke(((1.0, 1.0),), False, 2.0), Stroke((), True, 2.0))),
        Prompt(mask=np.zeros((HEIGHT, WIDTH), dtype=np.bool_)),
    ],
)
def test_nothing_is_asked_where_no_object_is_named(prompt: Prompt) -> None:
    segmenter, network = made()
    mask = segmenter.decode(segmenter.encode(image()), prompt)
    assert network.asked == []
    assert mask.score == 0.0
    assert not (mask.logits > 0).any()


def test_embeddings_are_kept_at_half_the_size_and_stay_finite() -> None:
    segmenter, network = made()
    assert segmenter.encode(image()).nbytes == 3 * 64 * 64 * 2
    exact = SamSegmenter("sam-test", network, "0123", exact=True)
    assert exact.encode(image()).nbytes == 3 * 64 * 64 * 4
    assert exact.fingerprint != segmenter.fingerprint


def test_a_mask_of_another_image_is_refused() -> None:
    segmenter, _ = made()
    with pytest.raises(BadInput, match="mask to start from"):
        segmenter.decode(segmenter.encode(image()), Prompt(CLICKS, mask=np.ones((3, 3), dtype=np.bool_)))
