"""A terminal for the commands of the documentation, and servers that are started in it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from typer.testing import CliRunner

from backend.cli import app


@dataclass(frozen=True)
class Shell:
    """A terminal in an empty folder, with the settings of a fake Label Studio."""

    folder: Path
    environment: dict[str, str]

    def run(self, line: str) -> str:
        """What a line printed; it has to succeed. ``clickpick`` runs in this process: starting one takes seconds."""
        if line.startswith("clickpick "):
            done = CliRunner().invoke(app, shlex.split(line)[1:], env=self.environment)
            assert done.exit_code == 0, f"{line}: {done.output}{done.exception!r}"
            return done.output
        bash = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert bash.returncode == 0, f"{line}: {bash.stdout}{bash.stderr}"
        return bash.stdout


@contextmanager
def served(shell: Shell, line: str, port: int) -> Iterator[None]:
    """While a server of this command line answers."""
    environment = {**shell.environment, "CLICKPICK_PORT": str(port)}
    with (shell.folder / "serve.log").open("ab") as log:
        server = subprocess.Popen(
            ["bash", "-c", line],
            cwd=shell.folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}/health", server)
        yield
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _wait_until_healthy(address: str, server: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + 120
    while True:
        assert server.poll() is None, "the server has ended"
        assert time.monotonic() < limit, f"{address} does not answer"
        try:
            if requests.get(address, timeout=3).json()["status"] == "UP":
                return
        except requests.RequestException:
            time.sleep(0.3)
