"""A fake Label Studio with a pixel project of small synthetic photographs, and the settings to reach it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr

from backend.round_queue import Round
from backend.settings import Settings
from backend.store import Store
from label_config import render
from tests.fakes.label_studio import FakeLabelStudio

CLASSES = ("sky", "grass")
HEIGHT, WIDTH = 48, 64


def jpeg(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """Blue above, green below, with noise: two classes that a probe tells apart at once."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), dtype=np.int16)
    image[: height // 2] = (60, 120, 220)
    image[height // 2 :] = (40, 150, 50)
    image += rng.integers(-25, 25, image.shape, dtype=np.int16)
    stream = io.BytesIO()
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def answer(
    row: int, col: int, label: str, number: int = 0, origin: str = "prediction-changed"
) -> dict[str, Any]:
    """A query that a person has answered, as Label Studio stores it."""
    return {
        "id": f"q{number}-{row}-{col}",
        "type": "keypointlabels",
        "from_name": "query",
        "to_name": "image",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "origin": origin,
        "value": {
            "x": (col + 0.5) / WIDTH * 100,
            "y": (row + 0.5) / HEIGHT * 100,
            "width": 0.8,
            "keypointlabels": [label],
        },
    }


def answers(seed: int, count: int = 10) -> list[dict[str, Any]]:
    """``count`` correct answers at random pixels of `jpeg`."""
    rng = np.random.default_rng(seed)
    rows, cols = rng.integers(0, HEIGHT, count), rng.integers(0, WIDTH, count)
    return [
        answer(int(r), int(c), CLASSES[int(r >= HEIGHT // 2)], i)
        for i, (r, c) in enumerate(zip(rows, cols, strict=True))
    ]


@pytest.fixture
def fake() -> Iterator[FakeLabelStudio]:
    with FakeLabelStudio() as running:
        yield running


@pytest.fixture
def make_settings(fake: FakeLabelStudio, tmp_path: Path) -> Callable[..., Settings]:
    def make(**changes: Any) -> Settings:
        values: dict[str, Any] = {
            "label_studio_url": fake.url,
            "label_studio_api_key": SecretStr(fake.pat),
            "data": tmp_path / "data",
            "device": "cpu",
            "debounce_seconds": 0.0,
            "first_push": 2,
            "push_chunk": 2,
            "initial": "random",  # needs no encoder
        }
        return Settings(_env_file=None, **{**values, **changes})  # type: ignore[call-arg]

    return make


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    made = make_settings()
    made.data.mkdir(parents=True)
    return made


@pytest.fixture
def pixel_project(fake: FakeLabelStudio) -> tuple[int, list[int]]:
    """(project, its six tasks); nothing is labelled yet."""
    project = fake.add_project(render("pixel", CLASSES))
    tasks = [fake.upload(project, f"photo-{n}.jpg", jpeg(n)) for n in range(6)]
    return project, tasks


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database: what holds on SQLite holds on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return
    yield request.getfixturevalue("postgres_url")


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    with closing(Store(database_url)) as opened:
        yield opened


def round_of(store: Store, number: int) -> Round:
    found = store.rounds.get(number)
    assert found is not None
    return found
