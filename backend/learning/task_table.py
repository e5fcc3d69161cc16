"""What a round knows of each task of a project, 13 bytes a task: a million tasks are 13 MB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

SKIPPED = 1
"""Labelled, by no annotation that counts."""
DONE = 2
"""Label Studio has a prediction of the version that is pushed."""
IN_VAIN = 4
"""Tried, and could not be had."""


class TaskTable:
    """Columns over tasks in the order of their ids.

    ``ids``: (n,) int64, ascending. ``scores``: (n,) float32 in [0, 1], NaN where unknown. ``flags``: (n,) uint8.
    """

    def __init__(
        self,
        ids: NDArray[np.int64] | None = None,
        scores: NDArray[np.float32] | None = None,
        flags: NDArray[np.uint8] | None = None,
    ) -> None:
        self.ids = np.zeros(0, np.int64) if ids is None else ids
        self.scores = np.full(len(self.ids), np.nan, np.float32) if scores is None else scores
        self.flags = np.zeros(len(self.ids), np.uint8) if flags is None else flags

    @classmethod
    def joined(cls, tables: Sequence[TaskTable]) -> TaskTable:
        """One table of several, whose ids go up from one to the next."""
        if not tables:
            return cls()
        columns = ((table.ids, table.scores, table.flags) for table in tables)
        return cls(*(np.concatenate(parts) for parts in zip(*columns, strict=True)))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        return self.ids.nbytes + self.scores.nbytes + self.flags.nbytes

    @property
    def last(self) -> int:
        """The highest id; 0 where there is none."""
        return int(self.ids[-1]) if len(self.ids) else 0

    def places(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row of each of these ids, all of which the table has."""
        return np.searchsorted(self.ids, ids)

    def has(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the table has each of these ids."""
        if not len(self.ids):
            return np.zeros(len(ids), dtype=bool)
        places = np.minimum(self.places(ids), len(self.ids) - 1)
        return np.asarray(self.ids[places] == ids)

    def chosen(self, ids: NDArray[np.int64]) -> TaskTable:
        """A table of these ids with what is known of them here; of others nothing is."""
        made = TaskTable(ids)
        known = self.has(ids)
        places = self.places(ids[known])
        made.scores[known] = self.scores[places]
        made.flags[known] = self.flags[places]
        return made

    def mark(self, flag: int, where: NDArray[np.bool_]) -> None:
        """Set a flag where it says so, and take it from the others. ``where``: (n,)."""
        self.flags = np.where(where, self.flags | flag, self.flags & ~np.uint8(flag)).astype(np.uint8)

    def clear(self, flag: int) -> None:
        """Take a flag from all tasks."""
        self.flags &= ~np.uint8(flag)

    def count(self, flag: int) -> int:
        """Number of tasks that have a flag."""
        return int(np.count_nonzero(self.flags & flag))

    def note(self, tasks: Sequence[int], flag: int) -> NDArray[np.bool_]:
        """Set a flag of these tasks; whether the table has each."""
        ids = np.array(tasks, dtype=np.int64)
        known = self.has(ids)
        self.flags[self.places(ids[known])] |= flag
        return known

    def score(self, scores: Mapping[int, float], flag: int) -> NDArray[np.bool_]:
        """Note the scores of tasks, and set a flag of theirs; whether the table has each."""
        known = self.note(list(scores), flag)
        ids = np.fromiter(scores, np.int64, len(scores))
        values = np.fromiter(scores.values(), np.float32, len(scores))
        self.scores[self.places(ids[known])] = values[known]
        return known
