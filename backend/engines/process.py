"""Training processes: how they are started with these settings, and how they end."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys

from backend.engines.limits import put_first_to_die
from backend.round_queue import DEEP, INSTANT, Kind
from backend.settings import Settings

LOG = logging.getLogger(__name__)
GRACE_SECONDS = 10.0
CREDENTIALS = ("basic_auth_user", "basic_auth_pass", "webhook_secret")
"""Of callers; a training process has none."""
NICENESS = {INSTANT: 10, DEEP: 19}
"""Clicks come first: the web process gets ten times a round's share of a busy core, a round seven times the deep
learner's."""


def spawn(settings: Settings, kind: Kind) -> subprocess.Popen[bytes]:
    """Start a process that runs rounds of a kind; it ends when this one does. OSError where there is none to have."""
    command = [sys.executable, "-m", "backend.engines.worker", kind]
    process = subprocess.Popen(  # noqa: S603 - our own module
        command, stdin=subprocess.PIPE, env={**os.environ, **_environment(settings)}
    )
    with contextlib.suppress(OSError):  # from here, because the process's own imports take seconds of a core
        niceness = os.getpriority(os.PRIO_PROCESS, 0) + NICENESS[kind]
        os.setpriority(os.PRIO_PROCESS, process.pid, niceness)
    put_first_to_die(process.pid)
    LOG.info("training process %d started (%s)", process.pid, kind)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process, by force where it does not obey in time."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    close_input(process)


def close_input(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def _environment(settings: Settings) -> dict[str, str]:
    """The settings as the child reads them: flags of the command line must reach it too."""
    others = settings.model_dump(
        exclude={"label_studio_url", "label_studio_api_key", *CREDENTIALS}, exclude_none=True
    )
    values = {
        f"CLICKPICK_{name.upper()}": ",".join(value) if isinstance(value, tuple) else str(value)
        for name, value in others.items()
    }
    nobody_calls = dict.fromkeys((f"CLICKPICK_{name.upper()}" for name in CREDENTIALS), "")
    return {
        **values,
        **nobody_calls,
        "LABEL_STUDIO_URL": settings.label_studio_url,
        "LABEL_STUDIO_API_KEY": settings.token,
    }
