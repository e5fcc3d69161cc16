"""ClickPick and HumanSignal's segment_anything example, side by side on one random SAM ViT-B.

Usage: python -m benchmarks.against_example EXAMPLE SEGMENT_ANYTHING, where EXAMPLE is a checkout of
github.com/HumanSignal/label-studio-ml-backend (compared at d02cedf) and SEGMENT_ANYTHING one of
github.com/facebookresearch/segment-anything (dca509f), which the example installs. Both are servers of their own, one
after the other, with one worker of threads as each starts itself: the example with the command of its Dockerfile, 8
threads. Images (1280x960) come from a stand-in for Label Studio; the clicks are the same for both, and nothing is
opened before, so that the first click on an image pays for encoding it. The example knows ViT-H only: here its
"vit_h" is ViT-B. Its import of label_studio_converter is answered by the same code in label-studio-sdk.

"together": so many annotators, an image each, all at once on a fresh server. "alone": the same clicks of the first ones
on a fresh server, one annotator after another; masks that differ from these were mixed with somebody else's. "return":
click on image A, click on image B, and the time of a second click on A.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import requests
import torch

from backend.demo.process import LOOPBACK, ServerProcess, free_port, with_no_proxy
from benchmarks.clicks import HEIGHT, WIDTH, click
from benchmarks.common import clickpick, jpeg, photographs, report
from label_config import render
from model_zoo.weight_store import import_file
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.studio_tokens import LEGACY_TOKEN
from tests.model_zoo.segmenters.sam_random import state

SEGMENTER = "sam-vit-b"
TIMEOUT = 3600.0
SERVER = """
import segment_anything
segment_anything.sam_model_registry["vit_h"] = segment_anything.sam_model_registry["vit_b"]
from label_studio_ml.api import init_app
from model import SamMLBackend
app = init_app(SamMLBackend)
"""
CONVERTER = "from label_studio_sdk.converter import brush\n"
Clicks = list[dict[str, Any]]


class Labelling:
    """A project of one task an annotator, and what each of them clicks, the same at every call."""

    def __init__(self, studio: FakeLabelStudio, annotators: int, clicks: int) -> None:
        self.config = render("click", ("object", "other"))
        self.project = studio.add_project(self.config)
        rng = np.random.default_rng(0)
        self.tasks, self.clicks = [], []
        for number, photo in enumerate(photographs(annotators, HEIGHT, WIDTH)):
            task = studio.upload(self.project, f"{number}.jpg", jpeg(photo))
            self.tasks.append(studio.task_json(task))
            places = rng.uniform(0.2, 0.8, (clicks, 2)) * (HEIGHT, WIDTH)
            self.clicks.append([click(*place, turn % 3 != 2) for turn, place in enumerate(places)])

    def send(self, server: str, annotator: int, clicks: Clicks) -> tuple[float, str]:
        """Seconds, and the digest of the mask; an answer without one has its status instead."""
        body = {"tasks": [self.tasks[annotator]], "project": f"{self.project}.1", "label_config": self.config}
        started = time.perf_counter()
        answer = requests.post(
            f"{server}/predict", json={**body, "params": {"context": {"result": clicks}}}, timeout=TIMEOUT
        )
        seconds = time.perf_counter() - started
        if answer.status_code != 200:
            return seconds, f"error {answer.status_code}"
        result = answer.json()["results"][0]["result"]
        rle = json.dumps([region["value"].get("rle") for region in result])
        return seconds, hashlib.sha256(rle.encode()).hexdigest()[:16]

    def work(self, server: str, annotator: int) -> list[str]:
        """All clicks of an annotator; the masks."""
        clicks = self.clicks[annotator]
        return [self.send(server, annotator, clicks[: turn + 1])[1] for turn in range(len(clicks))]


def processor_seconds() -> float:
    """Of this process's servers so far; other people's work on the machine does not change it, unlike the time."""
    times = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    return sum(one.user + one.system for one in times)


def measure(
    name: str, fresh: Callable[[], Any], labelling: Labelling, repeats: int, alone_too: int
) -> dict[str, Any]:
    """The throughput is that of clicks that got an answer.

    fresh: a context with the address of a server that has seen nothing but a click on an image of its own.
    """
    everybody = range(len(labelling.tasks) - 1)  # the last task is for warming up
    with fresh() as server:
        back = _returns(server, labelling, repeats)
        alone = [labelling.work(server, one) for one in everybody[:alone_too]]
    with fresh() as server, ThreadPoolExecutor(len(everybody)) as people:
        started, used = time.perf_counter(), processor_seconds()
        together = list(people.map(lambda one: labelling.work(server, one), everybody))
        seconds, used = time.perf_counter() - started, processor_seconds() - used
    answers = sum(not one.startswith("error") for masks in together for one in masks)
    pairs = [
        (one, two)
        for here, there in zip(together, alone, strict=False)
        for one, two in zip(here, there, strict=True)
        if not one.startswith("error")
    ]
    found = {
        "return_s": [round(one, 3) for one in back],
        "return_median_s": round(float(np.median(back)), 3),
        "clicks": sum(map(len, together)),
        "answered": answers,
        "together_s": round(seconds, 2),
        "together_processor_s": round(used, 2),
        "clicks_per_second": round(answers / seconds, 4),
        "clicks_per_processor_second": round(answers / used, 4),
        "compared_with_alone": len(pairs),
        "unlike_alone": sum(one != two for one, two in pairs),
        "different_masks_alone": len({mask for masks in alone for mask in masks}),
    }
    report(
        "against the example", server=name, annotators=len(everybody), weights="sam-vit-b, random", **found
    )
    return found


def _returns(server: str, labelling: Labelling, repeats: int) -> list[float]:
    """Seconds of a second click on an image, after one on another image."""
    first, second = (labelling.clicks[annotator] for annotator in (0, 1))
    labelling.send(server, 0, first[:1])
    seconds = []
    for turn in range(repeats):
        labelling.send(server, 1, second[: turn + 1])
        seconds.append(labelling.send(server, 0, first[: turn + 2])[0])
    report("return to an image", return_s=[round(one, 3) for one in seconds])
    return seconds


@contextmanager
def ours(studio: FakeLabelStudio, labelling: Labelling, weights: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        settings = {"segmenter": SEGMENTER, "weights": weights, "answer_seconds": TIMEOUT}
        with clickpick(studio.url, studio.pat, Path(folder), **settings) as server:
            labelling.send(server.url, -1, labelling.clicks[-1][:1])
            yield server.url


@contextmanager
def theirs(
    studio: FakeLabelStudio, labelling: Labelling, checkouts: tuple[Path, Path], checkpoint: Path
) -> Iterator[str]:
    example, segment_anything = checkouts
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "their_server.py").write_text(SERVER)
        (home / "label_studio_converter").mkdir()
        (home / "label_studio_converter" / "__init__.py").write_text(CONVERTER)
        folders = (
            home,
            example / "label_studio_ml/examples/segment_anything_model",
            example,
            segment_anything,
        )
        environment = {
            "PYTHONPATH": os.pathsep.join(map(str, folders)),
            "SAM_CHOICE": "SAM",
            "VITH_CHECKPOINT": str(checkpoint),
            "LABEL_STUDIO_URL": studio.url,
            "LABEL_STUDIO_API_KEY": LEGACY_TOKEN,
            "HOME": folder,
            "XDG_CACHE_HOME": folder,
            "MODEL_DIR": folder,
        }
        port = free_port(9191)
        command = [sys.executable, "-m", "gunicorn", "--bind", f"{LOOPBACK}:{port}", "--workers", "1"]
        command += ["--threads", "8", "--timeout", "0", "--no-control-socket", "their_server:app"]
        log = home / "log"
        server = ServerProcess("the example", command, log, with_no_proxy({**os.environ, **environment}))
        try:
            server.start()
            server.wait_until_ready(f"http://{LOOPBACK}:{port}/health", timeout=300)
            _, said = labelling.send(f"http://{LOOPBACK}:{port}", -1, labelling.clicks[-1][:1])
            if said.startswith("error"):
                raise RuntimeError(f"{said}; {server.last_words()}")
            yield f"http://{LOOPBACK}:{port}"
        finally:
            server.stop()


def random_weights(segment_anything: Path, folder: Path) -> Path:
    """A file as the authors publish it."""
    sys.path.insert(0, str(segment_anything))
    from segment_anything import sam_model_registry  # noqa: PLC0415 - of the checkout

    shapes = {name: tuple(value.shape) for name, value in sam_model_registry["vit_b"]().state_dict().items()}
    file = folder / "sam_vit_b.pth"
    torch.save(state(shapes), file)
    return file


def run(checkouts: tuple[Path, Path], annotators: int, clicks: int, repeats: int, alone: int) -> None:
    os.environ.pop("OMP_NUM_THREADS", None)  # each server chooses
    with FakeLabelStudio() as studio, tempfile.TemporaryDirectory() as folder:
        studio.tokens.legacy_enabled = True
        labelling = Labelling(studio, annotators + 1, clicks)
        checkpoint = random_weights(checkouts[1], Path(folder))
        weights = Path(folder) / "weights"
        import_file(SEGMENTER, checkpoint, weights, own=True)
        we = measure("ClickPick", lambda: ours(studio, labelling, weights), labelling, repeats, alone)
        they = measure(
            "the example", lambda: theirs(studio, labelling, checkouts, checkpoint), labelling, repeats, alone
        )
    per_second, per_processor_second = (
        round(we[part] / they[part], 1) for part in ("clicks_per_second", "clicks_per_processor_second")
    )
    report(
        "against the example, ratios",
        return_times_faster=round(they["return_median_s"] / we["return_median_s"], 1),
        throughput_times=per_second,
        throughput_times_by_processor_time=per_processor_second,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("example", type=Path)
    parser.add_argument("segment_anything", type=Path)
    parser.add_argument("--annotators", type=int, default=8)
    parser.add_argument("--clicks", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--alone", type=int, default=8, help="annotators whose clicks are made alone, too")
    chosen = parser.parse_args()
    run(
        (chosen.example.resolve(), chosen.segment_anything.resolve()),
        chosen.annotators,
        chosen.clicks,
        chosen.repeats,
        chosen.alone,
    )
