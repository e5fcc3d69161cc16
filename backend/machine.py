"""Where a figure was measured: the machine, and the versions of what matters."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

DISTRIBUTIONS = ("clickpick", "torch", "timm", "numpy")


def machine() -> dict[str, Any]:
    """Processor, number of cores, GPU (None without) and Python of this machine, as JSON values."""
    import torch  # noqa: PLC0415 - seconds to import

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
    }


def versions(*others: str) -> dict[str, str]:
    """Versions of ``DISTRIBUTIONS``, of ``others``, and of OpenCV, whose distribution has several names."""
    import cv2  # noqa: PLC0415 - as above

    found = {name: version(name) for name in (*DISTRIBUTIONS, *others)}
    return {**found, "opencv": str(cv2.__version__)}
