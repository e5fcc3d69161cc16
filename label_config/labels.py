"""What the annotators of a task said: pixel labels and dense masks, their votes counted."""

from __future__ import annotations

import logging
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_config.annotations import (
    Source,
    confirmed_queries,
    latest_annotations,
    page_of,
    regions_by_person,
    source_of,
)
from label_config.errors import LabelConfigError
from label_config.percent import is_number
from label_config.pixels import PixelLabel, read_pixel
from label_config.regions import RegionMask, read_mask
from label_config.schema import ImageSchema
from label_config.wire import image_size, is_result_of

UNLABELLED = 255
_MASK_KEYS = frozenset(("rle", "points", "imageDataURL"))
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TaskLabels:
    """The labels of one image of a task.

    ``dense``: (H, W) uint8 class indices, 255 where nobody drew, or None without any mask. ``conflicts``: (row, col) of
    the pixel labels whose vote was a tie; dense ties are simply unlabelled. ``sources``: whose labels these are.
    """

    task_id: int
    item_index: int | None
    height: int
    width: int
    pixels: tuple[PixelLabel, ...]
    dense: NDArray[np.uint8] | None
    conflicts: tuple[tuple[int, int], ...]
    sources: tuple[Source, ...] = ()


@dataclass
class _Ballot:
    """What one annotator said about one image: the later region wins where two overlap."""

    source: Source
    size: tuple[int, int]
    pixels: dict[tuple[int, int], str] = field(default_factory=dict)
    dense: NDArray[np.uint8] | None = None


def collect_labels(image: ImageSchema, task: Mapping[str, Any]) -> list[TaskLabels]:
    """Labels in a task of Label Studio's export, one entry for each labelled page (``item_index``).

    The latest annotation of each annotator counts, cancelled ones never. A label is what a person made or changed
    (origin "manual" or "prediction-changed"), or confirmed (see `confirmed_queries`); without an origin (an imported
    annotation) it counts as a person's, unless the annotation was created from a prediction. A pixel takes the answer
    given most often. Regions that cannot be read are logged and passed over.
    """
    ballots: dict[int | None, list[_Ballot]] = defaultdict(list)
    for annotation in latest_annotations(task):
        for page, ballot in _read(image, annotation).items():
            ballots[page].append(ballot)
    counted = (
        _count(int(task["id"]), page, ballots[page]) for page in sorted(ballots, key=lambda page: page or 0)
    )
    return [labels for labels in counted if labels.pixels or labels.conflicts or labels.dense is not None]


def _read(image: ImageSchema, annotation: Mapping[str, Any]) -> dict[int | None, _Ballot]:
    ballots: dict[int | None, _Ballot] = {}
    source = source_of(annotation)
    points = _point_ids(image, annotation.get("result") or ())
    for region in (*confirmed_queries(image, annotation), *regions_by_person(annotation)):
        try:
            said = read_mask(image, region) or _read_answer(image, region, points)
            if said is not None:
                size = image_size(region)
                ballot = ballots.setdefault(page_of(image, region), _Ballot(source, size))
                _enter(ballot, said, size, image.classes)
        except (LabelConfigError, TypeError) as error:
            _log.warning("annotation %s: a region is no label: %s", annotation.get("id"), error)
    return ballots


def _point_ids(image: ImageSchema, results: Iterable[Any]) -> frozenset[str]:
    """Ids of the smart clicks and hints that were left behind.

    An accepted mask may have a result of these controls too, under its own id: that one holds the mask, no point.
    """
    controls = [control for control in (image.click, image.hint) if control is not None]
    points = (
        region
        for region in results
        if any(is_result_of(region, control) for control in controls) and _is_point(region)
    )
    return frozenset(point["id"] for point in points if isinstance(point.get("id"), str))


def _is_point(region: Mapping[str, Any]) -> bool:
    value = region.get("value")
    return (
        isinstance(value, Mapping)
        and is_number(value.get("x"))
        and is_number(value.get("y"))
        and _MASK_KEYS.isdisjoint(value)
    )


def _read_answer(image: ImageSchema, region: Mapping[str, Any], points: frozenset[str]) -> PixelLabel | None:
    """The pixel label in a result, unless Label Studio wrote a click or hint down under the query control too."""
    if region.get("origin") == "manual" and region.get("id") in points:
        return None
    return read_pixel(image, region)


def _enter(
    ballot: _Ballot, said: PixelLabel | RegionMask, size: tuple[int, int], classes: Sequence[str]
) -> None:
    if size != ballot.size:
        raise LabelConfigError(
            f"it says the image is {size}, others of the annotation say {ballot.size} (rows, cols)"
        )
    if isinstance(said, PixelLabel):
        ballot.pixels[said.row, said.col] = said.label
    elif said.label in classes:
        if ballot.dense is None:
            ballot.dense = np.full(size, UNLABELLED, np.uint8)
        index = classes.index(said.label)
        if index >= UNLABELLED:
            raise LabelConfigError(
                f"class {said.label!r} is number {index}; dense labels hold {UNLABELLED} classes"
            )
        ballot.dense[said.mask] = index


def _count(task_id: int, page: int | None, ballots: Sequence[_Ballot]) -> TaskLabels:
    height, width = ballots[0].size
    same = [ballot for ballot in ballots if ballot.size == (height, width)]
    if len(same) < len(ballots):
        _log.warning(
            "task %s: annotations disagree on the image's size; only those of %s count",
            task_id,
            (height, width),
        )
    votes: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    for ballot in same:
        for at, label in ballot.pixels.items():
            votes[at][label] += 1
    winners = {at: _winner(counter) for at, counter in sorted(votes.items())}
    return TaskLabels(
        task_id=task_id,
        item_index=page,
        height=height,
        width=width,
        pixels=tuple(
            PixelLabel(*at, sys.intern(label)) for at, label in winners.items() if label is not None
        ),
        dense=_count_dense([ballot.dense for ballot in same if ballot.dense is not None]),
        conflicts=tuple(at for at, label in winners.items() if label is None),
        sources=tuple(ballot.source for ballot in same if ballot.pixels or ballot.dense is not None),
    )


def _winner(counter: Counter[str]) -> str | None:
    (label, most), *others = counter.most_common(2)
    return None if others and others[0][1] == most else label


def _count_dense(maps: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8] | None:
    if len(maps) < 2:
        return maps[0] if maps else None
    stack = np.stack(maps)
    winner = np.full(stack.shape[1:], UNLABELLED, np.uint8)
    most = np.zeros(stack.shape[1:], np.int64)
    for index in np.unique(stack[stack != UNLABELLED]):
        votes = (stack == index).sum(axis=0)
        winner[votes > most] = index
        winner[(votes == most) & (votes > 0)] = UNLABELLED
        most = np.maximum(most, votes)
    return winner
