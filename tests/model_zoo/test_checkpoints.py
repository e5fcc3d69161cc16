"""Published files of every layout, and files that are something else."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from model_zoo.checkpoints import read_checkpoint
from model_zoo.errors import WeightsMissing

pytestmark = pytest.mark.unit
STATE = {"b.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2, dtype=torch.float16)}
CONFIG = {
    "class": "isegm.model.is_hrnet_model.HRNetModel",
    "params": {
        "width": {"type": "builtin", "value": 18, "specified": True},
        "norm_layer": {
            "type": "class",
            "value": "torch.nn.modules.batchnorm.BatchNorm2d",
            "specified": False,
        },
        "size": {"type": "builtin", "value": [448, 448], "specified": True},
        "rate": {"type": "builtin", "value": 0.1, "specified": True},
        "nothing": {"type": "builtin", "value": None, "specified": False},
    },
}


def assert_same(got: dict[str, torch.Tensor], expected: dict[str, torch.Tensor] = STATE) -> None:
    assert set(got) == set(expected)
    for name, tensor in expected.items():
        assert got[name].dtype == tensor.dtype
        assert torch.equal(got[name], tensor)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("content", "config"),
    [
        ({"state_dict": STATE, "config": CONFIG}, CONFIG),
        ({"state_dict": STATE}, {}),
        (STATE, {}),
        ({"model": STATE}, {}),
        ({**STATE, "epoch": 3}, {}),
        ({"model": "vit_t", **STATE}, {}),
    ],
    ids=["ritm", "no config", "bare", "sam2", "number beside", "text called model"],
)
def test_layouts(tmp_path: Path, content: Any, config: dict[str, Any], legacy: bool) -> None:
    path = tmp_path / "model.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    tensors, found = read_checkpoint(path)
    assert_same(tensors)
    assert found == config


def test_parameters_lose_their_gradients(tmp_path: Path) -> None:
    torch.save({"w": nn.Parameter(torch.ones(2))}, tmp_path / "model.pt")
    tensors, _ = read_checkpoint(tmp_path / "model.pt")
    assert type(tensors["w"]) is torch.Tensor
    assert not tensors["w"].requires_grad


def test_safetensors_whatever_the_name(tmp_path: Path) -> None:
    path = tmp_path / "download (1).bin"
    save_file(STATE, path, {"format": "pt"})
    tensors, config = read_checkpoint(path)
    assert_same(tensors)
    assert config == {"format": "pt"}


@pytest.fixture
def simpleclick_loss(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """A module with a function as attribute, under the name that SimpleClick's loss has."""
    name = "isegm.model.modeling.transformer_helper.cross_entropy_loss"
    module = ModuleType(name)
    exec(  # the classes must live in that module to be pickled by its name
        "from torch import nn\n"
        "def cross_entropy(pred, label): return 0\n"
        "class CrossEntropyLoss(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.reduction, self.loss_weight, self.class_weight = 'mean', 1.0, None\n"
        "        self.cls_criterion = cross_entropy\n",
        vars(module),
    )
    for end in range(1, name.count(".") + 1):
        package = ".".join(name.split(".")[:end])
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
    monkeypatch.setitem(sys.modules, name, module)
    loss: nn.Module = module.CrossEntropyLoss()
    return loss


