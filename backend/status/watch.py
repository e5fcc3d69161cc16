"""What the page shows and no request could wait for: Label Studio's side, pictures, and the doctor's findings.

A look at the page asks for it; it is read in the background, one project after another, and only while somebody looks.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from backend.background import Background, Step
from backend.caches import ByteLRU
from backend.doctor.finding import Finding
from backend.errors import ClickPickError
from backend.images import ImageFetcher
from backend.learning.labelled import image_urls
from backend.learning.versions import is_ours
from backend.settings import Settings
from backend.status.thumbnails import count_queries, draw
from backend.studio import Studio, TaskInfo
from label_config import ImageSchema, LabelConfigError, read_schema

LOG = logging.getLogger(__name__)
STUDIO_SECONDS = 10.0
"""Label Studio's side is read anew after so long; pictures where the version or the next tasks have changed."""
DOCTOR_SECONDS = 300.0
TASKS = 6
CACHE_BYTES = 32 << 20


@dataclass(frozen=True)
class Picture:
    """One of the tasks that Label Studio serves next. ``name``: of the thumbnail."""

    task: int
    name: str
    width: int
    height: int
    queries: int
    version: str
    score: float | None


@dataclass(frozen=True)
class Seen:
    """Label Studio's side of a project. ``checked``: when the doctor looked, in Unix seconds; None before.

    ``problem``: why nothing could be read.
    """

    title: str = ""
    tasks: int | None = None
    annotated: int | None = None
    pictures: tuple[Picture, ...] = ()
    problem: str = ""
    findings: tuple[Finding, ...] = ()
    checked: float | None = None


@dataclass
class _Turn:
    """When something was last begun, by time.monotonic, and whether it goes on."""

    begun: float = float("-inf")
    busy: bool = field(default=False)


class Watch:
    """``studio`` and ``images`` raise ConfigProblem where there is no token. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        background: Background,
        *,
        studio: Callable[[], Studio],
        images: Callable[[], ImageFetcher],
    ) -> None:
        self._settings = settings
        self._background = background
        self._studio = studio
        self._images = images
        self._seen: dict[int, Seen] = {}
        self._turns: dict[tuple[int, str], _Turn] = {}
        self._thumbnails: ByteLRU[tuple[int, str], bytes] = ByteLRU(CACHE_BYTES)
        self._lock = threading.Lock()

    def look(self, project: int) -> Seen:
        """What is known now; what is old is read anew meanwhile."""
        seen = self.known(project)
        self._refresh(project, "studio", STUDIO_SECONDS, self._read)
        self._refresh(project, "doctor", DOCTOR_SECONDS, self._diagnose)
        return seen

    def known(self, project: int) -> Seen:
        """What is known now, and nothing is read for it."""
        with self._lock:
            return self._seen.get(project, Seen())

    def thumbnail(self, project: int, name: str) -> bytes | None:
        """A picture that `look` named; None once it has been forgotten."""
        return self._thumbnails.get((project, name))

    def _refresh(self, project: int, what: str, seconds: float, read: Callable[[int], None]) -> None:
        with self._lock:
            turn = self._turns.setdefault((project, what), _Turn())
            if turn.busy or time.monotonic() - turn.begun < seconds:
                return
            turn.busy, turn.begun = True, time.monotonic()
        step = Step(
            partial(self._take_turn, turn, read, project), f"project {project}: no {what} for the page"
        )
        self._background.start([step])

    def _take_turn(self, turn: _Turn, read: Callable[[int], None], project: int) -> None:
        try:
            read(project)
        finally:
            with self._lock:
                turn.busy = False

    def _update(self, project: int, **changes: object) -> None:
        with self._lock:
            self._seen[project] = replace(self._seen.get(project, Seen()), **changes)  # type: ignore[arg-type]

    def _diagnose(self, project: int) -> None:
        from backend.doctor import diagnose  # noqa: PLC0415 - imports what only a look at the page needs

        host = self._settings.host if self._settings.host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
        findings = diagnose(self._settings, project, f"http://{host}:{self._settings.port}")
        self._update(project, findings=tuple(findings), checked=time.time())

    def _read(self, project: int) -> None:
        try:
            studio = self._studio()
            info = studio.project(project)
            annotated = studio.count_annotated(project)
            self._update(project, title=info.title, tasks=info.task_number, annotated=annotated, problem="")
            target = read_schema(info.label_config).pixel_image
            if target is not None:
                tasks = studio.next_tasks(project, TASKS)
                if not _shows(self.known(project).pictures, tasks, info.model_version):
                    pictures = [self._picture(studio, project, target, task) for task in tasks]
                    self._update(project, pictures=tuple(one for one in pictures if one is not None))
        except (ClickPickError, LabelConfigError) as problem:
            self._update(project, problem=str(problem))

    def _picture(self, studio: Studio, project: int, target: ImageSchema, task: TaskInfo) -> Picture | None:
        """None for a task whose image cannot be had or that has no prediction of ours."""
        found = [
            prediction
            for prediction in studio.task(task.id).get("predictions") or []
            if isinstance(prediction, dict) and is_ours(str(prediction.get("model_version")), project)
        ]
        urls = image_urls(target, task.data)
        if not found or not urls:
            return None
        newest = max(found, key=lambda prediction: int(prediction.get("id") or 0))
        version, result = str(newest["model_version"]), newest.get("result") or []
        key = f"{task.id}/{newest.get('id')}/{version}"
        name = hashlib.sha256(key.encode()).hexdigest()[:16] + ".jpg"
        item, url = urls[0]
        try:
            array = self._images().get(url, task.id).array
            if self._thumbnails.get((project, name)) is None:
                content = draw(array, target, result, item)
                self._thumbnails.put((project, name), content, len(content))
        except (ClickPickError, LabelConfigError) as problem:
            LOG.info("task %d has no picture on the page: %s", task.id, problem)
            return None
        height, width = array.shape[:2]
        score = newest.get("score")
        queries = count_queries(target, result)
        return Picture(
            task.id, name, width, height, queries, version, None if score is None else float(score)
        )


def _shows(pictures: Sequence[Picture], tasks: Sequence[TaskInfo], version: str) -> bool:
    """Whether these are the tasks' pictures already: reading a task brings all its masks over the network."""
    return [(one.task, one.version) for one in pictures] == [(task.id, version) for task in tasks]
