"""What a warm click costs beside the model: from the body of the request to that of the answer, in this process.

The application around a stand-in for Label Studio, clicks at 1280x960 on cached images, one after another; the time of
the segmenter's own calls is taken off. Waiting for a model thread, JSON both ways, the labelling config, repair,
warnings, RLE and the last look at the answer remain.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from flask import Flask
from pydantic import SecretStr

from backend.app import create_app
from backend.embeddings import Decoder
from backend.settings import Settings
from benchmarks.clicks import HEIGHT, WIDTH, click
from benchmarks.common import jpeg, photographs, report, spread
from label_config import render
from tests.fakes.label_studio import FakeLabelStudio


def timed(decoder: type[Decoder]) -> list[float]:
    """Seconds of each call of the decoder from now on."""
    seconds: list[float] = []
    decode = decoder.decode

    def measured(*call: Any) -> Any:
        started = time.perf_counter()
        mask = decode(*call)
        seconds.append(time.perf_counter() - started)
        return mask

    decoder.decode = measured  # type: ignore[method-assign]
    return seconds


def measure(app: Flask, project: int, config: str, tasks: list[dict[str, Any]], clicks_each: int) -> None:
    rng = np.random.default_rng(0)
    client = app.test_client()
    model, rest = timed(Decoder), []
    for task in tasks:
        clicks: list[dict[str, Any]] = []
        place = rng.uniform(0.2, 0.8, 2)
        for turn in range(clicks_each):
            row, col = np.clip(rng.normal(place, 0.08 * (turn > 0)), 0.01, 0.99) * (HEIGHT, WIDTH)
            clicks.append(click(row, col, turn % 3 != 2))
            body = {"tasks": [task], "project": f"{project}.1", "label_config": config}
            text = json.dumps({**body, "params": {"context": {"result": clicks}}})
            started = time.perf_counter()
            answer = client.post("/predict", data=text, content_type="application/json")
            seconds = time.perf_counter() - started
            if answer.status_code != 200 or not answer.json["results"][0]["result"]:
                raise RuntimeError(f"{answer.status_code}: the answer holds no mask")
            if turn:  # the first click fetches and encodes the image
                rest.append(seconds - model[-1])
    report("beside the model", image=f"{WIDTH}x{HEIGHT}", **spread(rest))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--clicks", type=int, default=8)
    chosen = parser.parse_args()
    labelling = render("click", ("object", "other"))
    with FakeLabelStudio() as studio, tempfile.TemporaryDirectory() as folder:
        number = studio.add_project(labelling)
        photos = photographs(chosen.images, HEIGHT, WIDTH)
        uploaded = [studio.upload(number, f"{n}.jpg", jpeg(photo)) for n, photo in enumerate(photos)]
        settings = Settings(
            _env_file=None,  # type: ignore[call-arg]
            label_studio_url=studio.url,
            label_studio_api_key=SecretStr(studio.pat),
            data=Path(folder),
            log_level="ERROR",
        )
        made = create_app(settings)
        try:
            measure(made, number, labelling, [studio.task_json(task) for task in uploaded], chosen.clicks)
        finally:
            made.extensions["clickpick"].stop()
