"""Filters and the order of the Data Manager, as the fake Label Studio needs them."""

from __future__ import annotations

import operator
from typing import Any


def passes(row: dict[str, Any], filters: dict[str, Any]) -> bool:
    """Whether a task is listed; without filters every task is."""
    compare = {"greater": operator.gt, "equal": operator.eq, "contains": _contains}
    passed = [
        compare[item["operator"]](_column(row, item["filter"].removeprefix("filter:tasks:")), item["value"])
        for item in filters.get("items", [])
    ]
    return not passed or (any(passed) if filters["conjunction"] == "or" else all(passed))


def chosen(row: dict[str, Any], selected: dict[str, Any]) -> bool:
    """Whether a task is among the selected items; without any every task is."""
    return selected.get("all", True) or row["id"] in selected["included"]


def _column(row: dict[str, Any], name: str) -> Any:
    if name == "predictions_model_versions":
        return [prediction["model_version"] for prediction in row["predictions"]]
    return row[name]


def _contains(values: list[str], texts: list[str]) -> bool:
    return any(text in value for value in values for text in texts)


def mean_score(row: dict[str, Any], version: str) -> float | None:
    """Mean score of a task's predictions of the version that its project serves."""
    scores = [p["score"] for p in row["predictions"] if p["model_version"] == version]
    return sum(scores) / len(scores) if scores else None


def by_score(row: dict[str, Any], version: str) -> tuple[bool, float]:
    """Sorts tasks by that score, those without one last."""
    score = mean_score(row, version)
    return score is None, score or 0.0
