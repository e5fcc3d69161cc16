"""When queries show classes, and what a pixel costs people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backend.learning.confirming import seconds_per_pixel, shows_classes
from backend.learning.labelled import TaskImage
from backend.settings import Settings
from backend.store import Version
from label_config import PixelLabel, TaskLabels, read_schema, render
from tests.backend.conftest import CLASSES, HEIGHT, WIDTH, answers
from tests.backend.learning.loop import Loop
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit
CONFIG = render("pixel", CLASSES)
WITHOUT = CONFIG[: CONFIG.index("  <Choices")] + CONFIG[CONFIG.index("  <Image") :]


def version(**metrics: Any) -> Version:
    return Version(1, 2, "v", "f", "probe", CLASSES, "digest", labels=40, metrics=metrics, created=0.0)


@pytest.mark.parametrize(
    ("config", "accuracy", "labels", "shown"),
    [
        (CONFIG, 0.85, 30, True),
        (CONFIG, 0.84, 300, False),
        (CONFIG, 1.0, 29, False),
        (CONFIG, None, 0, False),
        (WITHOUT, 1.0, 300, False),
    ],
)
def test_enough_held_out_labels_must_be_right_and_the_config_must_have_the_choice(
    make_settings: Callable[..., Settings], config: str, accuracy: float | None, labels: int, shown: bool
) -> None:
    target = read_schema(config).pixel_image
    assert target is not None
    live = version(held_out_accuracy=accuracy, held_out_labels=labels)
    assert shows_classes(live, target, make_settings()) is shown
    assert not shows_classes(live, target, make_settings(confirm_from=1.01))
    assert not shows_classes(None, target, make_settings())
    assert not shows_classes(version(held_out_labels=labels), target, make_settings()), "an older version"


def test_a_round_pushes_classes_while_the_version_is_right(
    fake: FakeLabelStudio, pixel_project: tuple[int, list[int]], make_settings: Callable[..., Settings]
) -> None:
    project, tasks = pixel_project
    loop = Loop(make_settings(holdout_percent=30, confirm_labels=5))
    loop.run(project)
    assert shown(fake, tasks[-1]) == {"?"}
    fake.annotate(tasks[0], answers(tasks[0], 40))
    outcome = loop.run(project)
    assert "queries show classes to confirm" in outcome.message
    assert "1.0 s" not in outcome.message
    assert f"{1 / 40:.1f} s of people a pixel" in outcome.message
    assert loop.store.overview.seconds_per_pixel(project) == pytest.approx(1 / 40, rel=0.05)
    live = loop.store.live_version(project)
    assert live is not None
    assert live.metrics["held_out_accuracy"] >= 0.85
    assert shown(fake, tasks[-1], live.name) <= set(CLASSES)
    loop.close()
    strict = Loop(make_settings(holdout_percent=30, confirm_labels=500))
    fake.annotate(tasks[1], answers(tasks[1], 10))
    strict.run(project)
    live = strict.store.live_version(project)
    assert live is not None
    assert shown(fake, tasks[-1], live.name) == {"?"}
    strict.close()


def shown(fake: FakeLabelStudio, task: int, name: str | None = None) -> set[str]:
    """Labels of the queries in a task's predictions; name: of one version."""
    found = [one for one in fake.predictions.values() if one["task"] == task]
    (last,) = [one for one in found if name in (None, one["model_version"])]
    return {
        label
        for region in last["result"]
        if region["from_name"] == "query"
        for label in region["value"]["keypointlabels"]
    }


def image(task: int, pixels: int, *, drawn: bool = False) -> TaskImage:
    labels = tuple(PixelLabel(0, col, "sky") for col in range(pixels))
    dense = np.zeros((HEIGHT, WIDTH), np.uint8) if drawn else None
    return TaskImage("u", TaskLabels(task, None, HEIGHT, WIDTH, labels, dense, ()))


def test_seconds_of_people_by_labelled_pixel() -> None:
    def task(number: int, *annotations: tuple[float | None, bool]) -> dict[str, Any]:
        made = [{"lead_time": seconds, "was_cancelled": cancelled} for seconds, cancelled in annotations]
        return {"id": number, "annotations": made}

    tasks = [
        task(1, (10.0, False)),
        task(2, (8.0, False), (6.0, False), (100.0, True)),
        task(3, (500.0, False)),
        task(4, (None, False)),
        task(5, (70.0, False)),
    ]
    images = [image(1, 5), image(2, 3), image(3, 4, drawn=True), image(4, 9), image(5, 0)]
    assert seconds_per_pixel(tasks, images) == pytest.approx(24 / 8)
    assert seconds_per_pixel([], images) is None
    assert seconds_per_pixel(tasks[3:], images) is None
