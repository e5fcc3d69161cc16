"""Seconds of a person's work: what people do, how often, and how long each of it takes.

Times of people are those of the keystroke-level model (Card, Moran, Newell, CACM 1980), the same for everything that is
compared: a key 0.28 s (an average typist), pointing with the mouse and clicking 1.1 + 0.2 s, and 1.35 s for a look and
a decision. What the tool makes people wait for is measured in a browser, by `benchmarks.key_times`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass

KEY = 0.28
POINT = 1.1 + 0.2
LOOK = 1.35


@dataclass(frozen=True)
class ToolTimes:
    """Seconds from a press to what it shows: the next ring, a label, the next task, a mask, an accepted mask."""

    ring: float
    label: float
    task: float
    mask: float
    accept: float


class Work:
    """What a person has done so far: looks, keys and points, and what was waited for."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, **counts: int) -> None:
        """``look``, ``key``, ``point``, or a field of ``ToolTimes``."""
        self.counts.update(counts)

    def seconds(self, tool: ToolTimes) -> float:
        return seconds(self.counts, tool)


def seconds(counts: Mapping[str, int], tool: ToolTimes, *, look: float = LOOK) -> float:
    """Of so many looks, keys, points and waits. look: seconds of one, for other assumptions than the usual."""
    each = {"key": KEY, "point": POINT, "look": look, **asdict(tool)}
    return sum(each[what] * count for what, count in counts.items())
