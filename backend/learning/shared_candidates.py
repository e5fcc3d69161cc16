"""What the deep learner has learnt, on the shared storage: the round that judges it may run on another machine.

The storage says which candidates there are; folders of the same place in the data folder are copies of them.
"""

from __future__ import annotations

import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path

from backend.errors import SharedUnavailable
from backend.shared import SharedStorage

FOLDER = "candidates"
DRAFT = ".fetched"
STALE_SECONDS = 3600.0
"""A draft of so long ago belongs to a process that died."""


class SharedCandidates:
    """``root``: folder of the copies. ``facts``: name of the file that is uploaded last and removed first.

    Every method raises SharedUnavailable, but `remove`.
    """

    def __init__(self, storage: SharedStorage, root: Path, *, facts: str, tries: str) -> None:
        self._storage = storage
        self._root = root
        self._facts = facts
        self._tries = tries

    def upload(self, folder: Path, project: int, number: int) -> None:
        """Copy a candidate there; nobody sees it before it is whole."""
        self._storage.upload(folder, f"{FOLDER}/{project}/{number}", last=self._facts)

    def fetch(self, project: int) -> None:
        """Have a copy of the newest candidate of a project, and of none that is not there any more."""
        found = self._storage.folders(f"{FOLDER}/{project}")
        whole = {
            int(name) for name, folder in found.items() if name.isdigit() and self._facts in folder.files
        }
        for copy in (self._root / str(project)).glob("[0-9]*"):
            if int(copy.name) not in whole:
                shutil.rmtree(copy, ignore_errors=True)
        for draft in (self._root / str(project)).glob(f".*{DRAFT}"):
            with suppress(FileNotFoundError):
                if draft.stat().st_mtime < time.time() - STALE_SECONDS:
                    shutil.rmtree(draft, ignore_errors=True)
        if whole:
            self._download(f"{project}/{max(whole)}")

    def count_try(self, candidate: Path) -> int:
        """Note that somebody begins to judge it; how often that was."""
        name = f"{self._name(candidate)}/{self._tries}"
        noted = (self._storage.read(name) or b"") + b"."  # one round of a project at a time
        self._storage.write(name, noted)
        return len(noted)

    def forget_tries(self, candidate: Path) -> None:
        self._storage.remove(f"{self._name(candidate)}/{self._tries}")

    def remove(self, project: int, newest: int) -> None:
        """Delete a candidate and all before it; what stays is found by the next round."""
        with suppress(SharedUnavailable):
            for name in self._storage.names(f"{FOLDER}/{project}"):
                if name.isdigit() and int(name) <= newest:
                    self._storage.remove(f"{FOLDER}/{project}/{name}/{self._facts}")
                    self._storage.remove(f"{FOLDER}/{project}/{name}")

    def _download(self, place: str) -> None:
        final = self._root / place
        if final.exists():
            return
        draft = final.with_name(f".{uuid.uuid4().hex[:8]}{DRAFT}")
        draft.mkdir(parents=True)
        try:
            self._storage.download(f"{FOLDER}/{place}", draft)
            with suppress(OSError):  # another process of this machine was quicker
                draft.rename(final)
        except FileNotFoundError:  # judged meanwhile
            return
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _name(self, candidate: Path) -> str:
        return f"{FOLDER}/{candidate.parent.name}/{candidate.name}"
