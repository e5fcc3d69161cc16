"""How this process keeps memory that it has freed, for what it allocates next."""

from __future__ import annotations

import ctypes
import sys

MEGABYTE = 1 << 20
# Of mallopt(3), GNU C library.
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
KEPT = 256 * MEGABYTE
"""Freed memory at the end of an arena that is not given back to the system."""
MAPPED = 32 * MEGABYTE
"""Arrays from this size on, the largest that the library takes, are mapped and given back one by one."""
ARENAS = 2
"""Threads share them, which bounds what is kept; an arena a thread would keep many times as much."""


def keep_freed_memory() -> bool:
    """Let arrays of a photograph's size be written into memory that is there already; False where it cannot be said.

    By default each of them is fresh pages, which the system first clears: a third of the time of a click. Call it
    once, at the start of a process.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    settings = ((ARENA_MAX, ARENAS), (MMAP_THRESHOLD, MAPPED), (TRIM_THRESHOLD, KEPT))
    taken = [mallopt(name, value) for name, value in settings]
    return taken == [1] * len(settings)
