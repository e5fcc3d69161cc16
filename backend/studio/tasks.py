"""Tasks and annotations of Label Studio, in pages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from backend.studio.records import TaskInfo
from backend.studio.views import StudioViews

PAGE_SIZE = 500
"""On SQLite, Label Studio 1.23 answers pages of 1,000 tasks with 500 (expression tree too large)."""
ANNOTATED_PAGE_SIZE = 100
CHOSEN_PAGE_SIZE = 200
"""Tasks that one request names: their ids travel in its address."""
BULK_SECONDS = 300.0
"""Timeout of what writes or deletes many predictions: SQLite takes seconds for a thousand of them."""

HEAVY_FIELDS = (
    "predictions,predictions_results,predictions_model_versions,annotations_results,annotations_ids,annotators,"
    "drafts,comment_authors,updated_by"
)
"""Fields of a listed task that repeat its annotations or carry the masks of all predictions."""


class StudioTasks(StudioViews):
    """The part of the client that reads tasks and annotations, and changes an annotation's result."""

    def tasks(self, project: int, *, page_size: int = PAGE_SIZE) -> Iterator[TaskInfo]:
        """All tasks by id, with their scores, one request a page. Label Studio takes a second for a thousand."""
        fields = {"fields": "all", "include": "id,data,is_labeled,predictions_score"}
        for page in self._pages(project, fields, page_size=page_size):
            yield from map(_task, page)

    def task_pages(
        self, project: int, *, after: int = 0, page_size: int = PAGE_SIZE
    ) -> Iterator[list[TaskInfo]]:
        """The same in pages and without their data, of tasks whose id is above ``after``."""
        fields = {"fields": "all", "include": "id,is_labeled,predictions_score"}
        for page in self._pages(project, fields, page_size=page_size, after=after):
            yield [_task(task) for task in page]

    def chosen_tasks(self, project: int, tasks: Sequence[int]) -> list[TaskInfo]:
        """These tasks in this order, without scores; those that do not exist any more are left out."""
        fields = {"include": "id,data,is_labeled"}
        found = {task["id"]: _task(task) for task in self._chosen(project, tasks, fields)}
        return [found[task] for task in tasks if task in found]

    def next_tasks(self, project: int, count: int) -> list[TaskInfo]:
        """The first tasks that nobody has annotated, as uncertainty sampling serves them; takes a tenth of a second."""
        query = {
            "filters": {"conjunction": "and", "items": [_number("total_annotations", "equal", 0)]},
            "ordering": ["tasks:predictions_score"],
        }
        params = {
            "project": project,
            "page_size": count,
            "resolve_uri": "false",
            "query": json.dumps(query),
            "include": "id,data,is_labeled",
        }
        answer = self._http.request("GET", "/api/tasks", params=params, timeout=BULK_SECONDS)
        return [_task(task) for task in answer["tasks"] if not task.get("is_labeled")]

    def task(self, task: int) -> dict[str, Any]:
        """The task as Label Studio holds it, with annotations and predictions."""
        found: dict[str, Any] = self._http.request(
            "GET", f"/api/tasks/{task}/", params={"resolve_uri": "false"}
        )
        return found

    def annotated_tasks(self, project: int, *, since: datetime | None = None) -> list[dict[str, Any]]:
        """Tasks that have annotations, these in full and without predictions, as in Label Studio's JSON export.

        since: only those changed after that moment (aware; by Label Studio's clock, as in their ``updated_at``).
        Label Studio's own export would leave two files in its data folder at every call. It takes three seconds for a
        thousand tasks.
        """
        return list(self.iter_annotated(project, since=since))

    def iter_annotated(self, project: int, *, since: datetime | None = None) -> Iterator[dict[str, Any]]:
        """The same, a request at a time, for who need not have all of them at once."""
        fields = {"fields": "all", "omit": HEAVY_FIELDS}
        filters = [ANNOTATED, *([_changed_after(since)] if since else [])]
        for page in self._pages(project, fields, *filters, page_size=ANNOTATED_PAGE_SIZE):
            yield from page

    def annotation(self, annotation: int) -> dict[str, Any]:
        """An annotation as Label Studio holds it now."""
        found: dict[str, Any] = self._http.request("GET", f"/api/annotations/{annotation}/")
        return found

    def replace_result(self, annotation: int, result: Sequence[Any]) -> dict[str, Any]:
        """Give an annotation another result; its author stays. The annotation as it then is."""
        changed: dict[str, Any] = self._http.request(
            "PATCH", f"/api/annotations/{annotation}/", body={"result": list(result)}, timeout=BULK_SECONDS
        )
        return changed

    def count_annotated(self, project: int) -> int:
        """Number of tasks that have annotations."""
        query = {"filters": {"conjunction": "and", "items": [ANNOTATED]}}
        params = {"project": project, "page_size": 1, "query": json.dumps(query), "include": "id"}
        answer = self._http.request("GET", "/api/tasks", params=params, timeout=BULK_SECONDS)
        return int(answer["total"])

    def _chosen(
        self, project: int, tasks: Sequence[int], fields: Mapping[str, str]
    ) -> Iterator[dict[str, Any]]:
        for start in range(0, len(tasks), CHOSEN_PAGE_SIZE):
            chosen = list(tasks[start : start + CHOSEN_PAGE_SIZE])
            params = {
                "project": project,
                "page_size": len(chosen),
                "resolve_uri": "false",
                "query": json.dumps({"selectedItems": {"all": False, "included": chosen}}),
                **fields,
            }
            answer = self._http.request("GET", "/api/tasks", params=params, timeout=BULK_SECONDS)
            yield from answer["tasks"]

    def _pages(
        self,
        project: int,
        fields: Mapping[str, str],
        *filters: Mapping[str, Any],
        page_size: int,
        after: int = 0,
    ) -> Iterator[list[dict[str, Any]]]:
        """Pages of tasks in the order of their ids, each starting after the last: deletions meanwhile skip none."""
        last = after
        while True:
            items = [_number("id", "greater", last), *filters]
            query = {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}
            params = {
                "project": project,
                "page_size": page_size,
                "resolve_uri": "false",
                "query": json.dumps(query),
                **fields,
            }
            answer = self._http.request("GET", "/api/tasks", params=params, timeout=BULK_SECONDS)
            page = answer["tasks"]
            yield page
            # An installation may cap the size of a page, so a short page is not the last one.
            if not page or len(page) >= answer["total"]:
                return
            last = int(page[-1]["id"])


def _task(task: Mapping[str, Any]) -> TaskInfo:
    score = task.get("predictions_score")
    return TaskInfo(
        id=int(task["id"]),
        data=task.get("data") or {},
        is_labeled=bool(task.get("is_labeled")),
        score=None if score is None else float(score),
    )


def _number(column: str, operator: str, value: int) -> dict[str, Any]:
    """A filter of the Data Manager: tasks whose column is "greater" than the value, or "equal" to it."""
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": "Number", "value": value}


def _changed_after(moment: datetime) -> dict[str, Any]:
    value = moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {"filter": "filter:tasks:updated_at", "operator": "greater", "type": "Datetime", "value": value}


ANNOTATED = _number("total_annotations", "greater", 0)
