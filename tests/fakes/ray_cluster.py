"""A Ray cluster of several nodes on this machine, whose processes belong to whoever started it."""

from __future__ import annotations

import shutil
import socket
import tempfile
from typing import Any

NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}


class LocalCluster:
    """``nodes`` of one core each; use it as a context manager. The first one has the head."""

    def __init__(self, nodes: int = 2) -> None:
        self._nodes = nodes
        self._folder = ""
        self._cluster: Any = None

    def __enter__(self) -> LocalCluster:
        from ray.cluster_utils import Cluster

        self._folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # Ray's sockets must have short paths
        head = {
            **NODE,
            "gcs_server_port": _free_port(),
            "include_dashboard": False,
            "temp_dir": self._folder,
        }
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(self._nodes - 1):
            self.add_node()
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def address(self) -> str:
        """As CLICKPICK_RAY_ADDRESS takes it."""
        return str(self._cluster.address)

    def add_node(self) -> Any:
        return self._cluster.add_node(**NODE)

    def kill_node(self, node: Any = None) -> None:
        """Kill all processes of a node, by default one without the head."""
        node = node or next(iter(self._cluster.worker_nodes))
        self._cluster.remove_node(node, allow_graceful=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
