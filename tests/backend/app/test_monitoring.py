"""/metrics, /ready and the log of requests, over HTTP."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from backend import log_context
from backend.app import create_app
from backend.service import Service
from backend.settings import Settings
from tests.backend.app.bodies import body_of, click
from tests.backend.app.described import problems, schema_of
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit


def wait_until_ready(client: FlaskClient) -> None:
    limit = time.monotonic() + 60
    while client.get("/ready").status_code != 200:
        assert time.monotonic() < limit
        time.sleep(0.05)


def samples(client: FlaskClient) -> dict[tuple[str, tuple[str, ...]], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain")
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_a_click_shows_in_every_phase(
    client: FlaskClient, fake: FakeLabelStudio, click_project: tuple[int, int, str]
) -> None:
    project, task, config = click_project
    for col in (30, 31):
        body = body_of(fake, project, [task], config, click(8, col))
        assert client.post("/predict", json=body).status_code == 200
    found = samples(client)
    for phase in ("image", "wait", "decode", "repair", "regions"):
        assert found["clickpick_phase_seconds_count", (phase,)] == 2, phase
    assert found["clickpick_answer_seconds_count", ("click",)] == 2
    assert found["clickpick_request_seconds_count", ("/predict", "200")] == 2
    assert found["clickpick_cache_lookups_total", ("embedding", "miss")] == 1
    assert found["clickpick_cache_lookups_total", ("embedding", "hit")] == 1
    assert found["clickpick_cache_lookups_total", ("image", "hit")] == 1


def test_ready_once_the_segmenter_is_built(client: FlaskClient) -> None:
    wait_until_ready(client)
    answer = client.get("/ready")
    assert problems(answer.json, schema_of("/ready", "200")) == []
    assert samples(client)["clickpick_ready", ()] == 1


def test_ready_for_clicks_while_the_database_is_away(
    client: FlaskClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    wait_until_ready(client)

    def away() -> None:
        raise OperationalError("SELECT 1", {}, Exception("host db.internal is away"))

    monkeypatch.setattr(service.store._database._readers, "begin", away)
    answer = client.get("/ready")
    assert answer.status_code == 200, "else all processes would leave the balancer together"
    assert problems(answer.json, schema_of("/ready", "200")) == []
    assert "the database does not answer" in answer.json["warnings"][0]
    assert "db.internal" not in answer.text
    assert client.get("/health").status_code == 200, "a restart would not help"
    monkeypatch.undo()
    assert client.get("/ready").json == {"status": "READY"}


def test_a_database_that_says_nothing_holds_up_no_balancer(
    client: FlaskClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until_ready(client)
    back = threading.Event()
    monkeypatch.setattr(service.store.overview, "ping", lambda: back.wait(60))
    try:
        for _ in range(2):
            began = time.monotonic()
            answer = client.get("/ready")
            assert time.monotonic() - began < 1
            assert answer.status_code == 200
            assert "the database does not answer" in answer.json["warnings"][0]
    finally:
        back.set()


@pytest.fixture
def broken(make_settings: Callable[..., Settings]) -> Iterator[FlaskClient]:
    app = create_app(make_settings(segmenter="no-such-segmenter"))
    app.extensions["clickpick"].engine.start_training = lambda: None
    yield app.test_client()
    app.extensions["clickpick"].stop()


def test_not_ready_without_the_default_segmenter(broken: FlaskClient) -> None:
    limit = time.monotonic() + 60
    while "cannot be built" not in (answer := broken.get("/ready")).text:
        assert answer.status_code == 503
        assert time.monotonic() < limit, answer.text
        time.sleep(0.05)
    assert problems(answer.json, schema_of("/ready", "503")) == []
    assert "no-such-segmenter" not in answer.text, "anybody may ask"


def test_lines_of_a_request_tell_whose_they_are(
    client: FlaskClient,
    fake: FakeLabelStudio,
    click_project: tuple[int, int, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    project, task, config = click_project
    seen: dict[str, dict[str, object]] = {}

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen[record.name] = dict(log_context.current())

    keep = Keep()
    logging.getLogger().addHandler(keep)
    try:
        body = body_of(fake, project, [task], config, click(8, 30))
        answer = client.post("/predict", json=body, headers={"X-Request-ID": "mine-7"})
    finally:
        logging.getLogger().removeHandler(keep)
    assert answer.headers["X-Request-ID"] == "mine-7"
    assert seen["backend.request_log"] == {"request": "mine-7", "project": project, "task": task}


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "\u00e4", '"'])
def test_a_number_is_made_where_none_is_given_or_a_bad_one(client: FlaskClient, given: str) -> None:
    made = [client.get("/health", headers={"X-Request-ID": given}).headers["X-Request-ID"] for _ in range(2)]
    assert made[0] != made[1]
    assert all(len(one) == 12 for one in made)


def test_routes_are_counted_by_rule_and_not_by_what_strangers_type(client: FlaskClient) -> None:
    for path in ("/no/such/page", "/another", "/versions"):
        client.get(path)
    found = samples(client)
    assert found["clickpick_request_seconds_count", ("other", "404")] == 2
    assert found["clickpick_request_seconds_count", ("/versions", "200")] == 1
    assert json.dumps(list(map(str, found))).count("no/such") == 0
