"""What people have labelled, read from Label Studio in full once, and after that only where it has changed."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from backend.studio import Studio

OVERLAP = timedelta(seconds=10)
"""What was changed so shortly before the newest change known is read again: Label Studio may have stored it later."""
KEPT_BYTES = 64 << 20
"""Of a project, compressed; larger ones are read in full each time."""


class AnnotatedTasks:
    """The annotated tasks of projects. Label Studio takes three seconds for a thousand, as long as a fit.

    Each change of a task's annotations moves its ``updated_at``, with one exception that the number of annotated tasks
    shows: a task that has lost its last annotation is no more among them.
    """

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._kept: dict[int, dict[int, bytes]] = {}
        self._newest: dict[int, datetime] = {}

    def read(self, project: int) -> list[dict[str, Any]]:
        """All annotated tasks as ``Studio.annotated_tasks`` gives them, by id."""
        kept = self._kept.pop(project, None)  # gone where Label Studio is
        if kept is not None:
            changed = self._studio.annotated_tasks(project, since=self._newest[project] - OVERLAP)
            kept |= _packed(changed)
            if len(kept) == self._studio.count_annotated(project):
                self._keep(project, kept, changed)
                return [json.loads(zlib.decompress(kept[task])) for task in sorted(kept)]
        tasks = self._studio.annotated_tasks(project)
        self._newest.pop(project, None)
        self._keep(project, _packed(tasks), tasks)
        return tasks

    def _keep(self, project: int, kept: dict[int, bytes], changed: Sequence[dict[str, Any]]) -> None:
        moments = [datetime.fromisoformat(task["updated_at"].replace("Z", "+00:00")) for task in changed]
        if project in self._newest:
            moments.append(self._newest[project])
        if moments and sum(map(len, kept.values())) <= KEPT_BYTES:
            self._kept[project], self._newest[project] = kept, max(moments)


def _packed(tasks: Sequence[dict[str, Any]]) -> dict[int, bytes]:
    return {int(task["id"]): zlib.compress(json.dumps(task).encode(), 1) for task in tasks}
