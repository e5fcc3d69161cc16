"""A real Ray cluster of a test's own: a head without processors, and nodes of one processor each, on this machine."""

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import ray

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
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


class RayNodes:
    """Processes of `ray start`, each node in a session of its own, by which it is killed whole and nothing else is."""

    def __init__(self) -> None:
        self._folder = Path(
            tempfile.mkdtemp(prefix="cp-ray-", dir="/tmp")
        )  # socket paths have 107 bytes at most
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._port = _free_port()
        self._start("--head", "--port", str(self._port), "--num-cpus", "0", "--include-dashboard", "false",
                    "--temp-dir", str(self._folder), "--ray-client-server-port", str(_free_port()))  # fmt: skip
        wait_until(lambda: _listens(self._port), "the head of the cluster")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def add(self) -> None:
        """One more node, which has joined then. Two that start at once on one machine take the same names."""
        before = {node["NodeID"] for node in ray.nodes()}
        self._start("--address", self.address, "--num-cpus", "1")
        wait_until(lambda: {n["NodeID"] for n in ray.nodes() if n["Alive"]} - before, "a node of the cluster")

    def kill_node_of(self, pid: int) -> None:
        """SIGKILL for all processes of the node that this process belongs to."""
        session = os.getsid(pid)
        node = next(node for node in self._nodes if node.pid == session)
        _kill(node)

    def close(self) -> None:
        for node in reversed(self._nodes):
            _kill(node)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, *options: str) -> None:
        environment = {
            **os.environ, **CONDUCT, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0",
        }  # fmt: skip
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--node-ip-address", "127.0.0.1",
            "--num-gpus", "0", "--object-store-memory", str(STORE_BYTES), "--disable-usage-stats",
            "--min-worker-port", "0", "--max-worker-port", "0",
            "--dashboard-agent-listen-port", str(_free_port()), *options,
        ]  # fmt: skip
        log = (self._folder / "log").open("ab")
        with log:
            self._nodes.append(
                subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)
            )


@contextmanager
def ray_nodes(count: int) -> Iterator[RayNodes]:
    """A cluster of so many nodes of one processor, which this process has joined."""
    nodes = RayNodes()
    try:
        ray.init(nodes.address, namespace="clickpick", configure_logging=False, log_to_driver=False)
        for _ in range(count):
            nodes.add()
        yield nodes
    finally:
        ray.shutdown()
        nodes.close()


def wait_until(condition: Callable[[], object], what: str, seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.02)


def _kill(node: subprocess.Popen[bytes]) -> None:
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.Error):
            if os.getsid(process.pid) == node.pid:
                process.send_signal(signal.SIGKILL)
    node.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