def test_simpleclicks_pickled_loss_is_dropped_and_nothing_imported(
    tmp_path: Path, simpleclick_loss: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = {"in_channels": [128, 256], "loss_decode": simpleclick_loss, "upsample": "x1"}
    config = {"class": "C", "params": {"head_params": {"type": "builtin", "value": head, "specified": True}}}
    path = tmp_path / "cocolvis_vit_base.pth"
    torch.save({"state_dict": STATE, "config": config}, path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "isegm"]:
        monkeypatch.delitem(sys.modules, name)
    before = torch.serialization.get_safe_globals()
    tensors, found = read_checkpoint(path)
    assert_same(tensors)
    assert found["params"]["head_params"]["value"] == {"in_channels": [128, 256], "upsample": "x1"}
    assert not [name for name in sys.modules if name.partition(".")[0] == "isegm"]
    assert torch.serialization.get_safe_globals() == before, "nothing stays allowed"


class Evil:
    """Pickled as a call; ``function`` is what it would call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("place", ["config", "state", "top"])
def test_a_pickle_that_would_run_a_command_is_refused(tmp_path: Path, place: str, legacy: bool) -> None:
    proof = tmp_path / "proof"
    evil = Evil(os.system, f"touch {proof}")
    content: Any = {
        "config": {"state_dict": STATE, "config": {"loss": evil}},
        "state": {"state_dict": {**STATE, "x": evil}},
        "top": evil,
    }[place]
    path = tmp_path / "evil.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(
        WeightsMissing, match=r"would run code to be read \((posix|nt)\.system\), which is ref"
    ):
        read_checkpoint(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    "evil",
    [
        Evil(eval, "__import__('pathlib').Path('proof').touch()"),
        Evil(exec, "open('proof', 'w')"),
        Evil(getattr, Path, "touch"),
        Evil(Path, "proof"),
        Evil(pickle.loads, pickle.dumps(1)),
    ],
    ids=["eval", "exec", "getattr", "Path", "loads"],
)
def test_other_calls_are_refused_too(tmp_path: Path, evil: Evil, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": STATE, "config": {"x": evil}}, "evil.pth")
    with pytest.raises(WeightsMissing, match="refused"):
        read_checkpoint(tmp_path / "evil.pth")
    assert not (tmp_path / "proof").exists()


def test_a_plain_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Evil(os.system, f"touch {tmp_path / 'proof'}")))
    with pytest.raises(WeightsMissing):
        read_checkpoint(tmp_path / "evil.pkl")
    assert not (tmp_path / "proof").exists()


def test_the_packages_name_must_begin_with_isegm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("isegmentation")
    exec("class Loss: pass", vars(module))
    module.Loss.__module__ = "isegmentation"
    monkeypatch.setitem(sys.modules, "isegmentation", module)
    torch.save({"state_dict": STATE, "config": module.Loss()}, tmp_path / "other.pth")
    with pytest.raises(WeightsMissing, match=r"isegmentation\.Loss"):
        read_checkpoint(tmp_path / "other.pth")


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.3, 0.9])
def test_a_truncated_checkpoint_is_a_clear_error(tmp_path: Path, legacy: bool, kept: float) -> None:
    path = tmp_path / "model.pth"
    big = {f"layer{n}.weight": torch.ones(100, 100) for n in range(20)}
    torch.save({"state_dict": big, "config": CONFIG}, path, _use_new_zipfile_serialization=not legacy)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(WeightsMissing, match=r"download it again$"):
        read_checkpoint(path)


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_truncated_safetensors_are_a_clear_error(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "model.safetensors"
    save_file({f"layer{n}.weight": torch.ones(100, 100) for n in range(20)}, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(WeightsMissing, match=r"download it again$"):
        read_checkpoint(path)


def test_a_web_page_says_why_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "cocolvis_vit_base.pth"
    page = "\n<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head></html>"
    path.write_text(page, encoding="utf-8")
    with pytest.raises(WeightsMissing, match=r"web page.*Google Drive.*open the link in a browser"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"GIF89a" + b"\0" * 600, "is no checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"PK\x03\x04" + b"\0" * 2000, "cannot be read"),
        (b"\x80\x02" + b"\xff" * 200, "cannot be read"),
        (b"\xff" * 8 + b"{" + b" " * 600, "cannot be read"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsMissing, match=words):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"optimizer": {"lr": 1}, "epoch": 3}, "its keys are 'optimizer', 'epoch'"),
        ({}, "its keys are nothing"),
        ([{"state_dict": STATE}, {"state_dict": STATE}], "a list of 2 models"),
        (torch.ones(3), "holds a Tensor"),
        ({"state_dict": {"a": 1}}, "holds no tensors by name"),
    ],
)
def test_unknown_layouts_say_what_was_found(tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "model.pth"
    torch.save(content, path)
    with pytest.raises(WeightsMissing, match=words):
        read_checkpoint(path)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(WeightsMissing, match="give the path of the downloaded file"):
            read_checkpoint(path)


def test_a_deep_configuration_ends_somewhere(tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    torch.save({"state_dict": STATE, "config": {"deep": deep, "flat": 2}}, tmp_path / "model.pth")
    _, config = read_checkpoint(tmp_path / "model.pth")
    assert config["flat"] == 2
