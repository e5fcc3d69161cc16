"""What a process of a Ray cluster becomes before it runs work of ours that nobody waits for: rounds, and scoring."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from backend.engines.limits import cap_memory
from backend.engines.process import CREDENTIALS, NICENESS
from backend.logs import configure_logging
from backend.memory import keep_freed_memory
from backend.round_queue import INSTANT, Kind
from backend.settings import Settings

BACKGROUND = {"env_vars": {"CLICKPICK_BACKGROUND": "1"}}
"""Ray's runtime_env of that work: such processes run nothing else, least of all what answers clicks."""
LOWEST = 19
_NICENESS = os.getpriority(os.PRIO_PROCESS, 0)


def for_workers(settings: Settings, gpus: float, **changes: Any) -> Settings:
    """The settings of work that has so many GPUs, as they travel: whole, but for what callers have to give.

    A device that is "auto" is found where the work runs, and is the processor for work without a GPU. Folders are
    those of this process, wherever the others were started.
    """
    if settings.device == "auto" and not gpus:
        changes["device"] = "cpu"
    changes["data"] = settings.data.absolute()
    changes["weights"] = settings.weights and settings.weights.absolute()
    values = {**settings.model_dump(), **dict.fromkeys(CREDENTIALS, ""), **changes}
    return Settings(_env_file=None, **values)


def become_background(settings: Settings, kind: Kind = INSTANT, gpus: float = 0.0) -> None:
    """Log as a training process does, with its priority and its share of the memory, and of processors what Ray gave.

    gpus: how much of one this process has.
    """
    configure_logging(settings.log_level, settings.log_format)
    keep_freed_memory()
    with contextlib.suppress(OSError):  # it was lower already
        os.setpriority(os.PRIO_PROCESS, 0, min(LOWEST, _NICENESS + NICENESS[kind]))
    import torch  # noqa: PLC0415 - seconds to import, and the web process imports this module

    torch.set_num_threads(max(1, int(settings.ray_round_cpus)))
    if settings.torch_device.startswith("cuda"):
        torch.cuda.set_per_process_memory_fraction(min(1.0, gpus or 1.0))
    else:
        cap_memory(settings.training_memory_mb, "cpu")
