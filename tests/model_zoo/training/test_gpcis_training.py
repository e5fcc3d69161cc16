"""GPCIS in the trainer, on a small trunk: clicks reach it as points, its rates, resuming, its file."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from model_zoo.prompt import Click
from model_zoo.segmenters.clicknet_network import ClickNetShape, ClickNetwork
from model_zoo.segmenters.gpcis import load_gpcis
from model_zoo.segmenters.gpcis_layer import VI_WEIGHT, GpOutput
from model_zoo.segmenters.gpcis_network import GpcisNetwork
from model_zoo.segmenters.gpcis_weights import save_gpcis
from model_zoo.training.click_model import ClickModel
from model_zoo.training.click_simulation import ClickPolicy
from model_zoo.training.recipes import CLICKNET, GPCIS, find_recipe, slower
from model_zoo.training.trainer import ClickTrainer
from tests.model_zoo.training.toys import ToyNetwork, disk_maker, write_disks

pytestmark = pytest.mark.unit
SMALL = ClickNetShape(wide=16, middle=16, fine=8, finest=8, attention_blocks=1, heads=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_disks(tmp_path / "disks")


def small() -> GpcisNetwork:
    torch.manual_seed(0)
    return GpcisNetwork("resnet10t")


def trainer(folder: Path, steps: int = 2, clicks: ClickPolicy = GPCIS.clicks, **changes: Any) -> ClickTrainer:
    policy = replace(GPCIS.policy, steps=steps, **changes)
    return ClickTrainer(small(), disk_maker(folder, objects=1), policy, clicks=clicks)


def test_both_networks_are_click_models() -> None:
    models: list[ClickModel] = [small(), ClickNetwork(SMALL)]
    for model in models:
        for mode in (True, False):
            output = model.train(mode)(
                torch.rand(2, 3, 64, 64), torch.zeros(2, 4, 64, 64), clicks=[[Click(3, 4)], [Click(9, 9)]]
            )
            assert output.answer.shape[:2] == (2, 1)
            assert all(logits.shape[:2] == (2, 1) for logits in output.auxiliary)
            assert math.isfinite(float(torch.as_tensor(output.penalty).detach()))


def test_the_penalty_is_the_weighted_variational_term() -> None:
    output = GpOutput(torch.zeros(1, 1, 2, 2), torch.tensor(3.0))
    assert float(output.penalty) == pytest.approx(3.0 * VI_WEIGHT)
    assert output.answer is output.logits
    assert output.auxiliary == ()


def test_a_step_trains_everything_the_trunk_at_a_tenth_of_the_rate(folder: Path) -> None:
    made = trainer(folder, steps=1, warm_up=1)
    before = {name: p.detach().clone() for name, p in made.network.named_parameters()}
    (now,) = made.run()
    assert math.isfinite(now.loss)
    assert 0.0 <= now.iou <= 1.0
    still = [name for name, p in made.network.named_parameters() if torch.equal(p, before[name])]
    assert still == []
    rates = {}
    for group in made._optimiser.param_groups:
        for parameter in group["params"]:
            rates[id(parameter)] = group["lr"]
    encoder = {rates[id(p)] for p in made.network.encoder.parameters()}
    others = {rates[id(p)] for p in made.network.gp.parameters()}
    assert encoder == {0.1 * rate for rate in others}


def test_points_are_those_of_the_maps(folder: Path) -> None:
    network = ToyNetwork()
    made = ClickTrainer(
        network,
        disk_maker(folder),
        replace(GPCIS.policy, steps=1, corrections=(0.0, 0.0, 1.0)),
        clicks=GPCIS.clicks,
    )
    batch = disk_maker(folder).make(0)
    made.learn(batch)
    assert len(network.clicks) == len(batch.truth)
    for clicks, truth in zip(network.clicks, batch.truth, strict=True):
        assert clicks
        assert truth[clicks[0].pixel(*truth.shape)]


def test_prompts_without_a_click_are_learnt_from_too(folder: Path) -> None:
    made = trainer(folder, steps=1, clicks=ClickPolicy(boxes=1.0), corrections=(1.0,))
    (now,) = made.run()
    assert math.isfinite(now.loss)


def test_it_goes_on_where_it_stopped_and_its_file_is_a_segmenter(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    whole, stopped, resumed = (trainer(folder) for _ in range(3))
    assert [now.step for now in whole.run()] == [1, 2]
    assert len(list(stopped.run(path, lambda: True))) == 1
    torch.manual_seed(7)  # what the GP layer draws is the training's, not the process's
    assert [now.step for now in resumed.run(path)] == [2]
    assert resumed.progress.loss == whole.progress.loss
    assert torch.equal(resumed.network.gp.weight_mean, whole.network.gp.weight_mean)
    plain = stopped.network
    plain.load_state_dict(torch.load(path, weights_only=True)["averaged"])
    save_gpcis(plain, tmp_path / "mine.safetensors")
    assert load_gpcis(tmp_path / "mine.safetensors").name == "gpcis-resnet50"


def test_recipes() -> None:
    assert find_recipe("gpcis-resnet50") is GPCIS
    assert find_recipe("clicknet-mis") is CLICKNET
    assert (GPCIS.clicks.boxes, GPCIS.clicks.strokes) == (0.0, 0.0)  # it sees neither
    assert GPCIS.policy.encoder_rate == pytest.approx(0.1 * GPCIS.policy.rate)
    adapted = slower(GPCIS.policy, 0.2)
    assert (adapted.rate, adapted.encoder_rate) == pytest.approx((1e-3, 1e-4))
    assert adapted.weight_decay == 0.0
