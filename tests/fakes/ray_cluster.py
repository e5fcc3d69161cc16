"""A Ray cluster of several nodes on this machine, whose processes belong to whoever started it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
PATIENCE = 90.0
STORE_BYTES = 100 << 20


class LocalCluster:
    """``nodes`` of one core each, the first with the head; use it as a context manager.

    Each node is a session of processes, by which it is killed.
    """

    def __init__(self, nodes: int = 2) -> None:
        self._count = nodes
        self._folder = Path()
        self._port = 0
        self._nodes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> LocalCluster:
        self._folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # Ray's sockets must have short paths
        self._port = _free_port()
        head = ["--head", f"--port={self._port}", "--include-dashboard=false", f"--temp-dir={self._folder}"]
        try:
            self._start(*head, f"--ray-client-server-port={_free_port()}", "--disable-usage-stats")
            for _ in range(self._count - 1):
                self.add_node()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in reversed(self._nodes):
            _kill_session(node)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def address(self) -> str:
        """As CLICKPICK_RAY_ADDRESS takes it."""
        return f"127.0.0.1:{self._port}"

    def add_node(self) -> None:
        """One more; returns when it has joined."""
        self._start(f"--address={self.address}")

    def kill_node(self) -> None:
        """SIGKILL for all processes of the node that was added last."""
        _kill_session(self._nodes.pop())

    def _start(self, *options: str) -> None:
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--node-ip-address=127.0.0.1",
            "--num-cpus=1", "--num-gpus=0", f"--object-store-memory={STORE_BYTES}",
            "--min-worker-port=0", "--max-worker-port=0", f"--dashboard-agent-listen-port={_free_port()}",
            *options,
        ]  # fmt: skip
        log = self._folder / f"node-{len(self._nodes)}-{time.monotonic_ns()}.log"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with log.open("wb") as stream:
            node = subprocess.Popen(
                command, stdout=stream, stderr=stream, start_new_session=True, env=environment
            )
        self._nodes.append(node)
        until = time.monotonic() + PATIENCE
        while "Ray runtime started" not in (text := log.read_text(errors="replace")):
            if node.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"a Ray node has not started: {text}")
            time.sleep(0.1)


def _kill_session(leader: subprocess.Popen[bytes]) -> None:
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.Error):
            if os.getsid(process.pid) == leader.pid:
                process.send_signal(signal.SIGKILL)
    leader.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
