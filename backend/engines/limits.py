"""What a training process may take of the machine's memory, and how it is known that it has run out."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

MEGABYTE = 1 << 20
CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
GPU_SHARE = 0.6
"""Of a GPU's memory, for one training process: clicks need the rest."""
OOM_SCORE = 800
"""Added to the share of memory in thousandths by which the system chooses whom to kill; the web process has 0."""
TORCH_CPU = "can't allocate memory"


def memory_of_the_machine() -> int:
    """Bytes that this machine, or this container, has."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for file in CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # "max", or no such file
            found.append(int(file.read_text()))
    return min(found)


def cap_memory(megabytes: int, device: str) -> None:
    """Let this process have so much memory and no more, 0: half of the machine's; of a GPU's memory, GPU_SHARE.

    What goes beyond fails with MemoryError or torch's own error (``is_out_of_memory``), and nobody is killed for it.
    Linux only. With CUDA the process's own memory is not limited, since drivers map many times what they use.
    """
    if device.startswith("cuda"):
        import torch  # noqa: PLC0415 - seconds to import

        torch.cuda.set_per_process_memory_fraction(GPU_SHARE, torch.device(device))
    elif sys.platform.startswith("linux"):
        import resource  # noqa: PLC0415 - not everywhere

        limit = megabytes * MEGABYTE or memory_of_the_machine() // 2
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))


def put_first_to_die(pid: int) -> None:
    """Where the machine runs out of memory, the system kills that process before those that answer clicks."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(OOM_SCORE))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory to have, on the processor or on a GPU."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and TORCH_CPU in str(error)
    )
