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
