"""A real Ray cluster of several nodes on this machine, whose processes belong to whoever started it."""

from __future__ import annotations

import contextlib
import os
import re
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
PATIENCE = 120.0
STORE_BYTES = 150_000_000
CONDUCT = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "5",
    "RAY_worker_register_timeout_seconds": "120",
    "RAY_memory_monitor_refresh_ms": "0",
}
"""A dead node is known to be dead after seconds: until then Ray keeps on other nodes what its processes had there.
A busy machine is given time, and nobody is killed for what others use of its memory."""


class LocalCluster:
    """A head, and nodes of one core each beside it; use it as a context manager.

    Each node is a session of processes, by which it is killed whole and nothing else is. head_cores: how many the head
    offers; nothing that a test kills the node of may run there.
    """

    def __init__(self, nodes: int = 2, *, head_cores: int = 0) -> None:
        self._count = nodes
        self._head_cores = head_cores
        self._folder = Path()
        self._port = 0
        self._nodes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> LocalCluster:
        self._folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # Ray's sockets must have short paths
        self._port = _free_port()
        head = ["--head", f"--port={self._port}", "--include-dashboard=false", f"--temp-dir={self._folder}"]
        try:
            self._start(self._head_cores, *head, f"--ray-client-server-port={_free_port()}")
            for _ in range(self._count):
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
        """One more; returns when it has joined. Two that start at once on one machine take the same names."""
        self._start(1, f"--address={self.address}")

    def kill_node(self, process: int = 0) -> None:
        """SIGKILL for all processes of the node that a process belongs to, or else that was added last."""
        session = _session(process) if process else 0
        node = next((node for node in self._nodes[1:] if node.pid == session), self._nodes[-1])
        self._nodes.remove(node)
        _kill_session(node)

    def processes(self) -> list[psutil.Process]:
        """Those that Ray has made for the work that it is given, replicas among them; a node ends with its agents."""
        sessions = {node.pid for node in self._nodes}
        found = (process for process in psutil.process_iter() if _session(process.pid) in sessions)
        return [process for process in found if re.match(r"ray::(?!\w+Agent$)", title(process))]

    def _start(self, cores: int, *options: str) -> None:
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--node-ip-address=127.0.0.1",
            f"--num-cpus={cores}", "--num-gpus=0", f"--object-store-memory={STORE_BYTES}",
            "--disable-usage-stats", "--min-worker-port=0", "--max-worker-port=0",
            f"--dashboard-agent-listen-port={_free_port()}", *options,
        ]  # fmt: skip
        log = self._folder / f"node-{time.monotonic_ns()}.log"
        environment = {**os.environ, **CONDUCT, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
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


def title(process: psutil.Process) -> str:
    """What Ray calls a process now, such as ``ray::run_rounds``; "" for one that is gone."""
    with contextlib.suppress(psutil.Error):
        return (process.cmdline() or [""])[0]
    return ""


def _session(process: int) -> int:
    """0 for a process that is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        return os.getsid(process)
    return 0


def _kill_session(leader: subprocess.Popen[bytes]) -> None:
    for process in psutil.process_iter():
        if _session(process.pid) == leader.pid:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
    leader.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
