"""How this process keeps memory that it has freed, for what it allocates next, and how much of it."""

from __future__ import annotations

import ctypes
import mmap
import sys
import threading
import time
from pathlib import Path

MEGABYTE = 1 << 20
# Of mallopt(3), GNU C library.
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
KEPT = 256 * MEGABYTE
"""Freed memory at the end of an arena that is not given back to the system."""
MAPPED = 32 * MEGABYTE
"""Arrays from this size on, the largest that the library takes, are mapped and given back one by one."""
ARENAS = 2
"""Threads share them, which bounds what is kept; an arena a thread would keep many times as much."""
GIVER = "give-back-memory"
LOOK_SECONDS = 10.0
MOST_FREE = 512 * MEGABYTE
"""Resident memory that the library does not know to be in use: freed arrays, and some 100 MB of Python's own."""


_starting = threading.Lock()


class _Mallinfo2(ctypes.Structure):
    """Of mallinfo2(3), in bytes. used: of arenas, mapped: arrays from MAPPED on."""

    _fields_ = (
        ("arena", ctypes.c_size_t),
        ("_chunks", ctypes.c_size_t * 3),
        ("mapped", ctypes.c_size_t),
        ("_others", ctypes.c_size_t * 2),
        ("used", ctypes.c_size_t),
        ("_free", ctypes.c_size_t * 2),
    )


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


def give_back_freed_memory(most: int = MOST_FREE) -> int:
    """Where more than ``most`` bytes are resident and not in use, give them back; how many there were, else 0.

    What stays for long, as cached embeddings do, comes to lie between what was freed long ago: without this the gaps
    add up for hours. The next arrays meet fresh pages, which is why it is not done at once.
    """
    library = ctypes.CDLL(None)
    if not sys.platform.startswith("linux") or not hasattr(library, "mallinfo2"):  # GNU C library 2.33
        return 0
    library.mallinfo2.restype = _Mallinfo2
    heap = library.mallinfo2()
    resident, of_files = map(int, Path("/proc/self/statm").read_text().split()[1:3])
    unused = (resident - of_files) * mmap.PAGESIZE - int(heap.used + heap.mapped)
    if unused <= most:
        return 0
    library.malloc_trim(0)
    return unused


def bound_freed_memory() -> None:
    """See to it from now on, in the background, that freed memory goes back; once a process."""
    with _starting:
        if not any(thread.name == GIVER for thread in threading.enumerate()):
            threading.Thread(target=_give_back_for_ever, name=GIVER, daemon=True).start()


def _give_back_for_ever() -> None:
    while True:
        time.sleep(LOOK_SECONDS)
        give_back_freed_memory()
