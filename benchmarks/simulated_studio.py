"""A Label Studio of one pixel project with any number of tasks: it makes each task when it is asked for.

It keeps a score a task and version, and nothing else of predictions. What it answers is that part of the API of 1.23
that rounds use.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import jpeg
from label_config import render

PROJECT = 1
CLASSES = ("sky", "grass")
SIDE = 16
LABELS = 10
"""Pixels that people have classified in each annotated task."""
LONG_AGO = datetime(2026, 1, 1, tzinfo=timezone.utc)


class SimulatedStudio:
    """Tasks 1 to ``tasks``, of which the first ``annotated`` are annotated.

    ``order``: tasks of the predictions of each version, as they came. ``calls``: number of requests by what they are.
    ``most_data``: the longest page of tasks that was sent with their data.
    """

    def __init__(self, tasks: int, annotated: int) -> None:
        self.ids = np.arange(1, tasks + 1)
        self.config = render("pixel", CLASSES)
        self.served = ""
        self.scores: dict[str, NDArray[np.float32]] = {}
        self.order: dict[str, list[int]] = {}
        self.calls: dict[str, int] = {}
        self.most_data = 0
        self._annotated = np.zeros(tasks, dtype=bool)
        self._annotated[:annotated] = True
        self._late: dict[int, datetime] = {}
        self._lock = threading.Lock()
        picture = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
        picture[: SIDE // 2] = (60, 120, 220)
        self._picture = jpeg(picture)

    def annotate(self, task: int) -> None:
        """Somebody submits the task now."""
        with self._lock:
            self._annotated[task - 1] = True
            self._late[task] = datetime.now(timezone.utc)

    @property
    def token(self) -> str:
        return _token("refresh", 200 * 365 * 86_400)

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:  # noqa: PLR0911 - one a route
        """What is said to a request: something for JSON, or bytes."""
        parts = [part for part in path.split("/") if part]
        with self._lock:
            what = f"{method} {parts[-1] if not parts[-1].isdigit() else parts[-2]}"
            self.calls[what] = self.calls.get(what, 0) + 1
            match (method, *parts):
                case ("POST", "api", "token", "refresh"):
                    return {"access": _token("access", 86_400)}
                case ("GET", "data", "upload", *_):
                    return self._picture
                case (_, "api", "projects", _):
                    self.served = (body or {}).get("model_version", self.served)
                    return self._project()
                case ("GET", "api", "projects", _, "model-versions"):
                    return {name: self._count(name) for name in self.scores if self._count(name)}
                case ("DELETE", "api", "projects", _, "model-versions"):
                    scores = self.scores.pop(body["model_version"], np.zeros(0))
                    return {"deleted_predictions": int(np.count_nonzero(~np.isnan(scores)))}
                case ("POST", "api", "projects", _, "import", "predictions"):
                    return self._import(body)
                case ("GET", "api", "tasks"):
                    return self._list(query)
        raise KeyError(f"{method} {path}")

    def _project(self) -> dict[str, Any]:
        return {
            "id": PROJECT, "title": "simulated", "label_config": self.config, "model_version": self.served,
            "sampling": "Uncertainty sampling", "show_collab_predictions": True, "task_number": len(self.ids),
        }  # fmt: skip

    def _count(self, version: str) -> int:
        return int(np.count_nonzero(~np.isnan(self.scores[version])))

    def _import(self, predictions: list[dict[str, Any]]) -> dict[str, int]:
        for prediction in predictions:
            version = prediction["model_version"]
            if version not in self.scores:
                self.scores[version] = np.full(len(self.ids), np.nan, np.float32)
            self.scores[version][prediction["task"] - 1] = prediction["score"]
            self.order.setdefault(version, []).append(prediction["task"])
        return {"created": len(predictions)}

    def _list(self, query: dict[str, str]) -> dict[str, Any]:
        asked = json.loads(query["query"])
        chosen = np.ones(len(self.ids), dtype=bool)
        for item in (asked.get("filters") or {}).get("items", []):
            chosen &= self._passes(item)
        if "selectedItems" in asked:
            chosen &= np.isin(self.ids, asked["selectedItems"]["included"])
        found = self.ids[chosen]
        scores = self.scores.get(self.served, np.full(len(self.ids), np.nan, np.float32))
        if asked.get("ordering") == ["tasks:predictions_score"]:
            found = found[np.argsort(scores[found - 1], kind="stable")]
        include = query.get("include", "").split(",") if query.get("include") else None
        page = found[: int(query["page_size"])].tolist()
        if include is not None and "data" in include:
            self.most_data = max(self.most_data, len(page))
        return {"total": len(found), "tasks": [self._task(task, scores, include) for task in page]}

    def _passes(self, item: dict[str, Any]) -> NDArray[np.bool_]:
        match item["filter"].removeprefix("filter:tasks:"), item["operator"]:
            case ("id", "greater"):
                return self.ids > item["value"]
            case ("total_annotations", "greater"):
                return self._annotated
            case ("total_annotations", "equal"):
                return ~self._annotated
            case ("updated_at", "greater"):
                since = datetime.fromisoformat(item["value"].replace("Z", "+00:00"))
                changed = np.zeros(len(self.ids), dtype=bool)
                old = self.ids[self._annotated]
                changed[old - 1] = (old / 1000) > (since - LONG_AGO).total_seconds()
                for task, when in self._late.items():
                    changed[task - 1] = when > since
                return changed
        raise KeyError(str(item))

    def _task(self, task: int, scores: NDArray[np.float32], include: list[str] | None) -> dict[str, Any]:
        score = float(scores[task - 1])
        annotated = bool(self._annotated[task - 1])
        row: dict[str, Any] = {
            "id": task,
            "is_labeled": annotated,
            "predictions_score": None if np.isnan(score) else score,
            "data": {
                "image": f"/data/upload/{PROJECT}/tiny.jpg",
                "name": f"slide-{task:08}-{task * 2_654_435_761 % (1 << 32):08x}.jpg",
                "site": f"hospital {task % 40}",
                "taken": f"2026-{task % 12 + 1:02}-{task % 28 + 1:02}",
            },
        }
        if annotated and (include is None or "annotations" in include):
            when = self._late.get(task, LONG_AGO + timedelta(milliseconds=task))
            row["updated_at"] = when.isoformat().replace("+00:00", "Z")
            row["annotations"] = [_annotation(task)]
        return row if include is None else {key: row[key] for key in include if key in row}


def _annotation(task: int) -> dict[str, Any]:
    rng = np.random.default_rng(task)
    places = rng.integers(0, SIDE, (LABELS, 2)).tolist()
    result = [
        {
            "id": f"q{number}-{row}-{col}",
            "type": "keypointlabels",
            "from_name": "query",
            "to_name": "image",
            "original_width": SIDE,
            "original_height": SIDE,
            "image_rotation": 0,
            "origin": "prediction-changed",
            "value": {
                "x": (col + 0.5) / SIDE * 100,
                "y": (row + 0.5) / SIDE * 100,
                "width": 0.8,
                "keypointlabels": [CLASSES[row >= SIDE // 2]],
            },
        }
        for number, (row, col) in enumerate(places)
    ]
    return {
        "id": task, "completed_by": 1, "was_cancelled": False, "lead_time": 9.5, "result": result,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip


def _token(kind: str, seconds: float) -> str:
    """An unsigned JSON web token, as Label Studio's are read by whoever holds them."""
    claims = {"token_type": kind, "exp": int(time.time() + seconds), "jti": "0"}
    parts = [{"alg": "HS256", "typ": "JWT"}, claims]
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*coded, "c2ln"])


@contextmanager
def serve(studio: SimulatedStudio) -> Iterator[str]:
    """Its address while it is served."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            said = studio.answer(self.command, parts.path, query, json.loads(raw) if raw else None)
            content = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(201 if self.command == "POST" else 200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", "image/jpeg" if said is content else "application/json")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
