from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from model_zoo.errors import BadInput
from model_zoo.learners.state import DESCRIPTION, TENSORS, Description, read_state, write_state

pytestmark = pytest.mark.unit


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    tensors = {"weight": torch.arange(6.0).reshape(2, 3).T}
    write_state(tmp_path, Description("probe", "features-1", ("Straße", "sky")), tensors)
    return tmp_path


def test_what_is_written_is_read(saved: Path) -> None:
    classes, tensors = read_state(saved, "probe", "features-1")
    assert classes == ("Straße", "sky")
    assert torch.equal(tensors["weight"], torch.arange(6.0).reshape(2, 3).T)


def test_only_safetensors_and_json(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == [TENSORS, DESCRIPTION]
    assert json.loads((saved / DESCRIPTION).read_text(encoding="utf-8"))["format"] == 1


@pytest.mark.parametrize(
    ("learner", "features", "message"),
    [
        ("another", "features-1", "learner 'probe'; expected 'another'"),
        ("probe", "features-2", "features 'features-1'; expected 'features-2'"),
    ],
)
def test_a_state_of_something_else_is_refused(saved: Path, learner: str, features: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read_state(saved, learner, features)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("format", 2, "format 2; expected 1"), ("classes", "sky", "has classes 'sky'")],
)
def test_a_description_of_another_form_is_refused(
    saved: Path, field: str, value: object, message: str
) -> None:
    path = saved / DESCRIPTION
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), field: value}))
    with pytest.raises(BadInput, match=message):
        read_state(saved, "probe", "features-1")


@pytest.mark.parametrize("file", [TENSORS, DESCRIPTION])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"\xff\x00 not it"])
def test_damaged_files_are_refused(saved: Path, file: str, content: bytes | None) -> None:
    if content is None:
        (saved / file).unlink()
    else:
        (saved / file).write_bytes(content)
    with pytest.raises(BadInput, match=file):
        read_state(saved, "probe", "features-1")
