"""SimpleClick: the published network's answers on random weights, its files, windows of attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model_zoo.errors import BadInput, WeightsMissing
from model_zoo.prompt import Click, Prompt
from model_zoo.registry import create_segmenter, list_models
from model_zoo.segmenters.predictor import ClickPredictor
from model_zoo.segmenters.predictor_maps import disk_maps
from model_zoo.segmenters.simpleclick import SIDE, interactive_parameters, published_parameters
from model_zoo.segmenters.simpleclick_network import SimpleClickNetwork, Sizes, join, split, windows
from model_zoo.segmenters.simpleclick_weights import SIZES, TINY, convert_simpleclick, our_name
from model_zoo.weights import WeightSource
from tests.model_zoo.segmenters import simpleclick_random as given

pytestmark = pytest.mark.unit
GOLDEN = Path(__file__).parent / "data" / "simpleclick.npz"  # made by scripts/parity_simpleclick.py
NAMES = [f"simpleclick-vit-{size}" for size in SIZES]
CONFIG = {
    "class": "isegm.model.is_plainvit_model.PlainVitModel",
    "params": {
        "use_disks": {"type": "builtin", "value": True, "specified": True},
        "norm_radius": {"type": "builtin", "value": 5, "specified": True},
        "with_prev_mask": {"type": "builtin", "value": True, "specified": True},
        "random_split": {"type": "builtin", "value": False, "specified": True},
        "backbone_params": {"value": {"num_heads": 4, "patch_size": [16, 16], "embed_dim": 160}},
        "head_params": {"value": {"upsample": "x1", "align_corners": False, "channels": 128}},
    },
}


@pytest.fixture(scope="module")
def xtiny() -> SimpleClickNetwork:
    return given.network("xtiny")


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.mark.parametrize("side", given.FORWARD)
def test_the_published_network_says_the_same(
    xtiny: SimpleClickNetwork, golden: dict[str, np.ndarray], side: int
) -> None:
    assert np.abs(given.answer(xtiny, side) - golden[f"xtiny_{side}"]).max() < 1e-4


@pytest.mark.parametrize("side", given.SCENES)
def test_the_published_predictor_says_the_same_click_by_click(
    xtiny: SimpleClickNetwork, golden: dict[str, np.ndarray], side: int
) -> None:
    segmenter = ClickPredictor("xtiny", xtiny, "", parameters=published_parameters(side))
    scene, expected, state, windows_used = given.SCENES[side], golden[f"xtiny_clicks_{side}"], None, set()
    embedding = segmenter.encode(scene.image)
    for number, answer in enumerate(expected[: 7 if side == SIDE else 2], 1):
        mask = segmenter.decode(embedding, Prompt(scene.clicks[:number]), state)
        state = mask.state
        windows_used.add(state.window)
        assert np.abs(mask.logits[:: given.STRIDE, :: given.STRIDE] - answer).max() < 1e-4
    assert len(windows_used) == (3 if side == SIDE else 1)


def test_the_random_network_looks_at_all_it_is_shown(xtiny: SimpleClickNetwork) -> None:
    image, before = given.network_input(SIDE)
    shown = torch.cat((image, before), dim=1)
    disks = disk_maps(given.POINTS, SIDE, SIDE, 5)[None]
    with torch.inference_mode():
        answer = xtiny(shown, disks)
        assert answer.shape == (1, 1, SIDE, SIDE)
        assert float(answer.std()) > 0.3
        for other in (
            (shown, 0 * disks),
            (shown, disks.flip(1)),
            (torch.cat((image, 0 * before), dim=1), disks),
            (torch.cat((image.flip(1), before), dim=1), disks),
        ):
            assert float((xtiny(*other) - answer).abs().mean()) > 0.05


def test_files_of_the_published_code_fit_and_what_never_runs_is_left_out(xtiny: SimpleClickNetwork) -> None:
    tensors = given.published_state("xtiny")
    unused = {
        "backbone.cls_token": torch.zeros(1, 1, 160),
        "backbone.fc_norm.weight": torch.ones(160),
        "backbone.head.weight": torch.zeros(1000, 160),
        "head.up_conv1.0.weight": torch.zeros(128, 64, 2, 2),
        "head.up_conv2.3.bias": torch.zeros(32),
    }
    found = convert_simpleclick(SIZES["xtiny"], {**unused, **tensors}, CONFIG)
    assert found.keys() == xtiny.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in xtiny.state_dict().items())
    assert found["positions"].shape == (1, 28 * 28, 160)
    assert torch.equal(found["positions"][0, 0], tensors["backbone.pos_embed"][0, 1])


@pytest.mark.parametrize(
    ("size", "changes", "what"),
    [
        ("b", {}, "num_heads is 4, expected 12"),
        ("xtiny", {"norm_radius": {"value": 3}}, "norm_radius is 3, expected 5"),
        ("xtiny", {"with_prev_mask": {"value": False}}, "with_prev_mask is False, expected True"),
        ("xtiny", {"random_split": {"value": True}}, "random_split is True, expected False"),
        (
            "xtiny",
            {"head_params": {"value": {"upsample": "x2"}}},
            "head_params.upsample is 'x2', expected 'x1'",
        ),
    ],
)
def test_networks_that_work_otherwise_are_refused(size: str, changes: dict[str, Any], what: str) -> None:
    config = {**CONFIG, "params": {**CONFIG["params"], **changes}}  # type: ignore[dict-item]
    with pytest.raises(WeightsMissing, match=what.replace(".", r"\.")):
        convert_simpleclick(SIZES[size], given.published_state("xtiny"), config)


def test_files_of_other_models_are_refused() -> None:
    tensors = given.published_state("xtiny")
    with pytest.raises(WeightsMissing, match=r"class is 'isegm\.model\.is_hrnet_model\.HRNetModel'"):
        convert_simpleclick(SIZES["xtiny"], tensors, {"class": "isegm.model.is_hrnet_model.HRNetModel"})
    with pytest.raises(WeightsMissing, match=r"blocks\.0\.attn\.proj\.bias is \(160,\), expected \(768,\)"):
        convert_simpleclick(SIZES["b"], tensors, {})
    fewer = {name: value for name, value in tensors.items() if name != "neck.down_16.1.bias"}
    with pytest.raises(WeightsMissing, match=r"pyramid\.levels\.2\.1\.bias is missing, expected \(288,\)"):
        convert_simpleclick(SIZES["xtiny"], fewer, {})
    with pytest.raises(WeightsMissing, match=r"1 tensors do not fit, stranger is \(2,\), expected none"):
        convert_simpleclick(SIZES["xtiny"], {**tensors, "stranger": torch.zeros(2)}, {})
    wrong = {**tensors, "backbone.pos_embed": torch.zeros(1, 197, 160)}
    with pytest.raises(WeightsMissing, match=r"1 tensors do not fit, positions is \(1, 196, 160\), expected"):
        convert_simpleclick(SIZES["xtiny"], wrong, {})


def test_names_that_begin_alike_are_told_apart() -> None:
    assert our_name("neck.down_4.0.weight") == "pyramid.levels.0.0.weight"
    assert our_name("neck.down_40.weight") == "neck.down_40.weight"
    assert our_name("head.convs.3.conv.bias") == "head.levels.3.bias"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_of_the_weights(name: str) -> None:
    (info,) = list_models(name)
    (spec,) = info.weights
    with torch.device("meta"):
        network = SimpleClickNetwork(SIZES[name.rpartition("-")[2]])
    assert spec.parameters == sum(value.numel() for value in network.parameters())
    assert spec.published is not None
    assert f"clickpick weights import {name} FILE" in spec.advice
    assert abs(spec.published.size - 4 * spec.parameters) < max(0.02 * spec.published.size, 2_000_000)
    assert ("non-commercial" in info.licence) == bool(spec.published.terms) == (not name.endswith("xtiny"))


@pytest.mark.parametrize(("size", "whole"), [("xtiny", 4), ("b", 2), ("l", 4), ("h", 4)])
def test_the_last_block_of_each_group_sees_everything(size: str, whole: int) -> None:
    sizes = SIZES[size]
    assert sizes.depth % sizes.group == 0
    assert sizes.depth // sizes.group == whole


@pytest.mark.parametrize(
    ("count", "side", "expected"), [(28, 14, 2), (42, 14, 3), (64, 14, 4), (32, 16, 2), (5, 14, 1)]
)
def test_windows_along_a_side(count: int, side: int, expected: int) -> None:
    assert windows(count, side) == expected


def test_tokens_of_a_window_stay_together_and_come_back() -> None:
    rows, cols = torch.meshgrid(torch.arange(4), torch.arange(6), indexing="ij")
    tokens = torch.stack((rows, cols), dim=-1).reshape(1, 24, 2).repeat(2, 1, 1)
    parts = split(tokens, (4, 6), (2, 3))
    assert parts.shape == (12, 4, 2)
    assert parts[4].tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]
    assert torch.equal(join(parts, (4, 6), (2, 3)), tokens)


@pytest.mark.parametrize(("height", "width"), [(60, 64), (64, 60), (0, 64), (64, 72), (64, 104)])
def test_sizes_that_cannot_be_cut_are_refused(height: int, width: int) -> None:
    network = SimpleClickNetwork(TINY)
    if (height, width) == (64, 104):  # 13 tokens, in 3 windows of 4
        assert windows(13, 4) == 3
    if (height, width) == (64, 72):  # 9 tokens, in 2 windows of 4
        assert windows(9, 4) == 2
    with pytest.raises(
        BadInput, match=f"image is {height}x{width}; this network takes multiples of 32 pixels"
    ):
        network(torch.zeros(1, 4, height, width), torch.zeros(1, 2, height, width))


def test_positions_are_stretched_from_those_that_were_learnt() -> None:
    network = SimpleClickNetwork(Sizes(8, 4, 2, 8, (8, 8, 8, 8), head=8, grid=4, window=32))
    rows, cols = torch.meshgrid(torch.linspace(0, 1, 4), torch.linspace(0, 1, 4), indexing="ij")
    with torch.no_grad():
        network.positions[0] = torch.stack([rows, cols] * 4, dim=-1).reshape(16, 8)
        before = network.positions.clone()
        wide = network._positions((4, 8)).reshape(4, 8, 8)
    assert torch.equal(network._positions((4, 4)), network.positions)
    assert torch.equal(network.positions, before)
    assert (wide[:, :, 0].diff(dim=1).abs() < 1e-6).all()
    assert (wide[:, :, 1].diff(dim=1) > 0).all()


def test_a_small_object_is_looked_at_closer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the network answers here, whatever it is shown, with a disk in the middle."""

    class Disk(torch.nn.Module):
        def forward(self, image: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
            line = torch.linspace(-1, 1, image.shape[-1])
            return (0.3 - torch.hypot(line[:, None], line[None])).mul(40).expand(len(image), 1, -1, -1)

    image, prompt = np.zeros((1200, 1600, 3), dtype=np.uint8), Prompt((Click(600, 800),))
    looked = {}
    for name, parameters in {"now": interactive_parameters(64), "paper": published_parameters(64)}.items():
        segmenter = ClickPredictor(name, Disk(), "", parameters=parameters)
        looked[name] = segmenter.decode(segmenter.encode(image), prompt).state.window
    assert (looked["paper"].height, looked["paper"].width) == (1200, 1600)
    assert looked["now"].height == pytest.approx(0.3 * 1.4 * 1200, rel=0.1)


def test_it_is_asked_as_published_by_name() -> None:
    segmenter = create_segmenter("simpleclick-vit-xtiny+published", "cpu", WeightSource(tiny=True))
    assert isinstance(segmenter, ClickPredictor)
    assert segmenter.parameters == published_parameters(64)
    plain = create_segmenter("simpleclick-vit-xtiny", "cpu", WeightSource(tiny=True))
    assert isinstance(plain, ClickPredictor)
    assert plain.parameters == interactive_parameters(64, quick=False)


def test_without_weights_it_says_where_they_are(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsMissing, match=r"download cocolvis_vit_base\.pth \(392 MB\) from https://drive"
    ):
        create_segmenter("simpleclick-vit-b", "cpu", WeightSource(tmp_path))
