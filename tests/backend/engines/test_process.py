"""What a training process is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backend.engines.process import CREDENTIALS, _environment
from backend.settings import Settings

pytestmark = pytest.mark.unit


def test_it_reads_the_same_settings_but_no_credentials_of_callers(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(
        basic_auth_user="studio",
        basic_auth_pass="a-password",
        webhook_secret="a-webhook-secret",
        database_url="postgresql://user:db-password@host/x",
        allowed_hosts="a.example.com,10.20.0.0/16",
        queries_per_task=7,
    )
    for name, value in _environment(settings).items():
        assert value not in ("a-password", "a-webhook-secret")
        monkeypatch.setenv(name, value)
    child = Settings(_env_file=None)  # type: ignore[call-arg]
    assert child.basic_auth_user == ""
    assert child.model_dump(exclude=set(CREDENTIALS)) == settings.model_dump(exclude=set(CREDENTIALS))
