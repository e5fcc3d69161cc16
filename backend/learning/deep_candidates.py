"""What the deep learner has learnt and no round has judged yet: a folder each, whole or absent.

The process of the deep learner writes them; rounds read and remove them. So versions have one writer a project, and the
live one is the live one for as long as it is compared.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.learning.gate import Guesses
from backend.learning.versions import write_whole
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
    """The candidates of all projects, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

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

        write_whole(self._folder / str(project) / str(number), fill)

    def newest(self, project: int) -> Candidate | None:
        """The latest candidate of a project; what cannot be read is none."""
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
        with (candidate.folder / TRIES).open("ab") as file:  # a byte a try
            file.write(b".")
            return file.tell() <= MOST_TRIES

    def begin_anew(self, candidate: Candidate) -> None:
        """Forget the tries: what went wrong had nothing to do with the candidate."""
        (candidate.folder / TRIES).unlink(missing_ok=True)

    def remove(self, project: int, judged: Candidate) -> None:
        """Forget a candidate and all before it."""
        for folder in self._folder.joinpath(str(project)).glob("[0-9]*"):
            if int(folder.name) <= judged.number:
                shutil.rmtree(folder, ignore_errors=True)
