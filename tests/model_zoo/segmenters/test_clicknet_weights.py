from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from model_zoo.errors import UnknownModel, WeightsMissing
from model_zoo.prompt import Click, Prompt
from model_zoo.registry import create_segmenter, find_model, open_segmenter, public_name
from model_zoo.segmenters import clicknet_weights
from model_zoo.segmenters.clicknet_network import ClickNetShape, ClickNetwork
from model_zoo.segmenters.clicknet_weights import (
    new_clicknet,
    read_clicknet,
    save_clicknet,
)
from model_zoo.weights import locate

pytestmark = pytest.mark.unit
SMALL = ClickNetShape(wide=16, middle=16, fine=8, finest=8, attention_blocks=1, heads=2)


@pytest.fixture(scope="module")
def network() -> ClickNetwork:
    return ClickNetwork(SMALL).eval()


@pytest.fixture
def file(tmp_path: Path, network: ClickNetwork) -> Path:
    path = tmp_path / "deep" / "mine.safetensors"
    save_clicknet(network, path)
    return path


def test_a_saved_network_comes_back_in_half_precision(file: Path, network: ClickNetwork) -> None:
    read = read_clicknet(file).eval()
    assert read.shape == SMALL
    theirs = read.state_dict()
    for name, tensor in network.state_dict().items():
        wanted = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(theirs[name], wanted), name
    assert all(tensor.dtype == torch.float16 for tensor in load_file(file).values())
    images, maps = torch.rand(1, 3, 64, 64), torch.zeros(1, 4, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(read(images, maps).fine, network(images, maps).fine, atol=0.05)


def test_a_network_that_was_read_can_be_trained(file: Path) -> None:
    read = read_clicknet(file).train()
    logits = read(torch.rand(2, 3, 64, 64), torch.zeros(2, 4, 64, 64))
    logits.fine.sum().backward()
    assert read.decoder.from_s4.weight.grad is not None
    assert all(parameter.grad is None for parameter in read.encoder.parameters())


def test_junk_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "junk.safetensors"
    with pytest.raises(WeightsMissing, match="is no clicknet weight file"):
        read_clicknet(path)
    path.write_bytes(b"junk")
    with pytest.raises(WeightsMissing, match="is no clicknet weight file"):
        read_clicknet(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(WeightsMissing, match="is no clicknet weight file"):
        read_clicknet(path)


def test_tensors_of_another_release_are_counted(file: Path) -> None:
    tensors = load_file(file)
    name, tensor = tensors.popitem()
    tensors["new"] = tensor
    save_file(tensors, file, metadata={"shape": json.dumps(asdict(SMALL))})
    with pytest.raises(WeightsMissing, match="lacks 1 tensors and has 1 unknown ones") as raised:
        read_clicknet(file)
    assert name in str(raised.value)


@pytest.mark.parametrize(
    "shape",
    [
        {"wide": 32},
        {"unknown": 1},
        {"wide": "wide"},
        {"encoder": "no-such-encoder"},
        {"encoder": 7},
        {"encoder": "vit_tiny_patch16_224"},
    ],
)
def test_tensors_that_do_not_fit_the_shape_are_refused(file: Path, shape: dict[str, object]) -> None:
    save_file(load_file(file), file, metadata={"shape": json.dumps({**asdict(SMALL), **shape})})
    with pytest.raises(WeightsMissing, match="belongs to another release"):
        read_clicknet(file)


def test_encoders_that_timm_has_not_are_never_built(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clicknet_weights, "ClickNetwork", lambda *_: pytest.fail("timm would ask its hub"))
    shape = {**asdict(SMALL), "encoder": "hf-hub:somebody/something"}
    save_file(load_file(file), file, metadata={"shape": json.dumps(shape)})
    with pytest.raises(
        WeightsMissing, match="is for the network 'hf-hub:somebody/something', expected one that"
    ):
        read_clicknet(file)


def test_a_segmenter_with_the_weights_of_a_file(file: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    plain = open_segmenter(f"clicknet:{file}")
    assert plain.name == "clicknet:mine.safetensors"
    mask = plain.decode(plain.encode(image), Prompt((Click(20, 30),)))
    assert mask.logits.shape == (48, 64)
    headed = open_segmenter(f"clicknet:{file}+gp")
    assert headed.name.endswith("+gp")
    assert headed.decode(headed.encode(image), Prompt((Click(20, 30),))).logits[20, 30] > 0
    before = plain.fingerprint
    save_clicknet(ClickNetwork(SMALL), file)
    assert open_segmenter(f"clicknet:{file}").fingerprint != before


def test_files_are_opened_only_where_they_are_asked_for(file: Path) -> None:
    with pytest.raises(UnknownModel, match="is not known"):
        create_segmenter(f"clicknet:{file}")
    assert find_model(f"clicknet:{file}", "segmenter") is None
    assert open_segmenter("grabcut").name == "grabcut"
    with pytest.raises(UnknownModel, match="'grabcut' cannot be trained here; those that can are clicknet"):
        open_segmenter(f"grabcut:{file}")
    with pytest.raises(WeightsMissing, match="is no clicknet weight file"):
        open_segmenter(f"clicknet:{file}.not")


def test_others_do_not_see_the_folder() -> None:
    assert public_name("clicknet:/home/me/mine.safetensors+gp") == "clicknet:mine.safetensors+gp"
    assert public_name("clicknet+gp") == "clicknet+gp"


@pytest.mark.weights
def test_an_untrained_network_has_the_published_encoder_and_its_seed() -> None:
    from model_zoo.encoders import LITE0

    try:
        locate(LITE0)
    except WeightsMissing as missing:
        pytest.skip(str(missing))
    state = torch.random.get_rng_state()
    one, two, other = new_clicknet(seed=1), new_clicknet(seed=1), new_clicknet(seed=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(one.decoder.from_s4.weight, two.decoder.from_s4.weight)
    assert not torch.equal(one.decoder.from_s4.weight, other.decoder.from_s4.weight)
    assert torch.equal(one.encoder.conv_stem.weight, other.encoder.conv_stem.weight)
    assert one.encoder.bn1.running_var.std() > 0.01  # published statistics, not ones
