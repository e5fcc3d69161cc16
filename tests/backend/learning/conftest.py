"""The learning loop without servers: a training process's parts, and a project with fake learners."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from backend.settings import Settings
from tests.backend.learning import fake_learners
from tests.backend.learning.deep_project import Project
from tests.backend.learning.fake_learners import Behaviour
from tests.backend.learning.loop import Loop
from tests.fakes.label_studio import FakeLabelStudio


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project has six tasks; with the usual turn no round would ever give way. Nobody has a task open, and no
    request goes on for long without its sender.
    """
    monkeypatch.setattr("backend.learning.pushing.LEAST_TASKS", 2)
    monkeypatch.setattr("backend.learning.delivery.OPEN_SECONDS", 0.0)
    monkeypatch.setattr("backend.learning.delivery.UNDER_WAY_SECONDS", 0.1)


@pytest.fixture
def loop(settings: Settings, short_turns: None) -> Iterator[Loop]:
    made = Loop(settings)
    yield made
    made.close()


@pytest.fixture
def learners(monkeypatch: pytest.MonkeyPatch) -> tuple[Behaviour, Behaviour]:
    return fake_learners.register(monkeypatch)


@pytest.fixture
def instant(learners: tuple[Behaviour, Behaviour]) -> Behaviour:
    return learners[0]


@pytest.fixture
def deep(learners: tuple[Behaviour, Behaviour]) -> Behaviour:
    return learners[1]


@pytest.fixture
def start(
    fake: FakeLabelStudio, pixel_project: tuple[int, list[int]], make_settings: Callable[..., Settings]
) -> Iterator[Callable[..., Project]]:
    opened: list[Project] = []

    def make(trainer: dict[str, Any] | None = None, **changes: Any) -> Project:
        values: dict[str, Any] = {
            "learner": fake_learners.INSTANT,
            "deep_learner": fake_learners.DEEP,
            "deep_every": 80,
        }
        values |= {"holdout_percent": 30, **changes}
        other = None if trainer is None else make_settings(**{**values, **trainer})
        opened.append(Project(fake, *pixel_project, make_settings(**values), other))
        return opened[-1]

    yield make
    for project in opened:
        project.store.close()


@pytest.fixture
def project(start: Callable[..., Project], deep: Behaviour) -> Project:
    return start()
