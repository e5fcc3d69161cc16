"""Logs hold no credentials."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

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
