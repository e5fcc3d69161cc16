"""Logs hold no credentials."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from backend import log_context
from backend.demo.clickpick import ClickPickServer
from backend.logs import configure_logging

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _keep_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    "secret",
    [
        "Authorization: Token 0123456789abcdef0123456789abcdef01234567",
        "Authorization: Bearer abcdefghijklm0p",
        "api key 0123456789abcdef0123456789abcdef01234567",
        "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2lnbmF0dXJl",
    ],
)
def test_credentials_are_blanked_out(capsys: pytest.CaptureFixture[str], secret: str) -> None:
    configure_logging("INFO")
    logging.getLogger("backend.test").warning("task %d: %s", 7, secret)
    printed = capsys.readouterr().err
    assert "task 7" in printed
    assert "[secret]" in printed
    assert secret.rsplit(maxsplit=1)[-1] not in printed


def test_a_traceback_is_censored_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO")
    try:
        raise ValueError("Bearer abcdefghijklm0p")
    except ValueError:
        logging.getLogger("backend.test").exception("failed")
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert "abcdefghijklm0p" not in printed


def test_request_details_of_libraries_stay_out_even_in_debug(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("DEBUG")
    logging.getLogger("label_studio_ml.api").debug("Request headers: secret")
    logging.getLogger("httpx").info("HTTP Request: GET http://x")
    logging.getLogger("backend.test").debug("ours")
    printed = capsys.readouterr().err
    assert "secret" not in printed
    assert "HTTP Request" not in printed
    assert "ours" in printed


def test_a_message_about_tokens_stays_readable(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO")
    message = "legacy token authentication has been disabled for this organization"
    logging.getLogger("backend.test").error(message)
    assert message in capsys.readouterr().err


def test_json_lines_hold_fields_and_no_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")
    log_context.bind(request="r1", project=7, task=3, version="clickpick-7-v2-abc")
    try:
        raise ValueError("Bearer abcdefghijklm0p")
    except ValueError:
        logging.getLogger("backend.test").exception('a "quoted" line\nof %s', "Token abcdefghij0")
    finally:
        log_context.clear()
    (line,) = capsys.readouterr().err.splitlines()
    found = json.loads(line)
    assert found["message"] == 'a "quoted" line\nof [secret]'
    assert (found["request"], found["project"], found["task"]) == ("r1", 7, 3)
    assert found["version"] == "clickpick-7-v2-abc"
    assert (found["level"], found["logger"]) == ("ERROR", "backend.test")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["time"])
    assert "ValueError: [secret]" in found["exception"]


def test_text_lines_end_with_their_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO")
    log_context.bind(task=3, request="r1")
    logging.getLogger("backend.test").info("hello")
    log_context.bind(task=None)
    logging.getLogger("backend.test").info("hello")
    log_context.clear()
    logging.getLogger("backend.test").info("hello")
    printed = capsys.readouterr().err.splitlines()
    assert [line.rpartition("hello")[2] for line in printed] == [" [request=r1 task=3]", " [request=r1]", ""]


def test_gunicorns_lines_are_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    from gunicorn.config import Config

    from backend.gunicorn_logs import GunicornJson

    logger = GunicornJson(Config())
    logger.info("Listening at: %s", "http://127.0.0.1:9090")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "Listening at: http://127.0.0.1:9090"
    for handler in logger.error_log.handlers[:]:
        logger.error_log.removeHandler(handler)


@pytest.mark.integration
def test_a_server_writes_nothing_but_json(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    server = ClickPickServer(
        tmp_path / "data",
        studio_url="http://127.0.0.1:9",
        token="",
        log=log,
        settings={"CLICKPICK_LOG_FORMAT": "json", "CLICKPICK_SEGMENTER": "grabcut"},
    )
    with server:
        requests.post(f"{server.url}/setup", json={"project": "1", "schema": "<View/>"}, timeout=60)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"gunicorn.error", "backend.request_log"} <= {line["logger"] for line in lines}
