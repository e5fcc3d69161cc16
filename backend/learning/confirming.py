"""Confirm mode: queries show the class that the live version expects, as long as it is right often enough.

A right class then costs one key, a wrong one two, as every query does otherwise. How the answers are read back is in
`label_config.labels`: Label Studio tells nothing of what an annotator only looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from backend.learning.labelled import TaskImage
from backend.settings import Settings
from backend.store import Version
from label_config import ImageSchema


def shows_classes(live: Version | None, target: ImageSchema, settings: Settings) -> bool:
    """Whether a version's queries show classes: its share of right held-out labels allows it, and so does the config.

    Without the choice "the rest is right" in the config, what is right could not be told from what nobody looked at.
    """
    if live is None or target.rest is None:
        return False
    accuracy, labels = (live.metrics.get(f"held_out_{what}") for what in ("accuracy", "labels"))
    if accuracy is None or not labels:  # nothing is held out, or the version is older than the measure
        return False
    return bool(labels >= settings.confirm_labels and accuracy >= settings.confirm_from)


def people_seconds(task: Mapping[str, Any]) -> float | None:
    """Time that people had an exported task open; None where Label Studio does not tell it of each annotation.

    It is Label Studio's ``lead_time``, of all annotations that are not cancelled, so that a pixel that two people
    answered costs the time of both.
    """
    annotations = task.get("annotations") or ()
    times = [float(one.get("lead_time") or 0.0) for one in annotations if not one.get("was_cancelled")]
    return sum(times) if all(times) else None


def seconds_per_pixel(seconds: Mapping[int, float], images: Iterable[TaskImage]) -> float | None:
    """Time of people by labelled pixel, of tasks without masks; None where there is none.

    seconds: what `people_seconds` says of each task, where it says something.
    """
    pixels: Counter[int] = Counter()
    drawn: set[int] = set()
    for image in images:
        pixels[image.labels.task_id] += len(image.labels.pixels)
        if image.labels.dense is not None:
            drawn.add(image.labels.task_id)
    timed = [task for task, count in pixels.items() if count and task in seconds and task not in drawn]
    total = sum(pixels[task] for task in timed)
    return sum(seconds[task] for task in timed) / total if total else None
