"""Waits for a round that was asked for; runs it here where no server takes it up."""

from __future__ import annotations

import time

from rich.progress import BarColumn, Progress, TextColumn

from backend.commands.evaluate_output import ERR
from backend.errors import ClickPickError
from backend.settings import Settings
from backend.store import Store

CLAIM_SECONDS = 3.0
"""A running server takes a round from the queue within this time; without one, the command runs it itself."""


class RoundFailed(ClickPickError):
    """The round ended without what it was asked for; the text is the round's."""


def see_through(settings: Settings, store: Store, project: int, number: int) -> str:
    """Wait until a round has ended; its message. Raises RoundFailed."""
    from backend.engines.worker import Worker  # noqa: PLC0415 - imports what a training process needs

    patience = time.monotonic() + CLAIM_SECONDS
    worker: Worker | None = None
    with Progress(TextColumn("{task.description}"), BarColumn(), console=ERR, transient=True) as progress:
        bar = progress.add_task("waiting", total=1.0)
        while (current := store.rounds.get(number)) and current.state in ("queued", "running"):
            if current.state == "queued" and time.monotonic() > patience:
                worker = worker or Worker(settings)
                worker.run_one(project)
            progress.update(
                bar, description=current.message or current.stage or "waiting", completed=current.progress
            )
            time.sleep(0.2)
    if current is None:
        raise RoundFailed(f"project {project} was deleted in Label Studio")
    if current.state == "failed":
        raise RoundFailed(current.message)
    return current.message
