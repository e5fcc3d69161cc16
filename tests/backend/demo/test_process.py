from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from backend.demo.process import LOOPBACK, ServerFailed, ServerProcess, free_port, with_no_proxy

pytestmark = pytest.mark.unit

SERVE = f"import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=PORT, bind='{LOOPBACK}')"
WITH_CHILD = (
    "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    "print(child.pid, flush=True); time.sleep(60)"
)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], ServerProcess]]:
    made: list[ServerProcess] = []

    def process(code: str, grace: float = 2.0) -> ServerProcess:
        command = [sys.executable, "-c", code]
        made.append(ServerProcess("Test server", command, tmp_path / "log", os.environ, grace=grace))
        return made[-1]

    yield process
    for each in made:
        each.stop()


def test_answers_when_ready_and_not_after_stop(make: Callable[..., ServerProcess], tmp_path: Path) -> None:
    port = free_port(0)
    server = make(SERVE.replace("PORT", str(port)))
    messages: list[str] = []
    server.start()
    server.wait_until_ready(f"http://{LOOPBACK}:{port}", timeout=20, progress=messages.append)
    assert server.running
    server.stop()
    assert not server.running
    with socket.socket() as probe:
        assert probe.connect_ex((LOOPBACK, port)) != 0
    assert all("Test server is starting" in message for message in messages)


def test_a_server_that_ends_is_reported_with_its_last_words(make: Callable[..., ServerProcess]) -> None:
    server = make("print('no such database'); raise SystemExit(3)")
    server.start()
    with pytest.raises(ServerFailed, match=r"(?s)exit code 3.*no such database"):
        server.wait_until_ready(f"http://{LOOPBACK}:{free_port(0)}", timeout=20)


def test_a_server_that_never_answers_is_given_up(make: Callable[..., ServerProcess]) -> None:
    server = make("import time; time.sleep(60)")
    server.start()
    with pytest.raises(ServerFailed, match=r"did not answer at .* within 1 s"):
        server.wait_until_ready(f"http://{LOOPBACK}:{free_port(0)}", timeout=0.6)


def test_stop_takes_what_the_server_started_with_it(make: Callable[..., ServerProcess]) -> None:
    server = make(WITH_CHILD)
    server.start()
    child = _pid_from(server.log)
    server.stop()
    _wait_gone(child)


def test_a_server_that_ignores_sigterm_is_killed(make: Callable[..., ServerProcess]) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    server = make(code, grace=0.5)
    server.start()
    _pid_from(server.log)
    started = time.monotonic()
    server.stop()
    assert time.monotonic() - started < 5
    assert not server.running


def test_the_server_dies_with_its_owner(tmp_path: Path) -> None:
    log = tmp_path / "log"
    owner = f"""
import os, sys, time
from pathlib import Path
from backend.demo.process import ServerProcess
ServerProcess("x", [sys.executable, "-c", {WITH_CHILD!r}], Path({str(log)!r}), os.environ, grace=1).start()
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", owner]) as process:
        child = _pid_from(log)
        server = psutil.Process(child).ppid()
        process.send_signal(signal.SIGKILL)
    _wait_gone(child)
    _wait_gone(server)


def test_started_twice_is_an_error(make: Callable[..., ServerProcess]) -> None:
    server = make("import time; time.sleep(60)")
    server.start()
    with pytest.raises(ServerFailed, match="runs already"):
        server.start()


def test_free_port_is_the_preferred_one_unless_taken() -> None:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen()
        taken = int(listener.getsockname()[1])
        assert free_port(taken) != taken
    assert free_port(taken) == taken


def test_loopback_is_exempt_from_proxies() -> None:
    assert with_no_proxy({"no_proxy": "example.org"})["NO_PROXY"] == "example.org,127.0.0.1,localhost"
    assert with_no_proxy({})["no_proxy"] == "127.0.0.1,localhost"


def _pid_from(log: Path) -> int:
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        text = log.read_text() if log.exists() else ""
        if text.endswith("\n"):
            return int(text)
        time.sleep(0.05)
    raise AssertionError(f"nothing in {log}")


def _wait_gone(pid: int) -> None:
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} lives")
