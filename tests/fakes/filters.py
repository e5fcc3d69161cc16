"""Filters of the Data Manager, as the fake Label Studio needs them."""

from __future__ import annotations

import operator
from typing import Any


def passes(row: dict[str, Any], filters: dict[str, Any]) -> bool:
    """Whether a task is listed; without filters every task is."""
    compare = {"greater": operator.gt, "equal": operator.eq}
    passed = [
        compare[item["operator"]](row[item["filter"].removeprefix("filter:tasks:")], item["value"])
        for item in filters.get("items", [])
    ]
    return not passed or (any(passed) if filters["conjunction"] == "or" else all(passed))
