"""Which annotations of a task count, and which of their regions a person made."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from label_config.errors import LabelConfigError
from label_config.percent import is_number
from label_config.regions import RegionMask, read_mask
from label_config.schema import ImageSchema
from label_config.wire import is_result_of

_BY_PERSON = frozenset(("manual", "prediction-changed"))
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """An annotation that gave labels. ``annotator``: Label Studio's number of the person, None where it tells none.

    ``updated``: as Label Studio writes it; ``seconds``: its lead time, None where it has none.
    """

    annotation: int
    annotator: int | None
    updated: str
    seconds: float | None


def latest_annotations(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The annotations of a task that count: the latest of each annotator, cancelled ones never."""
    latest: dict[Any, Mapping[str, Any]] = {}
    for annotation in sorted(task.get("annotations") or (), key=_moment):
        if not annotation.get("was_cancelled"):
            latest[_annotator(annotation)] = annotation
    return list(latest.values())


def regions_by_person(annotation: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Its results of origin "manual" or "prediction-changed", oldest first.

    Without an origin (an imported annotation) a result counts as a person's, unless the annotation was created from a
    prediction.
    """
    presumed = "prediction" if annotation.get("parent_prediction") else "manual"
    for region in annotation.get("result") or ():
        if isinstance(region, Mapping) and (region.get("origin") or presumed) in _BY_PERSON:
            yield region


def confirmed_queries(image: ImageSchema, annotation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The queries that were shown with a class and left as they were because it is right; those with "?" among them.

    Label Studio tells nothing of what was only looked at: what stands before the last changed query counts as
    confirmed, and all queries when the annotator chose that the rest is right. Only where the config has that choice.
    """
    if image.query is None or image.rest is None:
        return []
    results = annotation.get("result") or ()
    queries = [region for region in results if is_result_of(region, image.query)]
    changed = [at for at, region in enumerate(queries) if region.get("origin") == "prediction-changed"]
    chosen = any(is_result_of(region, image.rest) for region in results)
    count = len(queries) if chosen else changed[-1] if changed else 0
    return [region for region in queries[:count] if region.get("origin") == "prediction"]


def masks_by_person(image: ImageSchema, annotation: Mapping[str, Any]) -> list[RegionMask]:
    """The masks that a person made, one by one, as they overlap; what cannot be read is logged and passed over."""
    found = []
    for region in regions_by_person(annotation):
        try:
            mask = read_mask(image, region)
        except (LabelConfigError, TypeError) as error:
            _log.warning("annotation %s: a region is no label: %s", annotation.get("id"), error)
        else:
            found += [mask] if mask is not None else []
    return found


def source_of(annotation: Mapping[str, Any]) -> Source:
    """Who made an annotation, and when."""
    person, seconds = _person(annotation), annotation.get("lead_time")
    return Source(
        annotation=int(annotation.get("id") or 0),
        annotator=person if isinstance(person, int) else None,
        updated=_when(annotation),
        seconds=float(seconds) if is_number(seconds) else None,  # type: ignore[arg-type]
    )


def page_of(image: ImageSchema, region: Mapping[str, Any]) -> int | None:
    """Index of the page that a result is on; None where the image is a single one."""
    return int(region.get("item_index") or 0) if image.multi_page else None


def _person(annotation: Mapping[str, Any]) -> Any:
    person = annotation.get("completed_by")
    return person.get("id") if isinstance(person, Mapping) else person


def _annotator(annotation: Mapping[str, Any]) -> Any:
    person = _person(annotation)
    return person if person is not None else ("annotation", annotation.get("id"))


def _when(annotation: Mapping[str, Any]) -> str:
    return str(annotation.get("updated_at") or annotation.get("created_at") or "")


def _moment(annotation: Mapping[str, Any]) -> tuple[datetime, int]:
    try:
        moment = datetime.fromisoformat(_when(annotation).replace("Z", "+00:00"))
    except ValueError:
        moment = datetime.min
    aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return aware, int(annotation.get("id") or 0)
