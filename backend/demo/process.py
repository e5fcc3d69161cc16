"""A server that this process starts, watches and stops, and that never outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

import requests

from backend.errors import ClickPickError

Progress = Callable[[str], None]

LOOPBACK = "127.0.0.1"
_POLL_SECONDS = 0.25
_LOG_LINES = 15


class ServerFailed(ClickPickError):
    """A server did not come up, or went away by itself."""


def silent(_message: str) -> None:
    """The progress callback of callers that show none."""


def free_port(preferred: int) -> int:
    """``preferred`` when nobody uses it on this machine, else one that the system picks."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        # a server on all addresses does not stop a bind to loopback on every system, so ask it too
        taken = probe.connect_ex((LOOPBACK, preferred)) == 0
    for port in (0,) if taken else (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((LOOPBACK, port))
                return int(probe.getsockname()[1])
    raise ServerFailed(f"no free port on {LOOPBACK}; stop a server that is not needed and start again")


def with_no_proxy(env: Mapping[str, str]) -> dict[str, str]:
    """``env`` with loopback exempt from proxies, so that the two servers reach each other."""
    known = env.get("no_proxy") or env.get("NO_PROXY") or ""
    exempt = ",".join(filter(None, [known, LOOPBACK, "localhost"]))
    return {**env, "NO_PROXY": exempt, "no_proxy": exempt}


class ServerProcess:
    """One server in a process group of its own, its output in a log file.

    It runs under ``guard.py``, which ends it together with this process, even when this process is killed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str],
        *,
        grace: float = 10.0,
    ) -> None:
        self.name = name
        self.log = log
        self._command = [str(part) for part in command]
        self._env = dict(env)
        self._grace = grace
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        if self.running:
            raise ServerFailed(f"{self.name} runs already; stop it before it is started again")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        guard = [sys.executable, "-I", str(Path(__file__).with_name("guard.py")), str(self._grace)]
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603
                [*guard, *self._command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
            )

    def stop(self) -> None:
        """Ends the server and all that it started, politely for ``grace`` seconds, then by force."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        try:
            process.wait(self._grace + 5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def wait_until_ready(self, url: str, *, timeout: float, progress: Progress = silent) -> None:
        """Returns once ``url`` answers 200; ServerFailed when the server ends first or ``timeout`` is over."""
        started = time.monotonic()
        with requests.Session() as session:
            session.trust_env = False  # a proxy of the environment has no business on loopback
            while not _answers(session, url):
                seconds = time.monotonic() - started
                self.check(f"while {url} was waited for")
                if seconds > timeout:
                    raise ServerFailed(
                        f"{self.name} did not answer at {url} within {timeout:.0f} s; {self.last_words()}"
                    )
                progress(f"{self.name} is starting ({seconds:.0f} s)")
                time.sleep(_POLL_SECONDS)

    def check(self, when: str) -> None:
        """ServerFailed when the server has ended."""
        if self.running:
            return
        code = "unknown" if self._process is None else self._process.returncode
        raise ServerFailed(f"{self.name} ended with exit code {code} {when}; {self.last_words()}")

    def last_words(self) -> str:
        """The end of the log, and where the rest is."""
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:] if self.log.exists() else []
        return "\n  ".join([f"its log is {self.log}, which ends:", *(lines or ["(empty)"])])


def _answers(session: requests.Session, url: str) -> bool:
    try:
        return session.get(url, timeout=2).status_code == HTTPStatus.OK
    except requests.RequestException:
        return False
