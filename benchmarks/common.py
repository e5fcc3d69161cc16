"""What the benchmarks share: JSON lines, photographs, a running ClickPick."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.demo.clickpick import ClickPickServer
from backend.machine import machine, versions
from backend.memory import keep_freed_memory

ROOT = Path(__file__).resolve().parent.parent
keep_freed_memory()  # as the service does


def report(benchmark: str, **figures: Any) -> None:
    """One JSON line."""
    where = {**machine(), "versions": versions("label-studio-ml")}
    print(json.dumps({"benchmark": benchmark, **figures, "machine": where}), flush=True)


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Median and tails in milliseconds."""
    values = np.asarray(seconds) * 1000
    tails = {f"p{q}_ms": round(float(np.percentile(values, q)), 1) for q in (50, 95, 99)}
    return {"count": len(seconds), **tails}


def photographs(count: int, height: int, width: int) -> list[NDArray[np.uint8]]:
    """Crops of the photographs that ship inside scikit-image and scikit-learn, at one size."""
    from skimage import data  # noqa: PLC0415
    from sklearn.datasets import load_sample_images  # noqa: PLC0415

    sources = [data.astronaut(), data.coffee(), data.chelsea(), *load_sample_images().images]
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        source = Image.fromarray(sources[number % len(sources)])
        share = rng.uniform(0.6, 1.0)
        w, h = int(source.width * share), int(source.height * share)
        left, top = rng.integers(0, source.width - w + 1), rng.integers(0, source.height - h + 1)
        made.append(np.asarray(source.crop((left, top, left + w, top + h)).resize((width, height))))
    return made


def jpeg(image: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=92)
    return stream.getvalue()


def clickpick(url: str, token: str, data: Path, **settings: Any) -> ClickPickServer:
    """A ClickPick server as users run it: a context manager with a ``url``."""
    environment = {f"CLICKPICK_{name.upper()}": str(value) for name, value in settings.items()}
    return ClickPickServer(data, studio_url=url, token=token, settings=environment)
