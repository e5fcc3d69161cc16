"""FocalClick as a segmenter: from clicks to answers."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from model_zoo.errors import BadInput
from model_zoo.prompt import Box, Click, Prompt, Stroke
from model_zoo.registry import create_segmenter, list_models
from model_zoo.segmenters import focalclick_sampling
from model_zoo.segmenters.focalclick_segmenter import FocalClick, FocalClickParameters
from model_zoo.segmenters.focalclick_target import FocalClickState
from model_zoo.segmenters.predictor_maps import LIMIT
from model_zoo.segmenters.zoom_in import Region
from model_zoo.weights import WeightSource
from tests.model_zoo.segmenters.focalclick_random import disk, picture, scene

pytestmark = pytest.mark.unit
HEIGHT, WIDTH = 75, 110
INSIDE = Click(40.5, 50.5)


@cache
def tiny(name: str = "focalclick-hrnet18s-s1") -> FocalClick:
    segmenter = create_segmenter(name, "cpu", WeightSource(tiny=True))
    assert isinstance(segmenter, FocalClick)
    return segmenter


class Fixed(torch.nn.Module):
    """A network that says what it is told to, in the target crop and in the focus crop, and remembers its inputs."""

    side = 64

    def __init__(self, coarse: torch.Tensor, refined: float) -> None:
        super().__init__()
        self.answer, self.refined = coarse, refined
        self.seen: list[torch.Tensor] = []
        self.boxes: list[tuple[float, ...]] = []

    def coarse(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen.append(inputs[1].clone())
        return self.answer[None, None].clone(), torch.zeros(1, 1, 16, 16)

    def refine(self, *inputs: tuple[float, ...]) -> torch.Tensor:
        self.boxes.append(inputs[-1])
        return torch.full((1, 1, 64, 64), self.refined)


def fixed(coarse: torch.Tensor, refined: float) -> tuple[Fixed, FocalClick]:
    network = Fixed(coarse, refined)
    return network, FocalClick("fixed", network, "", parameters=FocalClick.published)  # type: ignore[arg-type]


def blob() -> torch.Tensor:
    """(64, 64) logits: 4 in a square in the middle, else -4."""
    logits = torch.full((64, 64), -4.0)
    logits[24:40, 24:40] = 4.0
    return logits


def test_the_registered_names() -> None:
    names = [info.name for info in list_models("focalclick-*", kind="segmenter")]
    assert names == [
        "focalclick-hrnet18s-s1",
        "focalclick-hrnet18s-s2",
        "focalclick-hrnet32-s2",
        "focalclick-segformer-b0-s1",
        "focalclick-segformer-b0-s2",
        "focalclick-segformer-b3-s2",
    ]
    for info in list_models("focalclick-segformer-*"):
        assert "non-commercial" in info.licence


def test_the_focus_crop_is_pasted_over_the_coarse_answer() -> None:
    network, segmenter = fixed(blob(), refined=2.0)
    mask = segmenter.decode(segmenter.encode(picture(64, 64, 1)), Prompt((Click(32, 32),)))
    # The square is 16 pixels, its neighbourhood 1.4 times as large.
    assert network.boxes == [(20.0, 20.0, 42.0, 42.0)]
    assert np.allclose(mask.logits[20:42, 20:42], 2.0)
    assert np.allclose(mask.logits[:20], -4.0, atol=1e-4)
    assert not np.any(network.seen[0].numpy())
    assert mask.score == pytest.approx(1 / (1 + np.exp(-2.0)), abs=1e-6)


def test_the_second_click_looks_at_the_object_and_sees_the_first_answer() -> None:
    network, segmenter = fixed(blob(), refined=2.0)
    embedding = segmenter.encode(picture(128, 256, 1))
    first = segmenter.decode(embedding, Prompt((Click(64, 128),)))
    # The object's 44 x 88 pixels, expanded.
    second = segmenter.decode(embedding, Prompt((Click(64, 128), Click(3, 3, False))), first.state)
    assert isinstance(second.state, FocalClickState)
    found = np.flatnonzero((first.logits > 0).any(axis=1)), np.flatnonzero((first.logits > 0).any(axis=0))
    target = second.state.target
    assert target is not None
    assert target.top < found[0][0] < found[0][-1] < target.bottom
    assert target.height == pytest.approx(1.4 * len(found[0]), abs=2)
    assert target.width == pytest.approx(1.4 * len(found[1]), abs=2)
    assert (second.logits[: target.top] == -LIMIT).all()
    assert network.seen[1].numpy().max() == pytest.approx(1 / (1 + np.exp(-2.0)), abs=1e-6)


def test_without_an_object_before_the_whole_image_is_looked_at() -> None:
    _, segmenter = fixed(torch.full((64, 64), -4.0), refined=-3.0)
    segmenter = segmenter.changed("", FocalClickParameters())
    embedding, state = segmenter.encode(picture(100, 60, 1)), None
    for count in range(1, 4):
        answer = segmenter.decode(embedding, Prompt((Click(50, 30),) * count), state)
        state = answer.state
        assert state.target is None
        assert not (answer.logits > 0).any()


@pytest.mark.parametrize("paste_always", [False, True])
def test_the_published_loop_pastes_what_it_sees_of_the_whole_image_into_the_crop_before(
    paste_always: bool,
) -> None:
    network, segmenter = fixed(blob(), refined=-3.0)  # nothing is found where it refines
    segmenter = segmenter.changed("", FocalClickParameters(quick=False, paste_always=paste_always))
    embedding, target = segmenter.encode(picture(64, 64, 1)), Region(10, 20, 42, 52)
    state = FocalClickState(np.zeros((64, 64), dtype=np.float32), target)
    answer = segmenter.decode(embedding, Prompt((Click(32, 32), Click(30, 30))), state)
    assert answer.state.target == (target if paste_always else None)
    assert ((answer.logits[:10] == -LIMIT).all()) == paste_always
    assert len(network.seen) == 1


def test_after_ten_clicks_only_the_focus_crop_changes() -> None:
    clicks = (Click(32, 32),) * 11
    _, segmenter = fixed(blob(), refined=2.0)
    network, changed = fixed(torch.full((64, 64), 3.0), refined=1.0)
    embedding = segmenter.encode(picture(64, 64, 1))
    before = segmenter.decode(embedding, Prompt(clicks[:10]))
    after = changed.decode(embedding, Prompt(clicks), before.state)
    focus = np.isclose(after.logits, 1.0, atol=1e-4)
    assert len(network.boxes) == 1
    assert 0 < focus.sum() < focus.size
    assert np.allclose(after.logits[~focus], before.logits[~focus], atol=1e-3)


def test_a_mask_to_start_from_changes_only_where_the_click_says_so() -> None:
    logits = blob()
    logits[2:10, 2:10] = 4.0  # another change, unasked
    network, segmenter = fixed(logits, refined=0.0)
    network.refined = 3.0
    embedding = segmenter.encode(picture(64, 64, 1))
    start = np.zeros((64, 64), dtype=np.bool_)
    start[50:60, 50:60] = True
    mask = segmenter.decode(embedding, Prompt((Click(32, 32),), mask=start))
    assert (mask.logits > 0)[50:60, 50:60].all()
    assert (mask.logits > 0)[32, 32]
    assert np.array_equal(network.seen[0][0].numpy(), start)
    assert np.array_equal(mask.state.merged, mask.logits > 0)
    agreed = segmenter.decode(embedding, Prompt((Click(55, 55),), mask=start))
    assert np.array_equal(agreed.logits > 0, start)


def test_a_mask_alone_is_the_answer() -> None:
    segmenter, start = tiny(), disk(HEIGHT, WIDTH)
    mask = segmenter.decode(segmenter.encode(picture(HEIGHT, WIDTH, 1)), Prompt(mask=start))
    assert np.array_equal(mask.logits > 0, start)
    assert mask.score == 1.0


def test_a_negative_click_may_follow_a_mask() -> None:
    segmenter = tiny()
    embedding, start = segmenter.encode(picture(HEIGHT, WIDTH, 1)), disk(HEIGHT, WIDTH)
    answer = segmenter.decode(embedding, Prompt((Click(40, 50, False),), mask=start))
    assert np.isfinite(answer.logits).all()
    assert isinstance(answer.state, FocalClickState)


def test_a_mask_of_another_size_is_refused() -> None:
    segmenter = tiny()
    with pytest.raises(BadInput):
        segmenter.decode(
            segmenter.encode(picture(HEIGHT, WIDTH, 1)),
            Prompt((INSIDE,), mask=np.ones((3, 3), dtype=np.bool_)),
        )


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(),
        Prompt((Click(4, 4, False), Click(9, 9, False))),
        Prompt(strokes=(Stroke(((4, 4), (9, 9)), False, 2.0),)),
        Prompt(mask=np.zeros((HEIGHT, WIDTH), dtype=np.bool_)),
    ],
)
def test_without_anything_positive_there_is_no_object(prompt: Prompt) -> None:
    segmenter = tiny()
    mask = segmenter.decode(segmenter.encode(picture(HEIGHT, WIDTH, 1)), prompt)
    assert (mask.logits == -LIMIT).all()
    assert (mask.score, mask.state) == (0.0, None)


def test_strokes_are_clicks() -> None:
    segmenter = tiny()
    embedding = segmenter.encode(picture(HEIGHT, WIDTH, 1))
    stroke = Stroke(((40.5, 50.5), (40.5, 50.5)), True, 3.0)
    drawn = segmenter.decode(embedding, Prompt(strokes=(stroke,)))
    clicked = segmenter.decode(embedding, Prompt((INSIDE,)))
    assert np.array_equal(drawn.logits, clicked.logits)


def test_a_box_is_a_click_at_its_middle_and_a_target_crop() -> None:
    segmenter = tiny()
    embedding = segmenter.encode(picture(HEIGHT, WIDTH, 1))
    box = Box(20.0, 30.0, 50.0, 70.0)
    mask = segmenter.decode(embedding, Prompt(box=box))
    assert mask.state.target == Region(14, 22, 57, 79)
    outside = np.ones((HEIGHT, WIDTH), dtype=np.bool_)
    outside[20:50, 30:70] = False
    assert not (mask.logits > 0)[outside].any()
    both = segmenter.decode(embedding, Prompt((Click(35.0, 50.0),), box))
    assert np.array_equal(mask.logits, both.logits)


def test_answers_do_not_change_their_inputs() -> None:
    segmenter, image = tiny(), picture(HEIGHT, WIDTH, 1)
    embedding = segmenter.encode(image)
    clicks = scene(HEIGHT, WIDTH, 2, 12).clicks
    state = segmenter.decode(embedding, Prompt(clicks[:11])).state
    kept = state.probability.copy()
    answers = [segmenter.decode(embedding, Prompt(clicks), state).logits for _ in range(2)]
    assert np.array_equal(answers[0], answers[1])
    assert np.array_equal(state.probability, kept)
    assert np.array_equal(embedding.data, image)


@pytest.mark.parametrize("region", [Region(0, 0, 41, 67), Region(3, 10, 40, 67), Region(7, 8, 8, 10)])
@pytest.mark.parametrize("together", [1, 3])
def test_large_photographs_are_reduced_as_small_ones_are(
    region: Region, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (41, 67, 3), dtype=np.uint8)
    expected = focalclick_sampling.squared(image, region, 16, together=together)
    monkeypatch.setattr(focalclick_sampling, "LARGE", 0)
    found = focalclick_sampling.squared(image, region, 16, together=together)
    assert found.dtype == expected.dtype == torch.float32
    assert found.shape == expected.shape == (3, 16, 16)
    assert (found - expected).abs().max() < 1e-5
