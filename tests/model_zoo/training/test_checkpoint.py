from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from model_zoo.errors import BadInput
from model_zoo.training import checkpoint
from model_zoo.training.checkpoint import check_settings, load_checkpoint, save_checkpoint

pytestmark = pytest.mark.unit


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "checkpoint.pt"
    save_checkpoint(
        path, {"step": 3, "weights": {"a": torch.arange(3)}, "settings": {"name": "x", "n": None}}
    )
    state = load_checkpoint(path)
    assert state["step"] == 3
    assert torch.equal(state["weights"]["a"], torch.arange(3))
    assert state["settings"] == {"name": "x", "n": None}
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.pt"]


def test_a_write_that_fails_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1})

    def full_disk(_: object, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(checkpoint.torch, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path)["step"] == 1


def test_junk_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(BadInput, match="delete it to start afresh"):
        load_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(BadInput, match="holds no training state"):
        load_checkpoint(path)


def test_nothing_but_tensors_and_plain_values_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"path": Path("x")}, path)
    with pytest.raises(BadInput, match="cannot be read"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps({"step": print}, protocol=2))
    with pytest.raises(BadInput, match="cannot be read"):
        load_checkpoint(path)


def test_other_settings_are_named(tmp_path: Path) -> None:
    check_settings(tmp_path, {"seed": 1, "steps": None}, {"seed": 1, "steps": None})
    with pytest.raises(BadInput, match=r"seed was 1 and is 2; side was None and is 64; run the earlier"):
        check_settings(tmp_path, {"seed": 1}, {"seed": 2, "side": 64})
