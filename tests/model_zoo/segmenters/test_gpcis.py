"""GPCIS with random weights: the network's shape and gradients, the predictor's regions, clicks and state."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from model_zoo.errors import WeightsMissing
from model_zoo.prompt import Box, Click, Prompt
from model_zoo.registry import create_segmenter, list_models
from model_zoo.segmenters import gpcis
from model_zoo.segmenters.click_maps import POSITIVE, PREVIOUS, render
from model_zoo.segmenters.gpcis import Gpcis, Region, load_gpcis
from model_zoo.segmenters.gpcis_network import GpcisNetwork, crop_bounds

pytestmark = pytest.mark.unit
HEIGHT, WIDTH = 60, 90
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
CLICKS = (Click(30.5, 40.5), Click(5.5, 5.5, False), Click(22.0, 60.0))


@cache
def network() -> GpcisNetwork:
    torch.manual_seed(0)
    return GpcisNetwork().eval()


@pytest.fixture
def segmenter(monkeypatch: pytest.MonkeyPatch) -> Gpcis:
    monkeypatch.setattr(gpcis, "SIDE", 64)
    return Gpcis("gpcis-resnet50", network(), "0" * 64)


def test_features_are_unit_vectors_and_colours() -> None:
    images, maps = torch.rand(2, 3, 64, 64), torch.from_numpy(np.stack([render(64, 64)] * 2))
    with torch.inference_mode():
        embedding = network().embed(images)
        features = network().features(embedding, maps)
    assert features.shape == (2, 51, 64, 64)
    assert torch.equal(features[:, 48:], embedding)
    norms = features[:, :48].norm(dim=1)
    assert float(norms.max()) <= 1.0 + 1e-5
    assert torch.allclose(norms[:, 0, 0], torch.ones(2), atol=1e-5)


def test_the_size_is_the_published_one_less_what_is_cut_off() -> None:
    count = sum(parameter.numel() for parameter in network().parameters())
    assert 39.2e6 < count < 39.45e6
    assert 0.01e6 < sum(p.numel() for p in network().gp.parameters()) < 0.03e6


def test_prompts_and_previous_mask_change_the_features_and_the_box_does_not() -> None:
    embedding = network().embed(torch.rand(1, 3, 32, 32))
    blank = torch.zeros(1, 4, 32, 32)
    with torch.inference_mode():
        plain = network().features(embedding, blank)
        for channel, matters in ((POSITIVE, True), (PREVIOUS, True), (3, False)):
            maps = blank.clone()
            maps[:, channel, 8:16, 8:16] = 1.0
            assert torch.equal(network().features(embedding, maps), plain) != matters


def test_one_image_serves_several_prompts_as_if_each_were_alone() -> None:
    images, maps = torch.rand(2, 3, 32, 32), torch.rand(3, 4, 32, 32)
    clicks = [[Click(3, 4)], [Click(20, 20), Click(2, 2, False)], []]
    with torch.inference_mode():
        together = network()(images, maps, torch.tensor([0, 0, 1]), clicks=clicks).logits
        for n, image in enumerate((0, 0, 1)):
            alone = network()(images[image : image + 1], maps[n : n + 1], clicks=clicks[n : n + 1]).logits
            assert torch.allclose(together[n], alone[0], atol=1e-4)
    assert together.shape == (3, 1, 32, 32)


def test_training_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    fresh = GpcisNetwork().train()
    output = fresh(
        torch.rand(2, 3, 32, 32), torch.rand(2, 4, 32, 32), clicks=[[Click(3, 4)], [Click(9, 9, False)]]
    )
    (output.logits.square().mean() + output.vi).backward()
    still = [name for name, p in fresh.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        ((0.0, 0.0), (0, 0, 30, 40)),
        ((1.0, 0.0), (70, 0, 100, 40)),
        ((0.0, 1.0), (0, 160, 30, 200)),
        ((0.5, 0.25), (35, 40, 65, 80)),
    ],
)
def test_a_crop_keeps_its_size_wherever_it_lies(
    offset: tuple[float, float], expected: tuple[int, int, int, int]
) -> None:
    assert crop_bounds((100, 200), (30, 40), offset) == expected
    assert crop_bounds((30, 40), (30, 40), offset) == (0, 0, 30, 40)


def test_every_click_has_its_sign_at_the_network_and_state_carries_the_answer(segmenter: Gpcis) -> None:
    embedding, state = segmenter.encode(IMAGE), None
    for prompt in Prompt(CLICKS).prefixes():
        mask = segmenter.decode(embedding, prompt, state)
        assert mask.logits.shape == (HEIGHT, WIDTH)
        assert mask.logits.dtype == np.float32
        assert np.isfinite(mask.logits).all()
        assert 0.0 <= mask.score <= 1.0
        again = segmenter.decode(embedding, prompt, state)
        assert np.array_equal(mask.logits, again.logits)
        state = mask.state
    assert not np.array_equal(mask.logits, segmenter.decode(embedding, Prompt(CLICKS)).logits)


def test_with_the_head_no_click_is_contradicted(segmenter: Gpcis) -> None:
    from model_zoo.segmenters.gp_head import GpHead

    head = GpHead(segmenter)
    assert head.stateful
    assert not head.order_free
    embedding, state = head.encode(IMAGE), None
    for prompt in Prompt(CLICKS).prefixes():
        mask = head.decode(embedding, prompt, state)
        state = mask.state
        for click in prompt.clicks:
            assert (mask.logits[click.pixel(HEIGHT, WIDTH)] > 0) == click.positive


def test_without_a_positive_click_there_is_no_object(segmenter: Gpcis) -> None:
    embedding = segmenter.encode(IMAGE)
    for prompt in (Prompt(), Prompt(CLICKS[1:2]), Prompt(box=Box(3, 3, 40, 40))):
        mask = segmenter.decode(embedding, prompt)
        assert not (mask.logits > 0).any()
        assert mask.score == 0.0


@pytest.mark.parametrize("shape", [(1, 1), (2, 200), (200, 3)])
def test_extreme_sizes(segmenter: Gpcis, shape: tuple[int, int]) -> None:
    embedding, state = segmenter.encode(np.full((*shape, 3), 90, dtype=np.uint8)), None
    for prompt in Prompt((Click(0, 0), Click(*shape), Click(0, 0, False))).prefixes():
        mask = segmenter.decode(embedding, prompt, state)
        assert mask.logits.shape == shape
        assert np.isfinite(mask.logits).all()
        state = mask.state


def test_the_region_is_the_object_and_its_clicks_with_room() -> None:
    probability = np.zeros((40, 50), dtype=np.float32)
    probability[10:20, 5:25] = 0.5
    before = gpcis._State(Region(20, 30, 60, 80), probability)
    one = Prompt((Click(35, 40), Click(190, 290, False)))
    # Rows 30 to 39, columns 35 to 54; 1.4 times as large about the middle.
    assert gpcis._region(before, one, 200, 300) == Region(28, 30, 43, 59)
    far = Prompt((Click(35, 40), Click(99.5, 40)))
    assert gpcis._region(before, far, 200, 300).bottom > 100
    assert gpcis._region(before, far, 101, 300).bottom == 101
    faint = gpcis._State(before.region, np.minimum(probability, 0.48))
    assert gpcis._region(faint, one, 200, 300) == Region(0, 0, 200, 300)
    assert gpcis._region(None, one, 200, 300) == Region(0, 0, 200, 300)


def test_the_former_answer_is_cut_to_the_new_region() -> None:
    before = gpcis._State(Region(2, 3, 6, 9), np.arange(24, dtype=np.float32).reshape(4, 6))
    cut = gpcis._cut(before, Region(4, 0, 8, 5))
    assert cut.shape == (4, 5)
    assert cut[:2, 3:].tolist() == [[12.0, 13.0], [18.0, 19.0]]
    assert cut.sum() == 62.0
    assert not gpcis._cut(before, Region(20, 20, 30, 30)).any()


def test_clicks_are_those_of_the_square_and_the_latest_of_a_pixel_counts() -> None:
    prompt = Prompt((Click(10.9, 20.2), Click(10.1, 20.9, False), Click(0, 0)))
    clicks = gpcis._clicks(prompt, (100, 100), Region(5, 10, 5 + gpcis.SIDE, 10 + gpcis.SIDE))
    assert clicks == [Click(5, 10), Click(5, 10, False), Click(-5, -10)]
    assert gpcis._latest(clicks) == [Click(5, 10, False), Click(-5, -10)]


def test_untrained_it_says_how_to_train_it_and_trained_it_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpcis, "WEIGHTS", tmp_path / "gpcis-resnet50.safetensors")
    assert "gpcis-resnet50" in [info.name for info in list_models(kind="segmenter")]
    for name in ("gpcis-resnet50", "gpcis-resnet50+gp"):
        with pytest.raises(WeightsMissing, match="clickpick train-clicks --segmenter gpcis-resnet50"):
            create_segmenter(name)
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, other)
    with pytest.raises(WeightsMissing, match="does not hold"):
        load_gpcis(other)
    save_file(network().state_dict(), gpcis.WEIGHTS)
    assert create_segmenter("gpcis-resnet50").fingerprint.startswith("gpcis-resnet50:")
