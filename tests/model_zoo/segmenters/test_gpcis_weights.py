"""First weights of GPCIS and its files, on a small trunk."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from model_zoo.errors import WeightsMissing
from model_zoo.prompt import Click, Prompt
from model_zoo.registry import find_model, open_segmenter
from model_zoo.segmenters import gpcis, gpcis_weights
from model_zoo.segmenters.gpcis import load_gpcis
from model_zoo.segmenters.gpcis_network import GpcisNetwork
from model_zoo.segmenters.gpcis_weights import new_gpcis, published_trunk, read_gpcis, save_gpcis
from model_zoo.weights import locate

pytestmark = pytest.mark.unit
TRUNK = "resnet10t"


@pytest.fixture(autouse=True)
def nothing_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)


def same(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    theirs = two.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


def test_a_seed_makes_the_first_weights_and_leaves_the_generator_alone() -> None:
    state = torch.random.get_rng_state()
    one, two, other = (new_gpcis(seed, TRUNK) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert same(one, two)
    assert not torch.equal(one.gp.weight_mean, other.gp.weight_mean)


def test_a_trunk_that_is_on_this_disk_is_where_training_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trunk = GpcisNetwork(TRUNK).encoder.trunk
    path = tmp_path / "model.safetensors"
    state = {name: t for name, t in trunk.state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file({**state, "fc.bias": torch.zeros(1000)}, path)
    asked: list[tuple[str, str]] = []

    def cached(*names: str) -> str:
        asked.append((names[0], names[1]))
        return str(path)

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    assert published_trunk(TRUNK) == path
    assert asked[0] == ("timm/resnet10t.c3_in1k", "model.safetensors")
    assert same(new_gpcis(5, TRUNK).encoder.trunk, trunk)
    save_file({"fc.bias": torch.zeros(1000)}, path)
    with pytest.raises(WeightsMissing, match=r"lacks \d+ tensors of this trunk"):
        new_gpcis(5, TRUNK)
    path.write_bytes(b"junk")
    with pytest.raises(WeightsMissing, match="is no weight file of this trunk"):
        new_gpcis(5, TRUNK)


def test_what_is_saved_is_loaded_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpcis, "SIDE", 64)
    network, path = (
        new_gpcis(3, TRUNK).to(memory_format=torch.channels_last),
        tmp_path / "new" / "mine.safetensors",
    )
    save_gpcis(network, path)
    assert same(read_gpcis(path), network)
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    one, two = load_gpcis(path), open_segmenter(f"gpcis-resnet50:{path}")
    assert (one.name, two.name) == ("gpcis-resnet50", "gpcis-resnet50:mine.safetensors")
    masks = [model.decode(model.encode(image), Prompt((Click(20, 30),))) for model in (one, two)]
    assert np.allclose(*(mask.state.probability for mask in masks), atol=1e-3)
    assert masks[0].logits[20, 30] > 0


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    with pytest.raises(WeightsMissing, match="not found"):
        read_gpcis(path)
    save_file({"a": torch.zeros(1)}, path, metadata={"trunk": TRUNK})
    with pytest.raises(WeightsMissing, match="does not hold the weights of gpcis-resnet50"):
        read_gpcis(path)
    assert "train-clicks --segmenter gpcis-resnet50" in gpcis_weights.ADVICE


@pytest.mark.parametrize("trunk", ["no-such-trunk", "hf-hub:somebody/something", ""])
def test_trunks_that_timm_has_not_are_never_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trunk: str
) -> None:
    monkeypatch.setattr(gpcis_weights, "GpcisNetwork", lambda *_: pytest.fail("timm would ask its hub"))
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"trunk": trunk})
    with pytest.raises(WeightsMissing, match=rf"is for the network '{trunk}', expected one that timm"):
        read_gpcis(path)


@pytest.mark.parametrize("trunk", ["vit_tiny_patch16_224", "tf_efficientnet_lite0", "resnet10t.no_such_tag"])
def test_other_networks_of_timm_are_no_trunk(tmp_path: Path, trunk: str) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"trunk": trunk})
    with pytest.raises(WeightsMissing, match="does not hold the weights of gpcis-resnet50"):
        read_gpcis(path)


@pytest.mark.parametrize("kept", [0, 4, 9, 200, -1000])
def test_truncated_files_are_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "mine.safetensors"
    save_gpcis(new_gpcis(3, TRUNK), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsMissing, match="does not hold the weights of gpcis-resnet50"):
        read_gpcis(path)


def test_the_model_is_listed_as_one_whose_weights_are_to_be_trained() -> None:
    info = find_model("gpcis-resnet50", "segmenter")
    assert info is not None
    (spec,) = info.weights
    with pytest.raises(WeightsMissing, match="not found"):
        locate(spec)
    assert "clickpick train-clicks --segmenter gpcis-resnet50" in spec.advice
    assert "gpcis-resnet50:FILE" in spec.advice
