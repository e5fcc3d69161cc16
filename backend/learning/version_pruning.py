"""Which versions are kept when disk is short, and how the others go."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from backend.errors import SharedUnavailable
from backend.learning.shared_versions import SharedVersions
from backend.round_queue import DEEP
from backend.store import Store, Version

LOG = logging.getLogger(__name__)
DRAFT_SECONDS = 3600.0
"""A draft that nobody has written to for so long belongs to a process that died."""


def disk_bytes(folder: Path) -> int:
    """What the files of a folder take; 0 where there is none."""
    try:
        return sum(path.stat().st_size for path in folder.glob("*") if path.is_file())
    except OSError:  # somebody else is deleting it
        return 0


def needed(store: Store, versions: Sequence[Version]) -> set[int]:
    """Numbers that are never pruned, of one project's versions, newest first.

    The newest, from which the next is counted; the live one; one that the next round makes live; and what the deep
    learner goes on from.
    """
    if not versions:
        return set()
    project = versions[0].project
    deep = next((version for version in versions if version.metrics.get("kind") == DEEP), None)
    kept = (versions[0], store.live_version(project), store.wanted_version(project), deep)
    return {version.number for version in kept if version is not None}


def version_bytes(
    root: Path, versions: Sequence[Version], shared: SharedVersions | None = None
) -> dict[int, int]:
    """What each of one project's versions takes, by number: on the shared storage, where there is one."""
    found = shared.sizes(versions[0].project) if shared is not None and versions else {}
    return {
        version.number: found.get(version.number, 0) if shared else disk_bytes(root / version.folder)
        for version in versions
    }


def beyond_newest(store: Store, project: int, keep: int) -> list[Version]:
    """The versions behind the newest ``keep``, oldest first, without those that are needed."""
    versions = store.versions(project)
    kept = needed(store, versions)
    return [version for version in reversed(versions[keep:]) if version.number not in kept]


def beyond_quota(
    store: Store, root: Path, project: int, quota: int, shared: SharedVersions | None = None
) -> list[Version]:
    """The oldest versions, without those that are needed, until the others take at most ``quota`` bytes."""
    versions = store.versions(project)
    kept = needed(store, versions)
    sizes = version_bytes(root, versions, shared)
    total, gone = sum(sizes.values()), []
    for version in reversed(versions):
        if total <= quota:
            break
        if version.number not in kept:
            gone.append(version)
            total -= sizes[version.number]
    return gone


def remove(
    store: Store,
    root: Path,
    project: int,
    versions: Sequence[Version],
    shared: SharedVersions | None = None,
) -> list[Version]:
    """Forget versions and delete their folders; returns which. Those that have become live meanwhile stay.

    First the row, then the folder, which takes another name before its files go: half a folder is no version's. Copies
    that other processes have fetched go when these prune.
    """
    numbers = store.forget_versions(project, [version.number for version in versions])
    gone = [version for version in versions if version.number in numbers]
    for version in gone:
        folder = root / version.folder
        with contextlib.suppress(OSError):
            shutil.rmtree(folder.rename(folder.with_name(f".{folder.name}.pruned")), ignore_errors=True)
        if shared is not None:
            shared.remove(version)
        LOG.info("project %d: %s was pruned", project, version.name)
    if shared is not None:
        _remove_elsewhere_pruned(store, root / str(project), project, shared)
    _remove_drafts(root / str(project))
    return gone


def _remove_elsewhere_pruned(store: Store, folder: Path, project: int, shared: SharedVersions) -> None:
    """Copies of versions that have neither a row nor a folder on the shared storage, and uploads without an end."""
    known = {version.number for version in store.versions(project)}
    shared.remove_unfinished(project, known)
    try:
        there = known | shared.folders(project).keys()
    except SharedUnavailable:
        return
    for copy in folder.glob("[0-9]*"):
        if copy.name.isdigit() and int(copy.name) not in there:
            shutil.rmtree(copy, ignore_errors=True)


def _remove_drafts(folder: Path) -> None:
    """What processes that died have left in the folder of a project."""
    for draft in folder.glob(".*"):
        with contextlib.suppress(OSError):
            if time.time() - draft.stat().st_mtime > DRAFT_SECONDS:
                shutil.rmtree(draft, ignore_errors=True)
