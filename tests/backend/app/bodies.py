"""Requests in the shapes of Label Studio."""

from __future__ import annotations

from typing import Any

from tests.backend.conftest import HEIGHT, WIDTH
from tests.fakes.label_studio import FakeLabelStudio


def click(row: float, col: float, label: str = "sky", positive: bool = True) -> dict[str, Any]:
    value = {"x": col / WIDTH * 100, "y": row / HEIGHT * 100, "width": 0.2, "keypointlabels": [label]}
    return {
        "id": f"c{row}-{col}", "type": "keypointlabels", "from_name": "click", "to_name": "image",
        "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0, "origin": "manual",
        "is_positive": positive, "value": value,
    }  # fmt: skip


def body_of(
    fake: FakeLabelStudio, project: int, tasks: list[int], config: str, *clicks: Any
) -> dict[str, Any]:
    context = {"result": list(clicks)} if clicks else None
    return {
        "tasks": [fake.task_json(task) for task in tasks],
        "project": f"{project}.1795263519",
        "label_config": config,
        "params": {"login": None, "password": None, "context": context},
    }


def webhook(project: int, config: str, action: str) -> dict[str, Any]:
    return {"action": action, "project": {"id": project, "label_config": config, "title": "t"}}
