"""Memory that was freed is used again."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource, sys
import numpy as np
from backend.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def work():
    kept = [np.ones((960, 1280), dtype=np.float32) for _ in range(4)]
    return kept
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.unit
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of the GNU C library")
def test_arrays_are_written_where_others_were() -> None:
    faults = {}
    for mode in ("plain", "keep"):
        command = [sys.executable, "-c", CODE, mode]
        faults[mode] = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert faults["keep"] < 100
    assert faults["plain"] > 10 * faults["keep"], "else the setting is not needed"


GAPS = """
import os
import numpy as np
from backend.memory import give_back_freed_memory, keep_freed_memory
keep_freed_memory()
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
first = resident()
arrays = [np.ones((960, 1280), dtype=np.float32) for _ in range(160)]
kept = arrays[::8]
del arrays
before, given = resident(), give_back_freed_memory() >> 20
assert give_back_freed_memory() == 0, "there is nothing left to give"
assert all(array[0, 0] == 1 for array in kept)
print(before - first, given, resident() - first)
"""


@pytest.mark.unit
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a call of the GNU C library")
def test_memory_between_what_is_in_use_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", GAPS], capture_output=True, check=True, text=True)
    before, given, after = map(int, done.stdout.split())
    assert before > 700, "megabytes: 160 arrays of 4.7"
    assert given > 600
    assert after < 150, "the twenty that are kept"
