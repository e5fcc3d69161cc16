"""The connection of this process to a Ray cluster."""

from __future__ import annotations

import logging
import signal
import socket
import threading

from backend.errors import ClusterUnavailable, ConfigProblem
from backend.settings import Settings

NAMESPACE = "clickpick"
ANSWER_SECONDS = 5.0
"""Within which a cluster's head takes a connection. Ray itself goes on for two minutes."""
_CONNECTING = threading.Lock()
_JOINED = threading.Event()
"""By `connect`, and not by somebody else in this process."""


def connect(settings: Settings) -> None:
    """Join the cluster at ``ray_address``, once a process; "auto" is that of a node on this machine.

    Raises ConfigProblem where Ray is not installed, and ClusterUnavailable where nobody answers.
    """
    try:
        import ray  # noqa: PLC0415 - an extra, and seconds to import
    except ModuleNotFoundError as problem:
        raise ConfigProblem(
            "Ray is not installed, and --engine ray needs it; install clickpick[ray], or use --engine local"
        ) from problem
    with _CONNECTING:
        if ray.is_initialized():
            return
        address = settings.ray_address
        if address != "auto":
            _knock(address)
        for name in ("ray", "ray.serve"):  # as lines of this process's own log: in its format, and censored
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.propagate = True
        own_thread = threading.current_thread() is threading.main_thread()
        terminate = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(
                address=address,
                namespace=NAMESPACE,
                configure_logging=False,
                log_to_driver=settings.log_format == "text",
            )
        except (OSError, RuntimeError, ValueError) as problem:
            raise ClusterUnavailable(
                f"no Ray cluster can be joined at {address!r} ({problem}); this machine has to be a node of one: start "
                "it with `ray start --head` or `ray start --address=HEAD:6379`, or correct CLICKPICK_RAY_ADDRESS"
            ) from problem
        else:
            _JOINED.set()
        finally:
            if own_thread:
                signal.signal(signal.SIGTERM, terminate)  # Ray's own would end a server without its grace


def leave() -> None:
    """Leave the cluster that `connect` has joined."""
    with _CONNECTING:
        if _JOINED.is_set():
            import ray  # noqa: PLC0415 - as above

            _JOINED.clear()
            ray.shutdown()


def resources() -> dict[str, float]:
    """What all nodes have together: "CPU", "GPU" and others."""
    import ray  # noqa: PLC0415 - as above

    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found


def _knock(address: str) -> None:
    """See whether anybody listens there at all."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except OSError as problem:
        raise ClusterUnavailable(
            f"no Ray cluster answers at {address!r} ({problem}); start its head with `ray start --head`, or correct "
            "CLICKPICK_RAY_ADDRESS"
        ) from problem
