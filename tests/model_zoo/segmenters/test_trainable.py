from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model_zoo.errors import UnknownModel
from model_zoo.prompt import Click, Prompt
from model_zoo.registry import create_segmenter, list_models, open_segmenter
from model_zoo.segmenters import gpcis
from model_zoo.segmenters.clicknet import ClickNetSegmenter
from model_zoo.segmenters.clicknet_network import ClickNetShape, ClickNetwork
from model_zoo.segmenters.gpcis_network import GpcisNetwork
from model_zoo.segmenters.trainable import TRAINABLE, find_trainable

pytestmark = pytest.mark.unit
NETWORKS = {
    "clicknet": lambda: ClickNetwork(ClickNetShape(wide=16, middle=8, fine=8, finest=8, heads=2)),
    "gpcis-resnet50": lambda: GpcisNetwork("resnet10t"),
}


def test_what_can_be_trained_is_a_segmenter() -> None:
    assert set(TRAINABLE) <= {info.name for info in list_models(kind="segmenter")}
    assert find_trainable("clicknet").staged
    assert not find_trainable("gpcis-resnet50").staged


def test_others_cannot_be_trained() -> None:
    with pytest.raises(UnknownModel, match="those that can are clicknet, clicknet-mis, gpcis-resnet50"):
        find_trainable("gp-lite0")


@pytest.mark.parametrize("name", ["clicknet", "clicknet-mis"])
def test_trained_weights_look_as_closely_as_shipped_ones(name: str) -> None:
    trained = find_trainable(name).wrap(name, NETWORKS["clicknet"](), "digest", "cpu")
    shipped = create_segmenter(name)
    assert isinstance(trained, ClickNetSegmenter)
    assert isinstance(shipped, ClickNetSegmenter)
    assert trained.parameters == shipped.parameters


@pytest.mark.parametrize("name", NETWORKS)
def test_a_trained_file_runs_as_quickly_as_a_shipped_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpcis, "SIDE", 64)
    torch.manual_seed(0)
    network = NETWORKS[name]()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.8, 1.2)
    family, path = find_trainable(name), tmp_path / "mine.safetensors"
    family.save(network, path)
    slow = family.wrap(name, family.read(path), "digest", "cpu")
    quick = open_segmenter(f"{name}:{path}")
    folded, kept = (
        sum(isinstance(module, torch.nn.BatchNorm2d) for module in model._network.modules())
        for model in (quick, slow)
    )
    assert folded < 0.1 * kept, "batch norms are folded into convolutions"
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    one, two = (
        model.decode(model.encode(image), Prompt((Click(20, 30),))).state.probability
        for model in (slow, quick)
    )
    assert np.allclose(one, two, atol=5e-3), "but for the rounding of bfloat16, where the processor has it"
    assert one.std() > 1e-4
