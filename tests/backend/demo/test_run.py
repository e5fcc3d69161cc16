"""``clickpick demo`` as a user runs it, with the real Label Studio; the browser has its own tests."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from backend.demo.process import LOOPBACK
from backend.demo.run import run_demo
from backend.errors import ConfigProblem

ROOT = Path(__file__).parents[3]
START_SECONDS = 280.0


@pytest.fixture
def executable() -> Path:
    named = os.environ.get("CLICKPICK_LABEL_STUDIO")
    path = Path(named or ROOT / ".venv-labelstudio" / "bin" / "label-studio").absolute()
    if named is None and not path.exists():
        pytest.skip("needs Label Studio: run `make setup`, or name its command in CLICKPICK_LABEL_STUDIO")
    return path


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_second_run_goes_on_where_the_first_ended(executable: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with _demo(executable, home) as (process, first):
        assert first.count(" 10 new photographs") == 2
        studio, backend = _addresses(first)
        token = home / "label-studio" / "personal-access-token"
        secret = token.read_text()
        assert token.stat().st_mode & 0o777 == 0o600
        with pytest.raises(ConfigProblem, match=r"running from .* already"):
            run_demo(executable, None, home)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        _wait_gone(children)

    with socket.socket() as taken:
        taken.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # closed connections keep a port for a minute
        taken.bind((LOOPBACK, int(backend.rsplit(":", 1)[1])))
        taken.listen()
        with _demo(executable, home) as (process, second):
            assert second.count(" 0 new photographs") == 2
            assert _addresses(second)[0] == studio
            assert _addresses(second)[1] != backend, "its port was taken"
            assert _projects(second) == _projects(first)
            assert token.read_text() == secret
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            _wait_gone(children)
    assert secret not in first + second, "the token stays in its file"


@contextmanager
def _demo(executable: Path, home: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running demo, and what it has printed until it was ready."""
    code = f"""
import sys
from pathlib import Path
from backend.demo.run import run_demo
sys.exit(run_demo(Path({str(executable)!r}), None, Path({str(home)!r}), studio_port=8132, backend_port=8133))
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        timer = threading.Timer(START_SECONDS, process.kill)
        timer.start()
        try:
            yield process, _read_until(process, "Logs:")
        finally:
            timer.cancel()
            process.terminate()


def _read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if text in line:
            return printed
    raise AssertionError(f"the demo ended before it was ready:\n{printed}")


def _addresses(printed: str) -> tuple[str, str]:
    studio, backend = re.findall(r"answers at (\S+)", printed)
    return studio, backend


def _projects(printed: str) -> list[str]:
    return re.findall(r"project (\d+),", printed)


def _wait_gone(processes: list[psutil.Process]) -> None:
    assert processes
    limit = time.monotonic() + 10
    while any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes):
        assert time.monotonic() < limit, processes
        time.sleep(0.1)
