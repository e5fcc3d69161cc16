"""The next click as a hint: only for clicks, only where the project has a control for it, once a computation."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from backend import segmenting
from backend.app import create_app
from backend.images import UprightImage
from backend.segmenting import Segmenting
from backend.service import Service
from backend.settings import Settings
from label_config import ProjectSchema, read_masks, read_prompt, read_schema, render
from label_config.percent import to_index
from model_zoo.prompt import Click, Prompt
from model_zoo.segmenters.base import Mask
from tests.backend.conftest import CLASSES, HEIGHT, WIDTH, jpeg
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit

PLAIN = read_schema(render("click", CLASSES))
HINTED = read_schema(render("click", CLASSES, hints=True))
NO_LABEL = read_schema(re.sub('<Label value="next.*', "", render("click", CLASSES, hints=True)))
TASK = {"id": 5, "data": {"image": "photo.jpg"}}


class Photographs:
    def get(self, _url: str, _task: int | None) -> UprightImage:
        return UprightImage(np.zeros((HEIGHT, WIDTH, 3), np.uint8), "digest")


class Halves:
    """A decoder whose object is always the upper half, whatever is clicked; ``gate`` holds its answers back."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.calls = 0

    def decode(self, _name: str, _image: UprightImage, _prompt: Prompt) -> Mask:
        self.calls += 1
        self.gate.wait(20)
        logits = np.full((HEIGHT, WIDTH), -3.0, np.float32)
        logits[: HEIGHT // 2] = 3.0
        return Mask(logits, 0.75, uncertainty=np.zeros((HEIGHT, WIDTH), np.float32), state="state")


class ModelThread:
    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1, "model")

    def run(self, function: Callable[[], Any], *_: object) -> Any:
        return self.pool.submit(function).result()


