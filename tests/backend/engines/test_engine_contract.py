"""What every engine answers alike: masks, queries, errors, and nothing to those who have given up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from backend.engines.base import Engine
from backend.engines.local import LocalEngine
from backend.errors import BadRequest, ClickPickError, ImageProblem, ModelUnavailable, TooLate
from backend.learning.versions import version_name
from backend.metrics import Metrics
from backend.opening import task_info
from backend.proposing import OpenedTask
from backend.settings import Settings
from backend.store import Store
from tests.backend.engines.ray_scenes import Scene, Studio

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PLACES = ((10, 30), (35, 5), (12, 55))


@pytest.fixture(params=["local", "ray"])
def engine(request: pytest.FixtureRequest) -> Engine:
    made: Engine = request.getfixturevalue(f"{request.param}_engine")
    return made


@pytest.fixture
def patience(
    engine: Engine, engine_settings: Settings, engine_store: Store, monkeypatch: pytest.MonkeyPatch
) -> Callable[[float], Engine]:
    """The engine with another time until a click is given up."""

    def wait(seconds: float) -> Engine:
        monkeypatch.setattr(
            engine, "_settings", engine_settings.model_copy(update={"answer_seconds": seconds})
        )
        return engine

    return wait


def opened(scene: Scene, number: int = 0) -> OpenedTask:
    schema = scene.schema
    assert schema.pixel_image is not None
    version = version_name(scene.project, 0, schema.digest)
    info = task_info(scene.task(number))
    return OpenedTask(scene.project, schema, schema.pixel_image, info, version, None, {})


def test_masks_are_equal_bit_for_bit(local_engine: LocalEngine, ray_engine: Engine, studio: Studio) -> None:
    scene = Scene(studio)
    for clicks in range(1, len(PLACES) + 1):
        request = scene.request(*PLACES[:clicks])
        here, there = (one.segment(scene.schema, scene.task(), request) for one in (local_engine, ray_engine))
        assert here["result"]
        assert here == there


def test_queries_are_equal(local_engine: LocalEngine, ray_engine: Engine, studio: Studio) -> None:
    scene = Scene(studio, kind="pixel")
    here, there = (one.propose(opened(scene), time.monotonic() + 60) for one in (local_engine, ray_engine))
    assert len(here["result"]) == 10
    assert here == there


def _unknown(studio: Studio) -> tuple[Scene, dict[str, Any]]:
    scene = Scene(studio, segmenter="no-such-segmenter")
    return scene, scene.task()


def _missing(studio: Studio) -> tuple[Scene, dict[str, Any]]:
    scene = Scene(studio)
    return scene, {"id": scene.tasks[0], "data": {"image": "/data/upload/9/gone.jpg"}}


def _damaged(studio: Studio) -> tuple[Scene, dict[str, Any]]:
    scene = Scene(studio)
    task = studio.upload(scene.project, "damaged.jpg", b"no image")
    return scene, studio.task_json(task)


def _none(studio: Studio) -> tuple[Scene, dict[str, Any]]:
    scene = Scene(studio)
    return scene, {"id": scene.tasks[0], "data": {}}


def _refused(studio: Studio) -> tuple[Scene, dict[str, Any]]:
    scene = Scene(studio)
    return scene, {"id": scene.tasks[0], "data": {"image": "http://169.254.0.1/secret.jpg"}}


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (_unknown, ModelUnavailable),
        (_missing, ClickPickError),
        (_damaged, ImageProblem),
        (_none, BadRequest),
        (_refused, ImageProblem),
    ],
)
def test_errors_are_the_same(
    local_engine: LocalEngine,
    ray_engine: Engine,
    studio: Studio,
    broken: Callable[[Studio], tuple[Scene, dict[str, Any]]],
    kind: type[ClickPickError],
) -> None:
    scene, task = broken(studio)
    raised = []
    for one in (local_engine, ray_engine):
        with pytest.raises(kind) as info:
            one.segment(scene.schema, task, scene.request(PLACES[0]))
        raised.append(info.value)
    here, there = raised
    assert (type(here), str(here), here.status) == (type(there), str(there), there.status)
    assert "Traceback" not in str(there)
    assert studio.pat not in str(there)


def test_a_click_that_comes_too_late_to_the_model_is_dropped(
    patience: Callable[[float], Engine], studio: Studio
) -> None:
    scene = Scene(studio)
    engine, release = patience(0.2), threading.Event()
    studio.held[scene.url()] = release
    threading.Timer(0.6, release.set).start()
    with pytest.raises(TooLate, match="Label Studio has given up on it"):
        engine.segment(scene.schema, scene.task(), scene.request(PLACES[0]))
    assert patience(60.0).segment(scene.schema, scene.task(), scene.request(PLACES[0]))["result"]


def test_what_is_embedded_needs_no_encoding_at_the_click(
    engine: Engine, studio: Studio, counted: Metrics
) -> None:
    scene = Scene(studio)
    engine.embed(scene.url(), scene.tasks[0], "clicknet")
    before = {result: counted._found["embedding", result] for result in (True, False)}
    engine.segment(scene.schema, scene.task(), scene.request(PLACES[0]))
    assert counted._found["embedding", True] == before[True] + 1
    assert counted._found["embedding", False] == before[False]
    assert studio.asked.count(scene.url()) == 1, "the image is fetched once"


@pytest.fixture
def counted(engine: Engine) -> Metrics:
    """Where the engine counts what clicks did, wherever they did it."""
    metrics: Metrics = getattr(engine, "_metrics", None) or engine.answering._metrics  # type: ignore[attr-defined]
    return metrics


def test_figures_tell_of_caches(engine: Engine, studio: Studio) -> None:
    scene = Scene(studio)
    engine.segment(scene.schema, scene.task(), scene.request(PLACES[0]))
    until = time.monotonic() + 10
    while not all(engine.cache_bytes().get(cache) for cache in ("image", "embedding and state")):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert engine.waiting == 0
    assert engine.problems() == []
