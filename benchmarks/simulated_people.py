"""People who know the truth and work through Label Studio's API: one classifies pixels, one clicks masks.

Each takes the next task as the label stream does, does what the editor would have them do, and submits the results that
the editor would store; what it costs is counted in `benchmarks.human_time`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import cv2
import numpy as np
import requests
from numpy.typing import NDArray

from benchmarks.human_time import ToolTimes, Work
from label_config import VOID, read_mask, read_schema
from model_zoo.evaluation.clicker import center_click
from model_zoo.evaluation.metrics import iou
from model_zoo.prompt import Click

UNLABELLED = 255
PATIENCE = 300.0
SMALLEST = 200
"""Pixels of a part of the truth below which nobody clicks a mask for it: a tenth of a percent of 480x360."""
GOOD = 0.85
MOST_CLICKS = 5
POOR = 0.5
"""IoU below which the mask is rejected after the last click: it would teach more wrong than right."""


class Stream:
    """The label stream of a project, as the logged-in user has it. truths: by task, uint8 (H, W), 255 for void."""

    def __init__(
        self,
        url: str,
        session: requests.Session,
        project: int,
        truths: Mapping[int, NDArray[np.uint8]],
    ) -> None:
        self._url = url
        self._session = session
        self.project = project
        self.truths = truths
        config = self.call("GET", f"/api/projects/{project}")["label_config"]
        self.schema = read_schema(config).images[0]
        (self.backend,) = (one["id"] for one in self.call("GET", "/api/ml", params={"project": project}))

    def call(self, method: str, path: str, **body: Any) -> Any:
        answer = self._session.request(method, self._url + path, timeout=300, **body)
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json() if answer.content else None

    def next_task(self) -> dict[str, Any] | None:
        """The task that Label Studio serves, with its predictions; None where nothing is left."""
        path = f"{self._url}/api/dm/actions?id=next_task&project={self.project}"
        answer = self._session.post(path, json={}, timeout=300)
        if answer.status_code == requests.codes.not_found:
            return None
        answer.raise_for_status()
        return dict(self.call("GET", f"/api/tasks/{answer.json()['id']}/"))

    def queries(self, task: Mapping[str, Any], *, newest: bool) -> tuple[list[dict[str, Any]], int]:
        """The queries that the editor shows in a task, in its order, and the number of the prediction they are from.

        newest: of the prediction made last, whichever version the project serves.
        """
        shown = list(task["predictions"]) if newest else self._served(int(task["id"]))
        latest = max(shown, key=lambda one: one["id"])
        queries = [dict(one) for one in latest["result"] if one["from_name"] == self._query]
        return queries, int(latest["id"])

    def _served(self, task: int) -> list[dict[str, Any]]:
        """A task's predictions of the version that the project serves, waited for: these people take no time."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            served = self.call("GET", f"/api/projects/{self.project}")["model_version"]
            found = self.call("GET", f"/api/tasks/{task}/")["predictions"]
            if shown := [one for one in found if one["model_version"] == served]:
                return shown
            time.sleep(0.5)
        raise TimeoutError(f"task {task} got no prediction of {served}")

    @property
    def _query(self) -> str:
        assert self.schema.query is not None
        return self.schema.query.name

    def truth_at(self, task: int, query: Mapping[str, Any]) -> str:
        """The class at a query, or void."""
        truth = self.truths[task]
        height, width = truth.shape
        row = min(height - 1, int(query["value"]["y"] / 100 * height))
        col = min(width - 1, int(query["value"]["x"] / 100 * width))
        index = int(truth[row, col])
        return VOID if index == UNLABELLED else self.schema.classes[index]


@dataclass(frozen=True)
class Turn:
    """What one task gave: answered pixels, or masks that were kept and what they are worth, and clicks."""

    pixels: int = 0
    masks: int = 0
    clicks: int = 0
    rejected: int = 0
    iou: float = 0.0


class PixelPerson:
    """Answers queries: with the ring comes a look, then the key of the class; where it shows the class, only a look.

    own_tool: in place of Label Studio's two keys a pixel one key, which also shows the next pixel at once.
    """

    def __init__(self, stream: Stream, tool: ToolTimes, *, own_tool: bool = False) -> None:
        self.work = Work()
        self._stream = stream
        self._tool = tool
        self._own_tool = own_tool

    def annotate(self, task: Mapping[str, Any], earlier: list[dict[str, Any]] | None = None) -> Turn:
        """Answer a task's queries and submit; ``earlier``: results of its annotation, which is then updated."""
        stream, number = self._stream, int(task["id"])
        before = self.work.seconds(self._tool)
        queries, parent = stream.queries(task, newest=earlier is not None)
        self.work.add(look=1)
        last_changed = -1
        for place, query in enumerate(queries):
            self.work.add(look=1, **({} if self._own_tool else {"key": 1, "ring": 1}))
            right = stream.truth_at(number, query)
            if query["value"]["keypointlabels"] == [right]:
                query["origin"] = "prediction"
                continue
            self.work.add(key=1)
            query["value"] = {**query["value"], "keypointlabels": [right]}
            query["origin"] = "prediction-changed"
            last_changed = place
        results = [*(earlier or ()), *queries]
        if last_changed < len(queries) - 1:
            self.work.add(key=1)
            results.append(_rest(queries[0]))
        self.work.add(**({"key": 1} if self._own_tool else {"key": 2, "task": 1}))
        seconds = self.work.seconds(self._tool) - before
        if earlier is None:
            body = {"result": results, "lead_time": seconds, "parent_prediction": parent}
            stream.call("POST", f"/api/tasks/{number}/annotations/", json=body)
        else:
            annotation = task["annotations"][0]["id"]
            stream.call("PATCH", f"/api/annotations/{annotation}/", json={"result": results})
        return Turn(pixels=len(queries))


