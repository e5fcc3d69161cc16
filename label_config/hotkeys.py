"""Keys for labels: the ones that Label Studio leaves free, each given once.

Label Studio gives a key of its own choice to every label without ``hotkey``, B, E and M of its tools included
(``makeComb`` in the editor's Hotkey.ts, 1.23.2). A label that shall have none therefore gets NO_KEY, a character
that no keyboard sends as a key code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

DIGITS = "123456789"
VOID_KEY = "0"
LETTERS = "acdfgijlnqstxyz"
"""The letters that no tool of Label Studio's default keymap uses."""

TOOL_LETTERS = frozenset("behkmopruvw")
"""The letters that Label Studio's tools use; a label with one of them steals it."""

NO_KEY = "–"


class KeyRing:
    """Hands out each free key once; ``taken`` are keys that are in use already."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {key.lower() for key in taken}

    def take(self, count: int, keys: str) -> Sequence[str]:
        """``count`` keys in the order of ``keys``; NO_KEY where they run out."""
        free = [key for key in keys if key not in self._taken][:count]
        self._taken.update(free)
        return [*free, *[NO_KEY] * (count - len(free))]
