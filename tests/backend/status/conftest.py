"""A store with a project that has learnt for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backend.store import Store, Version
from backend.stored_labels import StoredLabel

NAMES = ("sky", "grass")


def version(number: int, project: int = 7, classes: tuple[str, ...] = NAMES, **metrics: Any) -> Version:
    miou = 0.8 - 2 * (20 * number) ** -0.5
    counts = {"sky": [8, 10, 9], "grass": [3, 6, 5]}
    measured = {"held_out_labels": 1400, "held_out_miou": miou, "held_out_iou": {"sky": 0.8, "grass": 0.5}}
    return Version(
        project, number, f"clickpick-{project}-v{number}-abc123", f"{project}/{number}", "probe-lite0", classes,
        "digest", 20 * number, {**measured, "held_out_counts": counts, **metrics}, time.time() - 60 * number,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(f"sqlite:///{tmp_path / 'status.db'}")) as opened:
        yield opened


@pytest.fixture
def learnt(store: Store) -> Store:
    """Project 7: five versions, the last one live, and 24 labels."""
    store.remember_project(7, "digest")
    labels = [StoredLabel(n // 6, 0, n, n, "void" if n == 23 else NAMES[n % 2]) for n in range(24)]
    store.replace_labels(7, labels)
    for number in range(1, 6):
        store.publish(version(number))
    return store