def _rest(query: Mapping[str, Any]) -> dict[str, Any]:
    """The choice that confirms what stands after the last change."""
    same = {name: query[name] for name in ("to_name", "original_width", "original_height", "image_rotation")}
    value = {"choices": ["the rest is right"]}
    return {
        **same,
        "id": uuid4().hex[:10],
        "from_name": "rest",
        "type": "choices",
        "origin": "manual",
        "value": value,
    }


class ClickPerson:
    """Clicks a mask of every part of every class, the largest first, until it is good or clicks are used up."""

    def __init__(self, stream: Stream, tool: ToolTimes) -> None:
        self.work = Work()
        self._stream = stream
        self._tool = tool

    def annotate(self, task: Mapping[str, Any]) -> Turn:
        """Mask one task's parts and submit; parts that lie on others come later, and win where masks overlap."""
        number = int(task["id"])
        before = self.work.seconds(self._tool)
        self.work.add(look=1, key=1)  # the smart tool
        kept, ious, clicks, rejected = [], [], 0, 0
        for label, part in self._parts(number):
            mask, quality, made = self._click(number, label, part)
            clicks += made
            if quality >= POOR:
                kept.append(mask)
                ious.append(quality)
            else:
                rejected += 1
        self.work.add(key=2, task=1)
        seconds = self.work.seconds(self._tool) - before
        body = {"result": kept, "lead_time": seconds}
        self._stream.call("POST", f"/api/tasks/{number}/annotations/", json=body)
        return Turn(masks=len(kept), clicks=clicks, rejected=rejected, iou=float(np.mean(ious or [0.0])))

    def _parts(self, task: int) -> list[tuple[str, NDArray[np.uint8]]]:
        """(class, uint8 (H, W): 1 the part, 0 elsewhere, 255 void), the largest part first."""
        truth = self._stream.truths[task]
        found = []
        for index, label in enumerate(self._stream.schema.classes):
            count, names, stats, _ = cv2.connectedComponentsWithStats((truth == index).astype(np.uint8))
            for name in range(1, count):
                if stats[name, cv2.CC_STAT_AREA] >= SMALLEST:
                    part = (names == name).astype(np.uint8)
                    part[truth == UNLABELLED] = UNLABELLED
                    found.append((label, part))
        return sorted(found, key=lambda one: -np.count_nonzero(one[1] == 1))

    def _click(self, task: int, label: str, part: NDArray[np.uint8]) -> tuple[dict[str, Any], float, int]:
        """The mask as the editor stores it, its IoU, and the number of clicks."""
        clicks: tuple[Click, ...] = ()
        shown = np.zeros(part.shape, dtype=np.bool_)
        region: dict[str, Any] = {}
        quality = 0.0
        self.work.add(look=1, key=1)  # which part next; its class
        while len(clicks) < MOST_CLICKS and quality < GOOD:
            click = center_click(shown, part, clicks)
            if click is None:
                break
            clicks = (*clicks, click)
            region = self._ask(task, label, clicks, part.shape)
            read = read_mask(self._stream.schema, {**region, "origin": "manual"})
            if read is None:
                raise RuntimeError(f"task {task}: the answer to {len(clicks)} clicks is no mask")
            shown = read.mask
            quality = iou(part, shown)
            # aim and press, Alt with it where it is negative; then the mask, and a look at it
            self.work.add(point=1, key=0 if click.positive else 1, mask=1, look=1)
        self.work.add(point=1, accept=1)  # the tick, or the cross
        return {**region, "origin": "manual"}, quality, len(clicks)

    def _ask(self, task: int, label: str, clicks: tuple[Click, ...], size: tuple[int, ...]) -> dict[str, Any]:
        control = self._stream.schema.click
        assert control is not None
        height, width = size[:2]
        context = [
            {
                "id": f"c{place}", "type": "keypointlabels", "from_name": control.name,
                "to_name": self._stream.schema.name, "original_width": width, "original_height": height,
                "image_rotation": 0, "origin": "manual", "is_positive": click.positive,
                "value": {
                    "x": click.col / width * 100, "y": click.row / height * 100, "width": 0.2, "labels": [label],
                    "keypointlabels": [label],
                },
            }
            for place, click in enumerate(clicks)
        ]  # fmt: skip
        path = f"/api/ml/{self._stream.backend}/interactive-annotating"
        answer = self._stream.call("POST", path, json={"task": task, "context": {"result": context}})
        (region,) = answer["data"]["result"]
        return dict(region)
