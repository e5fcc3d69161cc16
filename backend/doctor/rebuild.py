"""Rebuilds what a lost database held: from Label Studio the labels, from the data folder the versions.

What was pushed is asked of Label Studio in each round; it needs no more than the name of the live version.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backend.doctor.finding import Finding
from backend.errors import ClickPickError, StudioRefused
from backend.learning.labelled import read_labels, stored_labels
from backend.learning.shared_versions import SharedVersions
from backend.learning.version_card import DamagedVersion, check_files, read_card
from backend.services import open_shared
from backend.settings import Settings
from backend.store import Store, Version
from backend.studio import Studio
from label_config import LabelConfigError, read_schema


@dataclass(frozen=True)
class Folders:
    """The versions of a project that lie in the data folder, oldest first, and what is wrong with the others."""

    versions: tuple[Version, ...]
    damaged: tuple[str, ...]


def projects_to_rebuild(settings: Settings, store: Store) -> list[int]:
    """Projects that the database knows, and those with a folder of versions here or on the shared storage."""
    folders = settings.versions_folder.glob("[0-9]*")
    here = (int(found.name) for found in folders if found.name.isdigit())
    shared = _shared(settings)
    return sorted({*store.projects(), *here, *(shared.projects() if shared else ())})


def _shared(settings: Settings) -> SharedVersions | None:
    storage = open_shared(settings)
    return None if storage is None else SharedVersions(storage, settings.versions_folder)


def rebuild(settings: Settings, store: Store, studio: Studio, project: int) -> Iterator[Finding]:
    """Complete the tables of a project; what they know already stays as it is. Errors are findings."""
    try:
        schema = read_schema(studio.project(project).label_config)
        if schema.pixel_image is None:
            yield Finding(
                "rebuild-nothing", "ok", f"project {project} has no query control: nothing to rebuild"
            )
            return
        labelled = read_labels(schema.pixel_image, studio.iter_annotated(project))
    except StudioRefused as problem:
        gone = problem.studio_status == 404
        advice = f"delete the folder versions/{project}" if gone else "correct what the message names"
        message = f"project {project} was not rebuilt: {problem}"
        yield Finding("rebuild-refused", "warning" if gone else "error", message, advice)
        return
    except (ClickPickError, LabelConfigError) as problem:
        message = f"project {project} was not rebuilt: {problem}"
        yield Finding("rebuild-failed", "error", message, "correct what the message names, and run it again")
        return
    store.remember_project(project, schema.digest)
    changed = store.replace_labels(project, stored_labels(labelled))
    count = sum(len(image.labels.pixels) for image in labelled)
    yield Finding("rebuild-labels", "ok", f"project {project}: {count} labels, {changed} of them changed")
    yield from _versions(settings, store, project)


def _versions(settings: Settings, store: Store, project: int) -> Iterator[Finding]:
    shared = _shared(settings)
    lost = shared.fetch_all(project) if shared else []
    folders = read_folders(settings.versions_folder, project)
    known = {version.number for version in store.versions(project)}
    added = [version for version in folders.versions if version.number not in known]
    for version in added:
        store.publish(version, live=False)
    for damage in (*lost, *folders.damaged):
        advice = "restore it from a backup, or delete the folder"
        yield Finding("rebuild-damaged", "warning", f"project {project}: {damage}", advice)
    live = store.live_version(project)
    if live is None:
        live = next((found for found in reversed(folders.versions) if "aside" not in found.metrics), None)
        if live is not None:
            store.make_live(live)
    name = "none" if live is None else live.name
    message = f"project {project}: {len(added)} versions added, {len(known)} were known, live: {name}"
    yield Finding("rebuild-versions", "ok", message)


def read_folders(root: Path, project: int) -> Folders:
    """The versions in the data folder, by their cards; each file is compared with its digest."""
    found: list[Version] = []
    damaged: list[str] = []
    folders = [path for path in root.joinpath(str(project)).glob("[0-9]*") if path.name.isdigit()]
    for folder in sorted(folders, key=lambda path: int(path.name)):
        place = f"{project}/{folder.name}"
        try:
            version = read_card(folder)
            check_files(folder)
            if version.folder != place or version.number != int(folder.name):
                raise DamagedVersion(f"its card is that of {version.folder}")
        except DamagedVersion as damage:
            damaged.append(f"version {folder.name} is left out: {damage}")
        else:
            found.append(version)
    return Folders(tuple(found), tuple(damaged))
