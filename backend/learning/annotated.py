"""What people have labelled, read from Label Studio in full once, and after that only where it has changed."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from backend.caches import ByteLRU
from backend.studio import Studio

OVERLAP = timedelta(seconds=10)
"""What was changed so shortly before the newest change known is read again: Label Studio may have stored it later."""
WHOLE_SECONDS = 600.0
"""All is read again after so long: whatever no rule foresees, such as a clock that was set back, is known then."""
KEPT_BYTES = 256 << 20
"""Of all projects, compressed; those read longest ago go, and a larger one is read in full each time."""


@dataclass(frozen=True)
class _Kept:
    """Packed tasks by number, the newest of their changes, and until when they need not be read again."""

    tasks: dict[int, bytes]
    newest: datetime
    until: float


class AnnotatedTasks:
    """The annotated tasks of projects. Label Studio takes three seconds for a thousand, as long as a fit.

    Each change of a task's annotations moves its ``updated_at``, with one exception that the number of annotated tasks
    shows: a task that has lost its last annotation is no more among them.
    """

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._kept: ByteLRU[int, _Kept] = ByteLRU(KEPT_BYTES)

    def read(self, project: int) -> list[dict[str, Any]]:
        """All annotated tasks as ``Studio.annotated_tasks`` gives them, by id."""
        kept = self._kept.get(project)
        if kept is not None and time.monotonic() < kept.until:
            changed = self._studio.annotated_tasks(project, since=kept.newest - OVERLAP)
            tasks = kept.tasks | _packed(changed)
            if len(tasks) == self._studio.count_annotated(project):
                self._keep(
                    project, replace(kept, tasks=tasks, newest=max([kept.newest, *map(_changed, changed)]))
                )
                return [json.loads(zlib.decompress(tasks[task])) for task in sorted(tasks)]
        found = self._studio.annotated_tasks(project)
        if found:
            newest, until = max(map(_changed, found)), time.monotonic() + WHOLE_SECONDS
            self._keep(project, _Kept(_packed(found), newest, until))
        return found

    def _keep(self, project: int, kept: _Kept) -> None:
        self._kept.put(project, kept, sum(map(len, kept.tasks.values())))


def _changed(task: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(task["updated_at"].replace("Z", "+00:00"))


def _packed(tasks: Sequence[dict[str, Any]]) -> dict[int, bytes]:
    return {int(task["id"]): zlib.compress(json.dumps(task).encode(), 1) for task in tasks}
