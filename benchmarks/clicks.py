"""Warm and cold clicks over HTTP: a request as Label Studio sends it in, JSON out, 1280x960 photographs.

Cold: the first click on an image that the server has never seen (fetch, decode, embed, segment).
Warm: further clicks on images whose embedding is cached. The image comes from a local HTTP server.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import requests

from benchmarks.common import clickpick, jpeg, photographs, report, spread
from label_config import render
from tests.fakes.label_studio import FakeLabelStudio

HEIGHT, WIDTH = 960, 1280


def click(row: float, col: float, positive: bool, height: int = HEIGHT, width: int = WIDTH) -> dict[str, Any]:
    value = {"x": col / width * 100, "y": row / height * 100, "width": 0.2, "keypointlabels": ["object"]}
    return {
        "id": f"{row}-{col}", "type": "keypointlabels", "from_name": "click", "to_name": "image",
        "original_width": width, "original_height": height, "image_rotation": 0, "is_positive": positive,
        "value": value,
    }  # fmt: skip


def predict(server: str, body: dict[str, Any], clicks: list[dict[str, Any]]) -> float:
    """Seconds of one interactive request."""
    body = {**body, "params": {"context": {"result": clicks}}}
    started = time.perf_counter()
    answer = requests.post(f"{server}/predict", json=body, timeout=60)
    seconds = time.perf_counter() - started
    answer.raise_for_status()
    if not answer.json()["results"][0]["result"]:
        raise RuntimeError("the answer holds no mask")
    return seconds


def run(segmenter: str, images: int, clicks_each: int) -> None:
    config = render("click", ("object", "other"))
    rng = np.random.default_rng(0)
    cold, warm = [], []
    with FakeLabelStudio() as studio, tempfile.TemporaryDirectory() as folder:
        project = studio.add_project(config)
        photos = photographs(images + 1, HEIGHT, WIDTH)
        tasks = [studio.upload(project, f"{n}.jpg", jpeg(photo)) for n, photo in enumerate(photos)]
        with clickpick(studio.url, studio.pat, Path(folder), segmenter=segmenter) as running:
            server = running.url
            for task in tasks:
                body = {"tasks": [studio.task_json(task)], "project": f"{project}.1", "label_config": config}
                clicks: list[dict[str, Any]] = []
                for number in range(clicks_each):
                    row, col = rng.uniform(0.2, 0.8) * HEIGHT, rng.uniform(0.2, 0.8) * WIDTH
                    clicks.append(click(row, col, number % 3 != 2))
                    seconds = predict(server, body, clicks)
                    if task != tasks[0]:  # the first image builds the model
                        (warm if number else cold).append(seconds)
    size = f"{WIDTH}x{HEIGHT}"
    report("cold click", segmenter=segmenter, image=size, **spread(cold))
    report("warm click", segmenter=segmenter, image=size, clicks_per_image=clicks_each, **spread(warm))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segmenter", nargs="+", default=["clicknet"])
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--clicks", type=int, default=8)
    chosen = parser.parse_args()
    for name in chosen.segmenter:
        run(name, chosen.images, chosen.clicks)
