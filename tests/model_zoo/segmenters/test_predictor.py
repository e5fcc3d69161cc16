from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model_zoo.prompt import Box, Click, Prompt, Stroke
from model_zoo.segmenters.predictor import (
    INTERACTIVE,
    PUBLISHED,
    ClickPredictor,
    PredictorParameters,
    flip,
    published,
)
from model_zoo.segmenters.predictor_window import PredictorState, Zoom
from model_zoo.segmenters.zoom_in import Region

pytestmark = pytest.mark.unit
RED, GREEN = (230, 20, 20), (20, 200, 20)


class Redness(nn.Module):
    """Takes red for object, as soon as there is a click; remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[Tensor] = []
        self.maps: list[Tensor] = []

    def forward(self, image: Tensor, maps: Tensor) -> Tensor:
        self.images.append(image)
        self.maps.append(maps)
        return 20.0 * (image[:, :1] - 0.5)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return [(image.shape[-2], image.shape[-1]) for image in self.images]


def scene(height: int, width: int, box: tuple[slice, slice]) -> np.ndarray:
    image = np.full((height, width, 3), GREEN, dtype=np.uint8)
    image[box] = RED
    return image


def make(parameters: PredictorParameters = INTERACTIVE) -> tuple[ClickPredictor, Redness]:
    network = Redness()
    return ClickPredictor("redness", network, "x", parameters=replace(parameters, quick=False)), network


def test_a_small_object_of_a_large_photograph_is_seen_sharply_at_the_first_click() -> None:
    box = slice(1500, 1563), slice(2000, 2091)
    image = scene(3000, 4000, box)
    segmenter, network = make()
    embedding = segmenter.encode(image)
    mask = segmenter.decode(embedding, Prompt((Click(1530, 2040),)))
    assert network.sizes == [(600, 800), (400, 400)]
    assert np.array_equal(mask.logits > 0, image[..., 0] > 128)
    assert isinstance(mask.state, PredictorState)
    assert mask.state.nbytes < 1 << 20
    assert embedding.nbytes < 64 << 20
    window = mask.state.window
    assert window is not None
    assert (window.height, window.width) == (201, 201)
    segmenter.decode(embedding, Prompt((Click(1530, 2040), Click(10, 10, False))), mask.state)
    assert network.sizes[2:] == [(400, 400)]


def test_without_a_limit_and_a_second_look_the_first_click_sees_the_whole_image() -> None:
    image = scene(300, 410, (slice(100, 140), slice(200, 240)))
    segmenter, network = make(PUBLISHED)
    embedding = segmenter.encode(image)
    first = segmenter.decode(embedding, Prompt((Click(120, 220),)))
    segmenter.decode(embedding, Prompt((Click(120, 220), Click(5, 5, False))), first.state)
    assert network.sizes == [(300, 410), (400, 400)]
    assert [len(image) for image in network.images] == [2, 2]


def test_the_previous_answer_is_shown_with_the_image() -> None:
    image = scene(90, 120, (slice(20, 50), slice(30, 70)))
    segmenter, network = make(replace(PUBLISHED, flip=False, zoom=None))
    embedding, clicks = segmenter.encode(image), (Click(30, 40), Click(5, 5, False))
    first = segmenter.decode(embedding, Prompt(clicks[:1]))
    assert not network.images[0][:, 3].any()
    segmenter.decode(embedding, Prompt(clicks), first.state)
    assert torch.equal(network.images[1][0, 3] > 0.49, torch.from_numpy(first.logits > 0))
    assert network.maps[1][0].sum((1, 2)).tolist() == [81, 81]
    assert network.maps[1][0, 0, 30, 40] == network.maps[1][0, 1, 5, 5] == 1


@pytest.mark.parametrize("paste", [False, True])
def test_an_answer_without_object_leads_back_to_the_whole_image(paste: bool) -> None:
    image = scene(300, 400, (slice(100, 140), slice(200, 240)))
    segmenter, _ = make(replace(PUBLISHED, flip=False, zoom=Zoom(paste_always=paste)))
    embedding, clicks = segmenter.encode(image), (Click(120, 220), Click(5, 5, False), Click(9, 9, False))
    first = segmenter.decode(embedding, Prompt(clicks[:1]))
    second = segmenter.decode(embedding, Prompt(clicks[:2]), first.state)
    assert second.state.window == second.state.answer.region != Region(0, 0, 300, 400)
    nothing = replace(
        second.state, answer=replace(second.state.answer, probability=0 * second.state.answer.probability)
    )
    third = segmenter.decode(embedding, Prompt(clicks), nothing).state
    assert third.answer.probability.shape == (300, 400)
    assert third.window == (second.state.window if paste else None)
    assert third.answer.region == (second.state.window if paste else Region(0, 0, 300, 400))


def test_a_window_is_kept_until_it_no_longer_fits() -> None:
    image = scene(300, 400, (slice(100, 140), slice(200, 240)))
    segmenter, _ = make(replace(PUBLISHED, zoom=Zoom(smallest=50)))
    embedding = segmenter.encode(image)
    clicks = (Click(120, 220), Click(5, 5, False), Click(110, 210), Click(200, 300))
    state, windows = None, []
    for number in range(1, 5):
        state = segmenter.decode(embedding, Prompt(clicks[:number]), state).state
        windows.append(state.window)
    assert windows[0] is None
    assert windows[1] == windows[2] == Region(92, 192, 149, 249)
    assert windows[3] == Region(79, 179, 222, 322)


def test_flips_are_averaged() -> None:
    class LeftOnly(Redness):
        def forward(self, image: Tensor, maps: Tensor) -> Tensor:
            answer = super().forward(image, maps)
            answer[..., answer.shape[-1] // 2 :] = -40.0
            return answer

    image = scene(40, 60, (slice(10, 20), slice(0, 60)))
    network = LeftOnly()
    plain = ClickPredictor("left", network, "x", parameters=replace(PUBLISHED, flip=False))
    both = flip(plain)
    assert both.name == "left+flip"
    assert both.fingerprint != plain.fingerprint
    prompt = Prompt((Click(15, 7),))
    assert (plain.decode(plain.encode(image), prompt).logits[15] > 0).sum() == 30
    logits = both.decode(both.encode(image), prompt).logits[15]
    assert np.allclose(logits, logits[::-1])
    assert network.maps[-1][0, 0, 15, 7] == network.maps[-1][1, 0, 15, 52] == 1


def test_the_published_protocol_is_a_modifier() -> None:
    segmenter, _ = make()
    assert published(segmenter).parameters == PUBLISHED
    assert published(segmenter).name == "redness+published"
    assert segmenter.name == "redness"


def test_the_network_is_shown_no_more_clicks_than_it_should_be() -> None:
    segmenter, network = make(replace(PUBLISHED, zoom=None, flip=False, clicks_limit=1))
    embedding = segmenter.encode(scene(60, 80, (slice(10, 20), slice(30, 40))))
    segmenter.decode(embedding, Prompt((Click(15, 35), Click(50, 70, False))))
    assert network.maps[0][0].sum((1, 2)).tolist() == [81, 0]


def test_strokes_become_clicks() -> None:
    segmenter, network = make(replace(PUBLISHED, zoom=None, flip=False))
    embedding = segmenter.encode(scene(60, 80, (slice(10, 20), slice(30, 40))))
    stroke = Stroke(((15.5, 30.5), (15.5, 39.5)), positive=True, radius=2.0)
    mask = segmenter.decode(embedding, Prompt(strokes=(stroke,)))
    assert network.maps[0][0, 0, 15, 30:40].all()
    assert (mask.logits > 0).sum() == 100


def test_a_mask_to_start_from_is_looked_at_twice_at_the_first_click() -> None:
    image = scene(300, 400, (slice(100, 140), slice(200, 240)))
    start = np.zeros((300, 400), dtype=bool)
    start[90:120, 210:250] = True
    segmenter, network = make(replace(PUBLISHED, flip=False, zoom=Zoom(skip_clicks=0)))
    embedding, clicks = segmenter.encode(image), (Click(105, 205), Click(95, 245, False))
    alone = segmenter.decode(embedding, Prompt(mask=start))
    assert np.array_equal(alone.logits > 0, start)
    assert (alone.score, alone.state, network.images) == (1.0, None, [])
    first = segmenter.decode(embedding, Prompt(clicks[:1], mask=start), alone.state)
    assert network.sizes == [(300, 400), (400, 400)]
    assert torch.equal(network.images[0][0, 3] > 0.5, torch.from_numpy(start))
    assert 0 < network.images[1][0, 3].mean() < 1
    assert np.array_equal(first.logits > 0, image[..., 0] > 128)
    segmenter.decode(embedding, Prompt(clicks, mask=start), first.state)
    assert len(network.images) == 3
    negative = segmenter.decode(embedding, Prompt(clicks[1:], mask=start))
    assert (negative.logits > 0).any()


def test_a_box_shows_its_surroundings_and_ends_the_object() -> None:
    segmenter, network = make()
    image = scene(300, 400, (slice(100, 200), slice(200, 300)))
    mask = segmenter.decode(segmenter.encode(image), Prompt(box=Box(120, 180, 160, 260)))
    assert len(network.images) == 1, "a second pass would see the same"
    assert mask.state.window is not None
    assert mask.state.window.overlap(Region(0, 0, 300, 400)) < 0.5
    expected = np.zeros((300, 400), dtype=np.bool_)
    expected[120:160, 200:260] = True
    assert ((mask.logits > 0) == expected).mean() > 0.99


@pytest.mark.parametrize("prompt", [Prompt(), Prompt((Click(5, 5, False),))])
def test_without_a_positive_hint_there_is_no_object(prompt: Prompt) -> None:
    segmenter, network = make()
    mask = segmenter.decode(segmenter.encode(scene(60, 80, (slice(10, 20), slice(30, 40)))), prompt)
    assert mask.score == 0.0
    assert not (mask.logits > 0).any()
    assert network.images == []


def test_an_answer_follows_from_prompt_and_state_alone() -> None:
    image = scene(300, 400, (slice(100, 140), slice(200, 240)))
    segmenter, _ = make(replace(PUBLISHED, zoom=Zoom(smallest=50)))
    embedding, clicks = segmenter.encode(image), (Click(120, 220), Click(5, 5, False), Click(110, 210))
    first = segmenter.decode(embedding, Prompt(clicks[:1]))
    second = segmenter.decode(embedding, Prompt(clicks[:2]), first.state)
    segmenter.decode(embedding, Prompt(clicks), second.state)
    again = segmenter.decode(embedding, Prompt(clicks[:2]), first.state)
    assert np.array_equal(again.logits, second.logits)
    assert np.isfinite(segmenter.decode(embedding, Prompt(clicks)).logits).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3), (1, 900)])
@pytest.mark.parametrize(
    "parameters", [INTERACTIVE, PUBLISHED, replace(INTERACTIVE, zoom=Zoom((48, 64), -1))]
)
def test_extreme_sizes(shape: tuple[int, int], parameters: PredictorParameters) -> None:
    segmenter, _ = make(parameters)
    embedding = segmenter.encode(np.full((*shape, 3), RED, dtype=np.uint8))
    state, clicks = None, (Click(0, 0), Click(shape[0], shape[1], False), Click(*shape))
    for number in range(1, 4):
        mask = segmenter.decode(embedding, Prompt(clicks[:number]), state)
        state = mask.state
        assert mask.logits.shape == shape
        assert np.isfinite(mask.logits).all()
