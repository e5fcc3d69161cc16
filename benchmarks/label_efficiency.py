"""Seconds of human work until a model is nearly as good as with every pixel labelled: three ways of labelling.

A real Label Studio with CamVid's training images, a ClickPick that learns, and a simulated person (see
`benchmarks.simulated_people`) whose keys, clicks and looks are counted; after every few tasks the live version is
measured on the validation images. ``full``: what is aimed at, the same learner on every labelled pixel. ``clicks``:
masks of whole images. ``pixelpick``: as published, 10 pixels an image in all images at each step, random ones first,
then by margin, with its own tool's one key a pixel. ``clickpick``: the defaults; rounds are waited for after every task
at first, later after every ``--every`` tasks, as if they took that long. JSON lines, which
`benchmarks.plot_label_efficiency` draws.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from backend.learning.simulate import measure
from benchmarks.camvid_project import CamVid, Place, labelling, read_camvid
from benchmarks.common import ROOT, report
from benchmarks.human_time import LOOK, ToolTimes, seconds
from benchmarks.simulated_people import ClickPerson, PixelPerson, Turn
from label_config.templates import Kind
from model_zoo.evaluation.metrics import mean_iou
from model_zoo.learners.base import LabelledImage, Learner
from model_zoo.registry import create_learner

LEARNER = "probe-lite0"
STEPS = 10
NEVER = 10.0**6
SLOW = {"debounce_seconds": NEVER, "debounce_limit_seconds": NEVER}
SETTINGS: dict[str, dict[str, Any]] = {
    "clicks": {"debounce_seconds": 0.2},
    "clickpick": {"debounce_seconds": 0.2},
    "pixelpick": {
        **SLOW,
        "initial": "random",
        "acquisition": "margin",
        "selection": "top5",
        "confirm_from": 2,
    },
}
FIRST = (1, 2, 3, 5, 7, 10, 15, 20)
"""Tasks after which the first rounds are waited for."""


def tell(
    way: str, place: Place, person: PixelPerson | ClickPerson, turns: list[Turn], tool: ToolTimes
) -> float:
    """A line of figures; returns the mIoU in percent."""
    miou = place.miou() * 100
    report(
        "label efficiency",
        way=way,
        tasks=len(turns),
        pixels=sum(turn.pixels for turn in turns),
        masks=sum(turn.masks for turn in turns),
        rejected_masks=sum(turn.rejected for turn in turns),
        clicks=sum(turn.clicks for turn in turns),
        mask_iou=round(float(np.mean([turn.iou for turn in turns])), 3),
        counts=dict(person.work.counts),
        seconds=round(person.work.seconds(tool)),
        seconds_if_looks_take_half=round(seconds(person.work.counts, tool, look=LOOK / 2)),
        seconds_if_looks_take_double=round(seconds(person.work.counts, tool, look=LOOK * 2)),
        miou=round(miou, 2),
    )
    return miou


def one_after_another(
    way: str,
    place: Place,
    person: PixelPerson | ClickPerson,
    tool: ToolTimes,
    options: argparse.Namespace,
) -> None:
    """Tasks as the label stream serves them, until three figures reach the goal or nothing is left."""
    place.wait_for_round(0.0, whole=True)  # the first queries
    turns: list[Turn] = []
    reached = 0
    while reached < 3 and len(turns) < options.most_tasks:
        task = place.stream.next_task()
        if task is None:
            return
        submitted = time.time()
        turns.append(person.annotate(task))
        count = len(turns)
        if count in FIRST or count % options.every == 0:
            place.wait_for_round(submitted)
        if count in options.first_measured or count % options.measured == 0:
            reached += tell(way, place, person, turns, tool) >= options.goal


def all_at_once(place: Place, person: PixelPerson, tool: ToolTimes, goal: float) -> None:
    """Ten pixels in every image, then training, then ten more; until the goal is reached."""
    place.train()  # the first queries
    turns: list[Turn] = []
    for step in range(STEPS):
        for task in _asked_again(place) if step else _first_step(place):
            earlier = task["annotations"][0]["result"] if step else None
            turns.append(person.annotate(task, earlier))
        place.train()
        if tell("pixelpick", place, person, turns, tool) >= goal:
            return


def _first_step(place: Place) -> Iterator[dict[str, Any]]:
    while (task := place.stream.next_task()) is not None:
        yield task


def _asked_again(place: Place) -> Iterator[dict[str, Any]]:
    """All tasks with the next queries, which the live version is asked for as by "Retrieve predictions"."""
    numbers = sorted(place.stream.truths)
    for start in range(0, len(numbers), 25):
        chosen = {"selectedItems": {"all": False, "included": numbers[start : start + 25]}}
        path = f"/api/dm/actions?id=retrieve_tasks_predictions&project={place.project}"
        place.stream.call("POST", path, json=chosen)
        for number in numbers[start : start + 25]:
            yield dict(place.stream.call("GET", f"/api/tasks/{number}/"))


def full(camvid: CamVid) -> None:
    """The learner on every labelled pixel; its own choice of them bounds what a fit costs."""
    nobody = np.zeros(0, dtype=np.int64)
    labelled = [
        LabelledImage(key=one.key, load=one.load, rows=nobody, cols=nobody, labels=nobody, dense=one.truth())
        for one in camvid.train
    ]
    learner: Learner = create_learner(LEARNER)
    learner.fit(labelled, camvid.classes, seed=0)
    miou = mean_iou(measure(learner, camvid.test, len(camvid.classes)))
    report("label efficiency", way="full", tasks=len(camvid.train), miou=round(miou * 100, 2))


def run(options: argparse.Namespace) -> None:
    camvid = read_camvid(options.camvid, options.thin)
    tool = ToolTimes(**json.loads(options.key_times.read_text())["seconds"])
    if "full" in options.ways:
        full(camvid)
    for way in (way for way in options.ways if way != "full"):
        kind: Kind = "both" if way == "clicks" else "pixel"
        with labelling(kind, camvid, options.label_studio, SETTINGS[way], options.port) as at:
            if way == "pixelpick":
                all_at_once(at, PixelPerson(at.stream, tool, own_tool=True), tool, options.goal)
            else:
                person = PixelPerson(at.stream, tool) if way == "clickpick" else ClickPerson(at.stream, tool)
                one_after_another(way, at, person, tool, options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    default = ROOT / ".venv-labelstudio" / "bin" / "label-studio"
    parser.add_argument(
        "camvid", type=Path, help="folder with train, train_labels, val, val_labels, classes.txt"
    )
    parser.add_argument("--key-times", type=Path, required=True, help="a line of benchmarks.key_times")
    parser.add_argument("--ways", nargs="+", default=["full"], choices=["full", *SETTINGS])
    parser.add_argument(
        "--goal", type=float, default=101.0, help="mIoU in percent; three figures above it end a way"
    )
    parser.add_argument("--every", type=int, default=5, help="tasks between the rounds that are waited for")
    parser.add_argument("--measured", type=int, default=20, help="tasks between figures")
    parser.add_argument("--first-measured", type=int, nargs="*", default=[5, 10])
    parser.add_argument("--most-tasks", type=int, default=10_000)
    parser.add_argument(
        "--port", type=int, default=8180, help="of Label Studio; several runs at once need several"
    )
    parser.add_argument("--thin", type=int, default=1, help="every n-th image only, for a try")
    parser.add_argument("--label-studio", type=Path, default=default)
    run(parser.parse_args())
