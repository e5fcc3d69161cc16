"""``clickpick merge``: lists first, changes when told to, and puts back what it has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from backend.cli import app
from backend.errors import ConfigProblem
from backend.settings import Settings
from backend.studio import Studio
from label_config import mask_regions, read_masks, read_schema, render
from tests.backend.conftest import CLASSES, HEIGHT, WIDTH, answer, jpeg
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit

CONFIG = render("both", CLASSES)
(IMAGE,) = read_schema(CONFIG).images
Run = Callable[..., Result]


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("LABEL_STUDIO_URL", settings.label_studio_url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", settings.token)
    monkeypatch.setenv("CLICKPICK_DATA", str(settings.data))
    return lambda project, *words: CliRunner().invoke(app, ["merge", "--project", str(project), *words])


def drawn(*places: tuple[int, int, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for number, (row, col, label) in enumerate(places):
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[row : row + 8, col : col + 8] = True
        (region,) = mask_regions(mask, IMAGE, label, region_id=f"m{number}")
        found.append({**region, "origin": "manual"})
    return found


@pytest.fixture
def project(fake: FakeLabelStudio) -> tuple[int, dict[str, int]]:
    """Annotations: in parts, in one piece, of another who drew in parts, and a cancelled one."""
    number = fake.add_project(CONFIG)
    first, second = (fake.upload(number, f"{n}.jpg", jpeg(n)) for n in range(2))
    parts = drawn((2, 2, "sky"), (2, 40, "sky"), (30, 30, "grass"))
    return number, {
        "parts": fake.annotate(first, [*parts, answer(1, 1, "sky")]),
        "other": fake.annotate(first, drawn((2, 2, "grass"), (20, 2, "grass")), user=2),
        "whole": fake.annotate(second, drawn((2, 2, "sky"))),
        "cancelled": fake.annotate(second, parts, user=3, cancelled=True),
    }


def results(fake: FakeLabelStudio) -> dict[int, list[dict[str, Any]]]:
    return {number: list(annotation["result"]) for number, annotation in fake.annotations.items()}


def test_without_apply_nothing_changes(
    run: Run, fake: FakeLabelStudio, project: tuple[int, dict[str, int]], settings: Settings
) -> None:
    number, annotations = project
    before = results(fake)
    done = run(number)
    assert done.exit_code == 0, done.output
    assert f"annotation {annotations['parts']}: sky 2 -> 1\n" in done.output
    assert f"annotation {annotations['other']}: grass 2 -> 1" in done.output
    assert "2 annotations have regions to merge; with --apply" in done.output
    assert results(fake) == before
    assert not [call for call in fake.calls if call.method == "PATCH"]
    assert not list(settings.data.glob("merged/*"))


def test_apply_changes_what_was_listed_and_undo_puts_it_back(
    run: Run, fake: FakeLabelStudio, project: tuple[int, dict[str, int]], settings: Settings
) -> None:
    number, annotations = project
    before = results(fake)
    assert "2 annotations merged" in run(number, "--apply").output
    sky, grass = read_masks(IMAGE, fake.annotations[annotations["parts"]]["result"])
    assert (sky.mask.sum(), sky.label, grass.mask.sum()) == (128, "sky", 64)
    assert answer(1, 1, "sky") in fake.annotations[annotations["parts"]]["result"]
    after = results(fake)
    assert all(after[annotations[name]] == before[annotations[name]] for name in ("whole", "cancelled"))
    assert fake.annotations[annotations["other"]]["completed_by"] == 2
    assert "nothing to merge" in run(number, "--apply").output

    (path,) = settings.data.glob("merged/*.jsonl")
    assert "2 of 2 annotations are as they were" in run(number, "--undo", str(path)).output
    assert results(fake) == before


def test_only_the_labels_that_are_asked_for(
    run: Run, fake: FakeLabelStudio, project: tuple[int, dict[str, int]]
) -> None:
    number, annotations = project
    before = results(fake)
    assert "1 annotations merged" in run(number, "--apply", "--label", "grass").output
    assert results(fake)[annotations["parts"]] == before[annotations["parts"]]


def test_what_somebody_changes_meanwhile_is_theirs(
    run: Run, fake: FakeLabelStudio, project: tuple[int, dict[str, int]], settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    number, annotations = project
    read = Studio.annotation

    def late(self: Studio, annotation: int) -> dict[str, Any]:
        if annotation == annotations["parts"]:
            fake.annotations[annotation]["updated_at"] = "2100-01-01T00:00:00Z"
        return read(self, annotation)

    with monkeypatch.context() as patch:
        patch.setattr(Studio, "annotation", late)
        done = run(number, "--apply")
    assert "1 annotations merged, 1 left" in done.output
    assert len(fake.annotations[annotations["parts"]]["result"]) == 4
    fake.annotations[annotations["other"]] |= {"updated_at": "2100-01-01T00:00:00Z", "result": []}
    (path,) = settings.data.glob("merged/*.jsonl")
    assert "0 of 1 annotations are as they were" in run(number, "--undo", str(path)).output
    assert fake.annotations[annotations["other"]]["result"] == []


def test_what_cannot_be_is_said(
    run: Run, fake: FakeLabelStudio, project: tuple[int, dict[str, int]], tmp_path: Path
) -> None:
    number, _ = project
    unknown = run(number, "--label", "horse")
    assert isinstance(unknown.exception, ConfigProblem)
    assert "no mask label 'horse'; expected one of: grass, sky" in str(unknown.exception)
    nothing = run(fake.add_project('<View><Image name="image" value="$image"/></View>'))
    assert isinstance(nothing.exception, ConfigProblem)
    (tmp_path / "x.jsonl").write_text("nothing of the kind\n")
    assert run(number, "--undo", str(tmp_path / "x.jsonl")).exit_code == 2
    (tmp_path / "y.jsonl").write_text('{"project": 99, "id": 1, "before": []}\n')
    other = run(number, "--undo", str(tmp_path / "y.jsonl"))
    assert "expected --project 99" in other.output.replace("\n", " ")
