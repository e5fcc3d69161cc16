"""Label Studio's client.

Settings and views travel through label-studio-sdk (settings.py, views.py). Tasks, annotations and predictions travel
as plain JSON: the SDK's models rewrite them on the way, and with masks they cost three times the time (1,000
predictions of 4,000 numbers: 9.5 s against 3.4 s).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from backend.errors import StudioRefused
from backend.studio.tasks import BULK_SECONDS, StudioTasks


class Studio(StudioTasks):
    """One Label Studio, as the user whose token is given. Thread-safe; connects at the first call.

    Every method raises StudioUnavailable (not reachable, too slow, 5xx) or StudioRefused (4xx), nothing else.
    """

    def predicted(self, project: int, model_version: str, tasks: Sequence[int]) -> set[int]:
        """Which of these tasks have a prediction of that version."""
        listed = self._chosen(project, tasks, {"fields": "all", "include": "id,predictions"})
        return {int(task["id"]) for task in listed if _predictions(task, model_version)}

    def import_predictions(self, project: int, predictions: Sequence[Mapping[str, Any]]) -> int:
        """Store predictions in one request; how many. StudioRefused when Label Studio dropped some of them.

        It drops invalid ones and answers 201 all the same; the valid ones of the request are then stored.
        """
        if not predictions:
            return 0
        path = f"/api/projects/{project}/import/predictions"
        answer = self._http.request("POST", path, body=list(predictions), timeout=BULK_SECONDS)
        created = int(answer["created"])
        if created != len(predictions):
            message = (
                f"Label Studio stored {created} of {len(predictions)} predictions of project {project} and dropped "
                "the others: their controls or labels are not in the labelling config, a coordinate lies outside "
                "0..100 or a score outside 0..1; check whether the config was changed meanwhile"
            )
            raise StudioRefused(message, 201)
        return created

    def model_versions(self, project: int) -> dict[str, int]:
        """Number of stored predictions of each version."""
        found = self._http.request("GET", f"/api/projects/{project}/model-versions/")
        return {str(version): int(count) for version, count in found.items()}

    def delete_some_predictions(self, project: int, version: str, most: int) -> int:
        """Delete predictions of a version, of at most so many tasks; how many were deleted, 0 when none is left.

        Label Studio 1.23 can delete all predictions of a version in one request and one transaction, all predictions
        of chosen tasks, whatever their version, or one prediction. This lists tasks, and deletes one by one.
        """
        query = {"filters": {"conjunction": "and", "items": [_predicted_by(version)]}}
        params = {
            "project": project,
            "page_size": most,
            "resolve_uri": "false",
            "query": json.dumps(query),
            "fields": "all",
            "include": "id,predictions",
        }
        answer = self._http.request("GET", "/api/tasks", params=params, timeout=BULK_SECONDS)
        found = {number for task in answer["tasks"] for number in _predictions(task, version)}
        for number in sorted(found):
            try:
                self._http.request("DELETE", f"/api/predictions/{number}/", timeout=BULK_SECONDS)
            except StudioRefused as refusal:
                if refusal.studio_status != 404:  # somebody else has deleted it
                    raise
        return len(found)

    def delete_model_version(self, project: int, version: str) -> int:
        """Delete all predictions of a version in one request; how many there were."""
        path = f"/api/projects/{project}/model-versions/"
        answer = self._http.request("DELETE", path, body={"model_version": version}, timeout=BULK_SECONDS)
        return int(answer["deleted_predictions"])


def _predictions(task: Mapping[str, Any], version: str) -> list[int]:
    return [int(one["id"]) for one in task["predictions"] if one["model_version"] == version]


def _predicted_by(version: str) -> dict[str, Any]:
    """A filter: tasks with a prediction of a version whose name holds this text."""
    return {
        "filter": "filter:tasks:predictions_model_versions",
        "operator": "contains",
        "type": "List",
        "value": [version],
    }
