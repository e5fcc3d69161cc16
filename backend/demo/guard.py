"""Runs one command and ends it when whoever started this script is gone; standard library only.

``python guard.py GRACE COMMAND...``: standard input is a pipe held by the owner. Its end, by a clean stop or by the
owner's death of whatever kind, terminates the command, which may end its own children in order; after GRACE seconds,
or when it is gone, what is left of its process group is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading


def guard(grace: float, command: list[str]) -> int:
    """Exit code of the command; its process group is empty when this returns."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603

    def kill_group() -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)

    def end_with_owner() -> None:
        with contextlib.suppress(OSError):  # a pipe that cannot be read has nobody at its other end
            while os.read(0, 1024):
                pass
        child.terminate()
        threading.Event().wait(grace)
        kill_group()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: child.terminate())
    threading.Thread(target=end_with_owner, daemon=True).start()
    code = child.wait()
    kill_group()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(guard(float(sys.argv[1]), sys.argv[2:]))
