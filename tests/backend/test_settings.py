"""One Settings object from flags, environment and .env."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from backend.settings import Settings
from model_zoo.mask_quality import QualityLimits

pytestmark = pytest.mark.unit


def test_label_studios_own_names_and_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://studio:8080/")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", " a-token ")
    monkeypatch.setenv("CLICKPICK_ALLOWED_HOSTS", "Images.Example.com, cdn.example.com,")
    monkeypatch.setenv("CLICKPICK_PORT", "9191")
    settings = Settings()
    assert settings.label_studio_url == "http://studio:8080"
    assert settings.token == "a-token"
    assert settings.allowed_hosts == ("images.example.com", "cdn.example.com")
    assert settings.port == 9191


def test_flags_win_over_the_environment_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("CLICKPICK_PORT=1001\nCLICKPICK_HOST=file\nCLICKPICK_LEARNER=file\n")
    monkeypatch.setenv("CLICKPICK_PORT", "1002")
    monkeypatch.setenv("CLICKPICK_HOST", "environment")
    settings = Settings(port=1003)
    assert (settings.port, settings.host, settings.learner) == (1003, "environment", "file")


def test_the_token_does_not_print() -> None:
    settings = Settings(label_studio_api_key="very-secret")
    assert "very-secret" not in repr(settings)
    assert "very-secret" not in str(settings.model_dump())


GOOD = {"basic_auth_user": "studio", "basic_auth_pass": "a-password", "webhook_secret": "a-webhook-secret"}


def test_no_secret_prints() -> None:
    settings = Settings(**GOOD, database_url="postgresql://user:db-password@host/x")
    for secret in ("a-password", "a-webhook-secret", "db-password"):
        assert secret not in repr(settings) + str(settings)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"basic_auth_user": ""}, "set all three, or none"),
        ({"basic_auth_pass": ""}, "set all three, or none"),
        ({"webhook_secret": ""}, "set all three, or none"),
        ({"basic_auth_user": "a:b"}, "a colon in the user"),
        ({"basic_auth_pass": "with a space"}, "printable ASCII"),
        ({"webhook_secret": "a-webhook-sécret"}, "printable ASCII"),
        ({"basic_auth_pass": "short-1"}, "7 characters"),
        ({"webhook_secret": "short-secret-15"}, "at least 8 and 16"),
        ({"label_studio_url": "http://user:url-password@studio"}, "holds a user or password"),
    ],
)
def test_credentials_that_would_not_hold_are_refused_without_being_shown(
    changes: dict[str, str], told: str
) -> None:
    with pytest.raises(ValidationError, match=told) as caught:
        Settings(**{**GOOD, **changes})  # type: ignore[arg-type]
    for secret in ("a-password", "a-webhook-secret", "url-password", "short-1", "short-secret-15"):
        assert secret not in str(caught.value)


def test_strategies_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    before = Settings()
    assert (before.selection, before.initial, before.budget) == ("top5", "coverage", "image")
    for name, value in (("SELECTION", "top"), ("INITIAL", "random"), ("BUDGET", "queue")):
        monkeypatch.setenv(f"CLICKPICK_{name}", value)
    after = Settings()
    assert (after.selection, after.initial, after.budget) == ("top", "random", "queue")


@pytest.mark.parametrize(
    "wrong",
    [
        {"label_studio_url": "localhost:8080"},
        {"port": 0},
        {"queries_per_task": 21},
        {"gate_margin": -1},
        {"log_level": "LOUD"},
        {"acquisition": "margim"},
        {"selection": "best"},
        {"initial": "top"},
        {"budget": "project"},
        {"device": "tpu"},
        {"deep_every": 0},
        {"quality_min_area": -1},
        {"quality_max_share": 0},
        {"quality_max_holes": 1.1},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)  # type: ignore[arg-type]


def test_the_store_is_a_file_of_the_data_folder_unless_an_address_is_given(tmp_path: Path) -> None:
    assert Settings(data=tmp_path).store_url == f"sqlite:///{tmp_path / 'clickpick.db'}"
    assert Settings(data=tmp_path, database_url="postgresql://x/y").store_url == "postgresql://x/y"


@pytest.mark.parametrize(
    ("chosen", "device", "name"),
    [
        ("auto", "cuda", "finetune-deeplabv3plus-lite0"),
        ("auto", "cuda:1", "finetune-deeplabv3plus-lite0"),
        ("auto", "cpu", ""),
        ("auto", "mps", ""),
        ("", "cuda", ""),
        ("finetune-fpn-lite0", "cpu", "finetune-fpn-lite0"),
    ],
)
def test_a_deep_learner_is_the_default_with_cuda_only(chosen: str, device: str, name: str) -> None:
    assert Settings(deep_learner=chosen, device=device).deep_learner_name == name


def test_an_empty_name_in_the_environment_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKPICK_DEEP_LEARNER", "")
    assert Settings(device="cuda").deep_learner_name == ""


def test_the_weights_folder_is_in_the_data_folder_or_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings(data=Path("/data")).weights_folder == Path("/data/weights")
    monkeypatch.setenv("CLICKPICK_WEIGHTS", "/shared/weights")
    monkeypatch.setenv("CLICKPICK_OFFLINE", "1")
    settings = Settings(data=Path("/data"))
    assert (settings.weights_folder, settings.offline) == (Path("/shared/weights"), True)


def test_masks_are_judged_by_the_limits_of_the_zoo_unless_told_otherwise() -> None:
    settings, limits = Settings(), QualityLimits()
    assert {name: getattr(settings, f"quality_{name}") for name in vars(limits)} == vars(limits)
