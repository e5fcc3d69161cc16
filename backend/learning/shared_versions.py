"""Published versions on the shared storage: uploaded whole before a row names them, fetched by who lacks them.

The row in the database is the one pointer. A folder that no row names is not read; one without a card was not uploaded
whole, and goes when versions are pruned.
"""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from backend.errors import Overtaken, SharedUnavailable
from backend.learning.version_card import CARD, DamagedVersion, check_files, read_card
from backend.shared import AWAY_SECONDS, SharedFolder, SharedStorage
from backend.store import Version

FOLDER = "versions"
CLAIM = "claim-"
UNFINISHED_SECONDS = 3600.0
"""An upload that nobody has gone on with for so long belongs to a process that died."""


class SharedVersions:
    """The versions of all projects. root: folder of those that lie in this process's data folder."""

    def __init__(self, storage: SharedStorage, root: Path) -> None:
        self._storage = storage
        self._root = root
        self._fetching = threading.Lock()
        self._away_until = 0.0

    def projects(self) -> list[int]:
        """Projects that have a folder, whole or not."""
        return sorted(int(name) for name in self._storage.names(FOLDER) if name.isdigit())

    def folders(self, project: int) -> dict[int, SharedFolder]:
        """The folders of a project's versions by number, whole or not."""
        found = self._storage.folders(f"{FOLDER}/{project}")
        return {int(name): folder for name, folder in found.items() if name.isdigit()}

    def claim(self, project: int, least: int) -> int:
        """The number of the version to come, at least ``least``: after all that are there, and nobody else's from now.

        Who claims writes first and then looks, so that of two at least one sees the other: that one raises Overtaken.
        """
        number = max([least, *(taken + 1 for taken in self.folders(project))])
        place, claim = f"{FOLDER}/{project}/{number}", f"{CLAIM}{uuid.uuid4().hex}"
        self._storage.write(f"{place}/{claim}", b"claimed")
        if self._storage.names(place) != [claim]:
            self._storage.remove(f"{place}/{claim}")
            raise Overtaken(
                f"another process publishes version {number} of project {project}; start a round again"
            )
        return number

    def sizes(self, project: int) -> dict[int, int]:
        """Bytes of each version's files."""
        return {number: folder.nbytes for number, folder in self.folders(project).items()}

    def upload(self, version: Version) -> None:
        """Copy a version's folder from the data folder, its card last. Raises SharedUnavailable."""
        self._storage.upload(self._root / version.folder, f"{FOLDER}/{version.folder}", last=CARD)

    def fetch(self, version: Version) -> None:
        """See to it that the data folder has this very version, where the storage has it.

        Raises DamagedVersion where what was fetched is not what was published: nothing of it is kept then; and
        SharedUnavailable, at once where the storage did not answer a short while ago.
        """
        if _is(self._root / version.folder, version):
            return
        with self._fetching:
            if _is(self._root / version.folder, version):
                return
            if time.monotonic() < self._away_until:
                raise SharedUnavailable(
                    f"the shared storage did not answer; it is asked for {version.name} again soon"
                )
            try:
                self._fetch(version.folder, version)
            except SharedUnavailable:
                self._away_until = time.monotonic() + AWAY_SECONDS
                raise

    def fetch_all(self, project: int) -> list[str]:
        """Fetch the whole versions that the data folder lacks; what is wrong with those that cannot be had."""
        damaged = []
        for number, folder in sorted(self.folders(project).items()):
            place = f"{project}/{number}"
            if CARD in folder.files and not (self._root / place).exists():
                try:
                    self._fetch(place)
                except DamagedVersion as damage:
                    damaged.append(f"version {number} is left out: {damage}")
        return damaged

    def remove(self, version: Version) -> None:
        """Delete a version's folder, the card first: what is left of it is no version."""
        with suppress(SharedUnavailable):  # the next pruning finds it without a row
            self._storage.remove(f"{FOLDER}/{version.folder}/{CARD}")
            self._storage.remove(f"{FOLDER}/{version.folder}")

    def remove_unfinished(self, project: int, known: Collection[int]) -> None:
        """Delete folders that have neither a row nor a card, and that nobody has written to for long."""
        with suppress(SharedUnavailable):
            for number, folder in self.folders(project).items():
                old = time.time() - folder.modified > UNFINISHED_SECONDS
                if number not in known and CARD not in folder.files and old:
                    self._storage.remove(f"{FOLDER}/{project}/{number}")

    def _fetch(self, place: str, version: Version | None = None) -> None:
        final = self._root / place
        draft = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.fetched")
        draft.mkdir(parents=True)
        try:
            self._storage.download(f"{FOLDER}/{place}", draft)
            check_files(draft)
            if version is not None and not _is(draft, version):
                raise DamagedVersion("its folder on the shared storage holds another version")
            if version is not None and _is(final, version):  # another process of this machine was quicker
                return
            if final.exists():  # of a process that died before its version was recorded
                shutil.rmtree(final.rename(draft.with_suffix(".stale")))
            draft.rename(final)
        except FileNotFoundError:  # neither has it: who loads it says so
            return
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _is(folder: Path, version: Version) -> bool:
    """Whether a folder is that of this version, and not of another that was to have its number."""
    try:
        card = read_card(folder)
    except DamagedVersion:
        return False
    return (card.name, card.created) == (version.name, version.created)
