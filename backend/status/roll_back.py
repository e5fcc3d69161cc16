"""The page's button: an earlier version comes back with the next round, as by `clickpick versions rollback`."""

from __future__ import annotations

from backend.errors import BadRequest
from backend.service import Service


def ask_for(service: Service, project: int, number: int) -> int:
    """Have the next round make that version live again; the round's number. Only notes it, the round does the work."""
    store = service.store
    live = store.live_version(project)
    numbers = {version.number for version in store.versions(project)}
    if number not in numbers:
        raise BadRequest(
            f"project {project} has no version {number}; expected one that its status page lists"
        )
    if live is not None and live.number == number:
        raise BadRequest(f"version {number} of project {project} is live already; choose another one")
    store.want_version(project, number)
    asked = store.rounds.request(project, f"rollback to version {number}")
    service.engine.start_training()
    return asked
