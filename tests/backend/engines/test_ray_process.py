"""What travels to a process of the cluster, and what the process makes of itself."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.engines.ray_process import for_workers
from backend.errors import ImageRefused, StudioRefused
from backend.settings import Settings

pytestmark = pytest.mark.unit


def test_settings_travel_whole_but_for_what_callers_give(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = make_settings(
        basic_auth_user="studio", basic_auth_pass="a-password", webhook_secret="a-webhook-secret", data=Path("data"),
        label_studio_api_key="a-token", allowed_hosts="a.example.com", queries_per_task=7, weights=Path("weights"),
    )  # fmt: skip
    monkeypatch.setenv("CLICKPICK_QUERIES_PER_TASK", "9")
    monkeypatch.setenv("CLICKPICK_INITIAL", "coverage")
    there = pickle.loads(pickle.dumps(for_workers(given, 0.0)))
    expected = {
        **given.model_dump(), "basic_auth_user": "", "data": Path.cwd() / "data", "weights": Path.cwd() / "weights",
    }  # fmt: skip
    secret = {"basic_auth_pass", "webhook_secret"}
    assert there.model_dump(exclude=secret) == {k: v for k, v in expected.items() if k not in secret}
    assert there.token == "a-token"
    assert not any(getattr(there, name).get_secret_value() for name in secret)
    assert there == for_workers(there, 0.0), "a process finds what it keeps by its settings"
    assert hash(there) == hash(for_workers(there, 0.0))


@pytest.mark.parametrize(
    ("device", "gpus", "there"),
    [("auto", 0.0, "cpu"), ("auto", 0.5, "auto"), ("cuda", 0.0, "cuda"), ("cpu", 1.0, "cpu")],
)
def test_the_device_is_found_where_the_work_runs(
    make_settings: Callable[..., Settings], device: str, gpus: float, there: str
) -> None:
    settings = make_settings(device=device)
    assert settings.torch_device  # found here, and not to be taken along
    travelled = pickle.loads(pickle.dumps(for_workers(settings, gpus)))
    assert travelled.device == there
    assert "torch_device" not in vars(travelled)


def test_errors_cross_from_one_process_to_another() -> None:
    refusal = pickle.loads(pickle.dumps(StudioRefused("Label Studio says no", 403)))
    assert (str(refusal), refusal.studio_status) == ("Label Studio says no", 403)
    assert str(pickle.loads(pickle.dumps(ImageRefused("not from there")))) == "not from there"


BECOME = """
import os, torch
from backend.engines.ray_process import become_background
from backend.settings import Settings

become_background(Settings(_env_file=None, device="cpu", ray_round_cpus=2.0, training_memory_mb=3000), "deep")
print(os.getpriority(os.PRIO_PROCESS, 0), torch.get_num_threads())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits are Linux's")
def test_such_a_process_has_the_lowest_priority_and_as_many_threads_as_it_was_given() -> None:
    done = subprocess.run([sys.executable, "-c", BECOME], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["19", "2"]
