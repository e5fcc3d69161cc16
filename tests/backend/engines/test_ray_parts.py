"""The pieces of the engine ray that need no cluster: settings, messages, batches, a connection that is tried again."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import SecretStr, ValidationError

pytest.importorskip("ray", reason="the extra `ray` is not installed")

from backend import errors
from backend.engines import ray_connection, ray_replica, ray_scoring
from backend.engines.installed import check_engine
from backend.engines.ray_connection import STARTING, UNREACHABLE, Connection, Fresh
from backend.engines.ray_messages import INTERNAL, Call, Failure, Recorder
from backend.engines.ray_replica import WEB_ONLY, Replica, digest_of, replica_settings
from backend.engines.ray_scoring import RayScoring
from backend.errors import BadRequest, ClickPickError, ConfigProblem, ModelUnavailable, StudioRefused
from backend.learning.queue import Queue
from backend.learning.scoring import ScoringHere
from backend.settings import Settings
from label_config import LabelConfigError
from model_zoo.errors import BadInput, WeightsMissing
from tests.backend.engines.ray_scenes import Scene, Studio
from tests.waiting import wait_until

pytestmark = pytest.mark.unit

SECRETS = {
    "basic_auth_user": "annotator",
    "basic_auth_pass": SecretStr("the-password-1"),
    "webhook_secret": SecretStr("the-secret-of-hooks"),
    "database_url": "postgresql://user:hidden@db/clickpick",
}


def test_replicas_get_no_credentials_of_callers_and_no_database(
    make_settings: Callable[..., Settings],
) -> None:
    values = replica_settings(make_settings(**SECRETS))
    made = Settings(_env_file=None, **values)  # type: ignore[call-arg]
    assert made.token
    assert not any((made.basic_auth_user, made.basic_auth_pass.get_secret_value(), made.database_url))
    assert "hidden" not in repr(values)


def test_the_digest_is_of_what_replicas_do(make_settings: Callable[..., Settings]) -> None:
    plain = digest_of(replica_settings(make_settings()))
    assert digest_of(replica_settings(make_settings(**SECRETS, port=9999))) == plain
    for change in ({"segmenter": "grabcut"}, {"label_studio_api_key": "other"}, {"ray_max_replicas": 9}):
        assert digest_of(replica_settings(make_settings(**change))) != plain, change


@pytest.mark.parametrize("name", WEB_ONLY)
def test_settings_of_web_processes_exist(name: str) -> None:
    assert name in Settings.model_fields


def test_more_replicas_at_least_than_at_most_are_refused(make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(ValidationError, match="not below the minimum"):
        make_settings(ray_min_replicas=3, ray_max_replicas=2)


def test_without_the_extra_it_is_said_what_to_install(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    check_engine(make_settings())
    with pytest.raises(ConfigProblem, match=r"install clickpick\[ray\]"):
        check_engine(make_settings(engine="ray"))


@pytest.mark.parametrize(
    "kind",
    [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, ClickPickError) and value is not StudioRefused
    ],
)
def test_every_error_arrives_as_it_was(kind: type[ClickPickError]) -> None:
    again = Failure.of(kind("what was got")).error()
    assert (type(again), str(again), again.status) == (kind, "what was got", kind.status)


def test_a_refusal_keeps_the_status_of_label_studio() -> None:
    again = Failure.of(StudioRefused("no", 403)).error()
    assert isinstance(again, StudioRefused)
    assert again.studio_status == 403


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (LabelConfigError("no image"), BadRequest, "no image"),
        (BadInput("too small"), BadRequest, "too small"),
        (WeightsMissing("/srv/secret/x is missing"), ModelUnavailable, "no weights on this server"),
        (AssertionError("secret detail"), ClickPickError, INTERNAL),
    ],
)
def test_what_is_no_message_for_the_public_stays_in_the_replica(
    error: Exception, kind: type[ClickPickError], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    again = Failure.of(error).error()
    assert type(again) is kind
    assert message in str(again)
    assert "secret" not in str(again)
    assert "secret" not in str(error) or "secret" in caplog.text


def test_what_a_call_does_is_noted_for_its_reply_only() -> None:
    recorder = Recorder()
    with recorder.record() as mine:
        thread = threading.Thread(target=lambda: recorder.observe("decode", 9.0))
        thread.start()
        thread.join()
        recorder.observe("encode", 1.0)
        recorder.observe("click", 2.0)
        recorder.looked_up("image", hit=True)
    recorder.observe("encode", 3.0)
    assert mine.phases == [("encode", 1.0)]
    assert mine.lookups == [("image", True)]


@pytest.mark.parametrize(("size", "answered"), [(1, 3), (3, 1)])
def test_clicks_that_wait_are_taken_up_together_or_each_for_itself(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, size: int, answered: int
) -> None:
    """While the image of the first of four does not come: in a batch, those with it wait, too."""
    context = SimpleNamespace(
        replica_id=SimpleNamespace(unique_id="one"),
        _deployment_config=SimpleNamespace(max_ongoing_requests=ray_replica.ONGOING),
    )
    monkeypatch.setattr(ray_replica.serve, "get_replica_context", lambda: context)
    monkeypatch.setattr(ray_replica, "configure_logging", lambda *_: None)
    changes = {"segmenter": "grabcut", "ray_batch": size}
    with Studio() as studio:
        here = {"label_studio_url": studio.url, "label_studio_api_key": SecretStr(studio.pat)}
        replica = Replica(replica_settings(settings.model_copy(update={**changes, **here})))
        scene = Scene(studio, images=4)
        studio.held[scene.url()] = threading.Event()

        async def ask() -> tuple[int, list[Any]]:
            calls = (
                Call("segment", (scene.schema, scene.task(number), scene.request((10, 30))), 60.0, {})
                for number in range(4)
            )
            asked = [asyncio.ensure_future(replica(call)) for call in calls]
            done, _ = await asyncio.wait(asked, timeout=2)
            studio.held[scene.url()].set()
            return len(done), await asyncio.gather(*asked)

        first, replies = asyncio.run(ask())
    assert first == answered
    assert all(reply.value["result"] and reply.failure is None for reply in replies)
    assert {"image", "decode"} <= {phase for reply in replies for phase, _ in reply.phases}


def test_a_connection_is_tried_again_and_calls_are_told_why_meanwhile(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[Any] = [ModelUnavailable("no cluster"), RuntimeError("secret"), object()]

    def deploy(_: Settings) -> Any:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(ray_connection, "FIRST_PAUSE", 0.2)
    monkeypatch.setattr(ray_connection, "connect", lambda *_: None)
    monkeypatch.setattr(ray_connection, "deploy", deploy)
    monkeypatch.setattr(ray_connection, "count_running", lambda: 1)
    connection = Connection(settings)
    assert connection.problems() == [STARTING]
    with pytest.raises(ModelUnavailable, match="no cluster"):
        connection.start()
    begun = time.monotonic()
    with pytest.raises(ModelUnavailable, match=UNREACHABLE):
        connection.handle(30)
    assert time.monotonic() - begun < 0.1, "a click is not held up by what is known to fail"
    assert connection.problems() == [UNREACHABLE]
    until = time.monotonic() + 10
    while connection.problems():
        assert time.monotonic() < until
        time.sleep(0.02)
    assert connection.handle(0) is not None
    connection.stop()


def test_replicas_that_somebody_has_ended_are_started_anew(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, deployed, gone = [True], [], threading.Event()

    def deploy(_: Settings) -> Any:
        deployed.append(True)
        there[0] = True
        return object()

    def look() -> bool:
        if not there[0]:
            gone.set()
        return there[0]

    monkeypatch.setattr(ray_connection, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(ray_connection, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(ray_connection, "connect", lambda *_: None)
    monkeypatch.setattr(ray_connection, "deploy", deploy)
    monkeypatch.setattr(ray_connection, "is_deployed", look)
    monkeypatch.setattr(ray_connection, "count_running", lambda: 1)
    connection = Connection(settings)
    connection.start()
    first = connection.handle(10)
    there[0] = False
    assert gone.wait(10)
    wait_until(lambda: len(deployed) == 2 and not connection.problems(), "another deployment", 10)
    assert connection.handle(10) is not first
    connection.stop()


def test_a_round_that_has_the_last_gpu_scores_by_itself(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    scoring = RayScoring(make_settings(ray_round_gpus=1))
    monkeypatch.setattr(ray_scoring, "available", lambda: {"CPU": 4.0, "GPU": 0.5})
    scoring._here = ScoringHere(lambda _queue, task, _mean: {"task": task})  # type: ignore[dict-item]
    chunks: Any = [[1, 2], [3]]
    found = scoring.proposals(cast(Queue, None), chunks, lambda: None, lambda: False)
    assert list(found) == [{"task": 1}, {"task": 2}, {"task": 3}]


def test_a_figure_is_read_by_one_caller_and_others_do_not_trust_the_last_one_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, release = threading.Event(), threading.Event()
    release.set()
    values = iter([1, 2])

    def read() -> int:
        reading.set()
        assert release.wait(10)
        return next(values)

    fresh = Fresh(read, 0)
    assert [fresh.get(), fresh.get()] == [1, 1], "a second is not over"
    fresh._next = 0.0
    reading.clear()
    release.clear()
    first = threading.Thread(target=fresh.get)
    first.start()
    assert reading.wait(10)
    assert fresh.get() == 1
    monkeypatch.setattr(ray_connection, "LATE_SECONDS", 0.0)
    assert fresh.get() == 0, "as when the head of a cluster is gone: asking it hangs for a minute"
    release.set()
    first.join()
    assert fresh.get() == 2
