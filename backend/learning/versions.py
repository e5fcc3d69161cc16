"""Published learner states: an immutable folder each, and one pointer to the live one.

A version is written to a temporary folder, synced and renamed, copied to the shared storage where there is one, and
only then recorded and made live in one database transaction: a process killed at any moment leaves the previous version
live and whole. Two that run one round, because one was taken for dead, never write to the same folder. A folder that
was published is never written to again, and its files are compared with the digests in its card when it is loaded.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backend.errors import ModelUnavailable, Overtaken, SharedUnavailable
from backend.learning import version_pruning
from backend.learning.shared_versions import SharedVersions
from backend.learning.version_card import DamagedVersion, check_files, write_card
from backend.shared import SharedStorage
from backend.store import Store, Version
from model_zoo.errors import ModelZooError
from model_zoo.learners.base import Learner
from model_zoo.registry import create_learner

LOG = logging.getLogger(__name__)
PREFIX = "clickpick"


def version_name(project: int, number: int, digest: str) -> str:
    """What Label Studio shows as model version: ``clickpick-7-v3-1a2b3c``; number 0 = no learner yet."""
    return f"{PREFIX}-{project}-v{number}-{digest[:6]}"


def is_ours(model_version: str, project: int) -> bool:
    """True for names that `version_name` makes for this project."""
    return model_version.startswith(f"{PREFIX}-{project}-v")


def version_number(model_version: str) -> int:
    """Of a name that `version_name` made; -1 for any other."""
    found = re.fullmatch(rf"{PREFIX}-\d+-v(\d+)-.*", model_version)
    return int(found[1]) if found else -1


class VersionLoader:
    """Loads published versions; each process keeps one loaded learner a project. Needs no database.

    storage: from which versions come that other processes have published.
    """

    def __init__(
        self, folder: Path, device: Callable[[], str] = lambda: "cpu", *, storage: SharedStorage | None = None
    ) -> None:
        self._shared = None if storage is None else SharedVersions(storage, folder)
        self._folder = folder
        self._device = device
        self._loaded: dict[int, tuple[str, Learner]] = {}
        self._lock = threading.Lock()

    def folder(self, version: Version) -> Path:
        """Where the files of a version lie."""
        return self._folder / version.folder

    def load(self, version: Version) -> Learner:
        """The learner of a version, from memory when it is the one used last.

        Raises ModelUnavailable where it is damaged, SharedUnavailable where it cannot be fetched now.
        """
        kept = self._kept(version)
        if kept is not None:
            return kept
        learner = create_learner(version.learner, device=self._device())
        self.fetch(version)
        with _loading(version):
            check_files(self.folder(version))
            learner.load(self.folder(version))
        with self._lock:
            self._loaded[version.project] = (version.name, learner)
        return learner

    def fetch(self, version: Version) -> None:
        """Have a version's files here, so that `load` needs no network; raises as that does."""
        if self._shared is not None and self._kept(version) is None:
            with _loading(version):
                self._shared.fetch(version)

    def _kept(self, version: Version) -> Learner | None:
        """The learner in memory, if it is that version's."""
        with self._lock:
            name, learner = self._loaded.get(version.project, ("", None))
        return learner if name == version.name else None


class Versions(VersionLoader):
    """Publishes learners, and loads them.

    quota: bytes that the versions of one project may take, the oldest going first; 0 for any number.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        device: Callable[[], str] = lambda: "cpu",
        *,
        quota: int = 0,
        storage: SharedStorage | None = None,
    ) -> None:
        super().__init__(folder, device, storage=storage)
        self._store = store
        self._quota = quota

    def publish(
        self,
        project: int,
        learner: Learner,
        *,
        digest: str,
        labels: int,
        metrics: Mapping[str, Any],
        live: bool = True,
        fulfils_wish: bool = False,
        also: Callable[[Path], None] = lambda _: None,
    ) -> Version:
        """Save the learner as the project's next version; make it live, or only record it.

        ``fulfils_wish``: it is the version that somebody wanted back, and nobody waits for that any more. ``also``
        writes further files into its folder. One process at a time publishes versions of a project: that of its running
        round. Raises Overtaken where another one did so meanwhile.
        """
        number = max(self._store.next_version_number(project), self._newest_folder(project) + 1)
        if self._shared is not None:
            number = self._shared.claim(project, number)
        version = Version(
            project=project,
            number=number,
            name=version_name(project, number, digest),
            folder=f"{project}/{number}",
            learner=learner.name,
            classes=learner.classes,
            digest=digest,
            labels=labels,
            metrics=dict(metrics),
            created=time.time(),
        )
        self._write(version, learner, also)
        if self._shared is not None:
            self._upload(self._shared, version)
        self._record(version, live=live, fulfils_wish=fulfils_wish)
        if live:
            with self._lock:
                self._loaded[project] = (version.name, learner)
        if self._quota:
            self._prune(project)
        return version

    def _write(self, version: Version, learner: Learner, also: Callable[[Path], None]) -> None:
        def fill(draft: Path) -> None:
            learner.save(draft)
            also(draft)
            write_card(draft, version)

        write_whole(self.folder(version), fill)

    def _prune(self, project: int) -> None:
        try:
            gone = version_pruning.beyond_quota(self._store, self._folder, project, self._quota, self._shared)
            version_pruning.remove(self._store, self._folder, project, gone, self._shared)
        except SharedUnavailable as problem:
            LOG.warning("project %d: old versions stay for now: %s", project, problem)

    def _upload(self, shared: SharedVersions, version: Version) -> None:
        try:
            shared.upload(version)
        except BaseException:
            shutil.rmtree(self.folder(version), ignore_errors=True)  # nobody is told of it
            raise

    def _record(self, version: Version, *, live: bool, fulfils_wish: bool) -> None:
        try:
            self._store.publish(version, live=live, fulfils_wish=fulfils_wish)
        except Overtaken:
            shutil.rmtree(self.folder(version), ignore_errors=True)
            if self._shared is not None:
                self._shared.remove(version)
            raise

    def _newest_folder(self, project: int) -> int:
        """Of the folders that are there, whoever made them: none is written twice, even if the database was lost."""
        folders = self._folder.joinpath(str(project)).glob("[0-9]*")
        return max((int(folder.name) for folder in folders if folder.name.isdigit()), default=0)


@contextmanager
def _loading(version: Version) -> Iterator[None]:
    """Turns what is wrong with its files into ModelUnavailable."""
    try:
        yield
    except (DamagedVersion, ModelZooError, OSError, ValueError, KeyError) as error:
        message = (
            f"version {version.name} cannot be loaded: {_public(error)}; start a round to make a new one"
        )
        LOG.error("%s (%s)", message, error)
        raise ModelUnavailable(message) from error


def _public(error: Exception) -> str:
    """What anybody may read of why a folder cannot be loaded: no paths."""
    return str(error) if isinstance(error, DamagedVersion) else "its files cannot be read"


def write_whole(final: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder that is whole or absent, whenever the process dies; ``fill`` writes its files.

    Raises Overtaken where there is such a folder by then.
    """
    draft = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}")  # containers have equal process numbers
    draft.mkdir(parents=True)
    try:
        fill(draft)
        for path in draft.iterdir():
            _sync(path)
        draft.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise Overtaken(
            f"another process has written version {final.name} meanwhile; start a round again"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    _sync(final.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
