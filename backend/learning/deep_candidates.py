"""What the deep learner has learnt and no round has judged yet: a folder each, whole or absent, on the shared storage
where there is one.

The process of the deep learner writes them; rounds read and remove them. So versions have one writer a project, and the
live one is the live one for as long as it is compared.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.learning.gate import Guesses
from backend.learning.shared_candidates import SharedCandidates
from backend.learning.versions import write_whole
from backend.shared import SharedStorage
from model_zoo.learners.base import Learner

FACTS = "candidate.json"
TRIES = "tries"
MOST_TRIES = 2
"""A candidate that no round has judged in so many tries (its process was killed, say) is dropped."""


@dataclass(frozen=True)
class Candidate:
    """A fitted deep learner in ``folder``. ``number`` grows from one candidate to the next."""

    folder: Path
    number: int
    learner: str
    classes: tuple[str, ...]
    digest: str
    labels: int
    metrics: dict[str, Any]


class Candidates:
    """The candidates of all projects, in one folder; with ``storage`` there, where every machine finds them.

    Every method but `remove` raises SharedUnavailable then.
    """

    def __init__(self, folder: Path, storage: SharedStorage | None = None) -> None:
        self._folder = folder
        self._shared = (
            None if storage is None else SharedCandidates(storage, folder, facts=FACTS, tries=TRIES)
        )

    def write(
        self,
        project: int,
        learner: Learner,
        guesses: Guesses,
        *,
        digest: str,
        labels: int,
        metrics: Mapping[str, Any],
    ) -> None:
        """Keep a learner until a round judges it."""
        number = time.time_ns()
        facts = {"number": number, "learner": learner.name, "classes": list(learner.classes)}
        facts |= {"digest": digest, "labels": labels, "metrics": dict(metrics)}

        def fill(draft: Path) -> None:
            learner.save(draft)
            guesses.write(draft)
            (draft / FACTS).write_text(json.dumps(facts, indent=2) + "\n")

        if self._shared is None:
            write_whole(self._folder / str(project) / str(number), fill)
            return
        with tempfile.TemporaryDirectory(prefix="clickpick-candidate-") as draft:
            fill(Path(draft))
            self._shared.upload(Path(draft), project, number)

    def newest(self, project: int) -> Candidate | None:
        """The latest candidate of a project; what cannot be read is none."""
        if self._shared is not None:
            self._shared.fetch(project)
        folders = self._folder.joinpath(str(project)).glob("[0-9]*")
        for folder in sorted(folders, key=lambda found: int(found.name), reverse=True):
            try:
                facts = json.loads((folder / FACTS).read_text())
                facts["classes"] = tuple(facts["classes"])
                return Candidate(folder=folder, **facts)
            except (OSError, ValueError, TypeError, KeyError):
                continue
        return None

    def begin(self, candidate: Candidate) -> bool:
        """Note that a round begins to judge a candidate; False where enough have tried in vain."""
        if self._shared is not None:
            return self._shared.count_try(candidate.folder) <= MOST_TRIES
        with (candidate.folder / TRIES).open("ab") as file:  # a byte a try
            file.write(b".")
            return file.tell() <= MOST_TRIES

    def begin_anew(self, candidate: Candidate) -> None:
        """Forget the tries: what went wrong had nothing to do with the candidate."""
        if self._shared is not None:
            self._shared.forget_tries(candidate.folder)
            return
        (candidate.folder / TRIES).unlink(missing_ok=True)

    def remove(self, project: int, judged: Candidate) -> None:
        """Forget a candidate and all before it."""
        if self._shared is not None:
            self._shared.remove(project, judged.number)
        for folder in self._folder.joinpath(str(project)).glob("[0-9]*"):
            if int(folder.name) <= judged.number:
                shutil.rmtree(folder, ignore_errors=True)