class Suggester:
    """In place of ``suggest_click``; keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Click | None = Click(30.2, 40.9)
        self.asked: list[tuple[Mask, Prompt, str]] = []

    def __call__(self, mask: Mask, prompt: Prompt) -> Click | None:
        self.asked.append((mask, prompt, threading.current_thread().name))
        return self.answer


@pytest.fixture
def suggester(monkeypatch: pytest.MonkeyPatch) -> Suggester:
    made = Suggester()
    monkeypatch.setattr(segmenting, "suggest_click", made)
    return made


@pytest.fixture
def halves() -> Halves:
    return Halves()


@pytest.fixture
def segment(settings: Settings, halves: Halves) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """The regions that answer prompts of a project."""
    thread = ModelThread()
    made = Segmenting(settings, Photographs(), halves, thread)  # type: ignore[arg-type]

    def answer(schema: ProjectSchema, *regions: dict[str, Any]) -> list[dict[str, Any]]:
        request = read_prompt(schema, {"result": list(regions)})
        assert request is not None
        result: list[dict[str, Any]] = made.segment(schema, TASK, request)["result"]
        return result

    yield answer
    thread.pool.shutdown()


def click(row: float, col: float, positive: bool = True, **more: Any) -> dict[str, Any]:
    value = {"x": col / WIDTH * 100, "y": row / HEIGHT * 100, "width": 0.2, "keypointlabels": ["sky"]}
    return {
        "id": f"c{row}-{col}", "type": "keypointlabels", "from_name": "click", "to_name": "image",
        "is_positive": positive, "value": value, **more,
    }  # fmt: skip


def box() -> dict[str, Any]:
    value = {"x": 10, "y": 10, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["sky"]}
    return {"id": "b", "type": "rectanglelabels", "from_name": "box", "to_name": "image", "value": value}


def place(hint: dict[str, Any]) -> tuple[int, int]:
    """(row, col) of the pixel that a hint marks."""
    return to_index(hint["value"]["y"], HEIGHT), to_index(hint["value"]["x"], WIDTH)


def test_a_click_is_answered_by_its_mask_and_then_the_hint(segment: Any, suggester: Suggester) -> None:
    mask, hint = segment(HINTED, click(8, 30))
    assert (mask["from_name"], hint["from_name"]) == ("mask", "hint")
    assert place(hint) == (30, 40)
    assert hint["id"] == mask["id"] + "-hint"


def test_the_hint_is_asked_of_the_repaired_mask_on_the_model_thread(
    segment: Any, suggester: Suggester
) -> None:
    segment(HINTED, click(12, 32), click(36, 32))
    ((mask, prompt, thread),) = suggester.asked
    assert mask.logits[36, 32] > 0, "the decoder had contradicted this click"
    assert (mask.score, mask.state) == (0.75, "state")
    assert mask.uncertainty is not None
    assert prompt.clicks == (Click(12, 32), Click(36, 32))
    assert thread.startswith("model")


def test_refining_an_object_replaces_its_hint(segment: Any, suggester: Suggester) -> None:
    _, first = segment(HINTED, click(8, 30))
    suggester.answer = Click(2.5, 3.5)
    _, second = segment(HINTED, click(8, 30), click(40, 30, positive=False))
    assert (place(first), place(second)) == ((30, 40), (2, 3))
    assert first["id"] == second["id"]
    _, other = segment(HINTED, click(20, 20))
    assert other["id"] != first["id"]


def test_an_image_on_a_page_has_its_hint_there(segment: Any, suggester: Suggester) -> None:
    config = render("click", CLASSES, hints=True).replace('value="$image"', 'valueList="$image"')
    (_, hint) = segment(read_schema(config), click(8, 30, item_index=0))
    assert hint["item_index"] == 0


def test_nothing_to_suggest_leaves_the_mask_alone(segment: Any, suggester: Suggester) -> None:
    suggester.answer = None
    assert [region["from_name"] for region in segment(HINTED, click(8, 30))] == ["mask"]
    assert len(suggester.asked) == 1


@pytest.mark.parametrize(
    ("schema", "regions"),
    [
        (PLAIN, [click(8, 30)]),
        (HINTED, [box()]),
        (NO_LABEL, [click(8, 30)]),
    ],
    ids=["no control", "no click", "no label"],
)
def test_hints_are_not_computed_where_nobody_sees_them(
    segment: Any, suggester: Suggester, schema: ProjectSchema, regions: list[dict[str, Any]]
) -> None:
    assert [region["from_name"] for region in segment(schema, *regions)] == ["mask"]
    assert suggester.asked == []


def test_equal_clicks_share_a_computation_but_never_with_a_project_without_hints(
    segment: Any, suggester: Suggester, halves: Halves
) -> None:
    halves.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        flights = [pool.submit(segment, schema, click(8, 30)) for schema in (HINTED, HINTED, PLAIN, PLAIN)]
        threading.Timer(0.3, halves.gate.set).start()
        answers = [flight.result() for flight in flights]
    assert [len(answer) for answer in answers] == [2, 2, 1, 1]
    assert halves.calls == 2
    assert len(suggester.asked) == 1


def test_a_click_in_a_project_with_hints_over_http(settings: Settings, fake: FakeLabelStudio) -> None:
    config = render("both", CLASSES, hints=True)
    project = fake.add_project(config)
    task = fake.upload(project, "photo.jpg", jpeg(1))
    app = create_app(settings.model_copy(update={"segmenter": "grabcut"}))
    service: Service = app.extensions["clickpick"]
    service.engine.start_training = lambda: None  # type: ignore[method-assign]
    body = {
        "tasks": [fake.task_json(task)], "project": f"{project}.1", "label_config": config,
        "params": {"context": {"result": [click(8, 30)]}},
    }  # fmt: skip
    try:
        regions = app.test_client().post("/predict", json=body).json["results"][0]["result"]
    finally:
        service.stop()
    (mask,) = read_masks(read_schema(config).images[0], regions)
    assert mask.mask[8, 30]
    hints = [region for region in regions if region["from_name"] == "hint"]
    assert len(hints) <= 1  # there may be nothing to suggest
    assert all(place(hint) != (8, 30) for hint in hints)
