"""Checks of the storage that several machines share."""

from __future__ import annotations

from collections.abc import Iterator

from backend.doctor.finding import Finding
from backend.errors import ClickPickError
from backend.services import open_shared
from backend.settings import Settings


def check_shared(settings: Settings) -> Iterator[Finding]:
    """Whether a file can be written there, read and deleted; nothing where there is none."""
    storage = open_shared(settings)
    if storage is None:
        return
    try:
        storage.probe()
    except ClickPickError as problem:
        advice = "create the bucket or folder, and let this account list, read, write and delete there"
        yield Finding("shared-unusable", "error", str(problem), advice)
    else:
        yield Finding("shared-ok", "ok", f"files can be written to {storage.url}, read and deleted")
