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
_MEMBERS: set[object] = set()
"""Of this process, who have joined by `connect` and not left."""


def connect(settings: Settings, who: object) -> None:
    """Join the cluster at ``ray_address``; "auto" is that of a node on this machine. ``who``: whoever leaves it again.

    A process is in one cluster at a time; while it is in one, this joins no other.

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
            if _MEMBERS:
                _MEMBERS.add(who)
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
            _MEMBERS.add(who)
        finally:
            if own_thread:
                signal.signal(signal.SIGTERM, terminate)  # Ray's own would end a server without its grace


def leave(who: object) -> None:
    """Leave the cluster, if ``who`` has joined it by `connect`; with the last one the process leaves."""
    with _CONNECTING:
        if who in _MEMBERS:
            _MEMBERS.remove(who)
            if not _MEMBERS:
                import ray  # noqa: PLC0415 - as above

                ray.shutdown()


def resources() -> dict[str, float]:
    """What all nodes have together: "CPU", "GPU" and others."""
    import ray  # noqa: PLC0415 - as above

    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found


def available() -> dict[str, float]:
    """What is left of that for now."""
    import ray  # noqa: PLC0415 - as above

    found: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
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
