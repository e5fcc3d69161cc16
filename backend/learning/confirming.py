"""Confirm mode: queries show the class that the live version expects, as long as it is right often enough.

A right class then costs one key, a wrong one two, as every query does otherwise. How the answers are read back is in
`label_config.labels`: Label Studio tells nothing of what an annotator only looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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


def seconds_per_pixel(tasks: Sequence[Mapping[str, Any]], images: Sequence[TaskImage]) -> float | None:
    """Time that people had tasks open, by labelled pixel, of tasks without masks; None where Label Studio tells none.

    tasks: annotated, as Label Studio exports them. The time is Label Studio's ``lead_time``, of all annotations that
    are not cancelled, so that a pixel that two people answered costs the time of both.
    """
    pixels: Counter[int] = Counter()
    for image in images:
        pixels[image.labels.task_id] += len(image.labels.pixels)
    drawn = {image.labels.task_id for image in images if image.labels.dense is not None}
    seconds, count = 0.0, 0
    for task in tasks:
        number, times = int(task["id"]), _times(task)
        if pixels[number] and number not in drawn and all(times):
            seconds, count = seconds + sum(times), count + pixels[number]
    return seconds / count if count else None


def _times(task: Mapping[str, Any]) -> list[float]:
    """Seconds of each annotation that counts, 0 where they are not known."""
    annotations = task.get("annotations") or ()
    return [float(one.get("lead_time") or 0.0) for one in annotations if not one.get("was_cancelled")]
