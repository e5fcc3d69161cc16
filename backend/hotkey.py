"""The token owner's hotkey for the next query, among the hotkeys that he or she has set."""

from __future__ import annotations

from backend.studio import Studio

ACTION = "regions:region:cycle"
KEY = "space"
PROJECTS = "clickpick_projects"
"""Field of the hotkey's entry: the projects that it was set for. An entry without it is the user's own."""

OTHER_ANNOTATORS = (
    "Every other annotator sets one hotkey: Account & Settings > Hotkeys > Regions > Cycle Regions = Space"
)


def add_hotkey(studio: Studio, project: int) -> bool:
    """Space goes to the next query; whether it was set. What the user has chosen for either of them stays."""
    hotkeys = studio.hotkeys()
    entry = hotkeys.get(ACTION)
    if entry is None:
        if any(other.get("key") == KEY and other.get("active", True) for other in hotkeys.values()):
            return False
        hotkeys[ACTION] = {"key": KEY, "active": True, PROJECTS: [project]}
        studio.set_hotkeys(hotkeys)
        return True
    projects = entry.get(PROJECTS)
    if projects is not None and project not in projects:
        studio.set_hotkeys({**hotkeys, ACTION: {**entry, PROJECTS: [*projects, project]}})
    return False


def remove_hotkey(studio: Studio, project: int) -> bool:
    """Give the hotkey back when no other connected project needs it; whether it was given back."""
    hotkeys = studio.hotkeys()
    entry = hotkeys.get(ACTION, {})
    projects = entry.get(PROJECTS)
    if projects is None or project not in projects:
        return False
    others = [other for other in projects if other != project]
    if others:
        studio.set_hotkeys({**hotkeys, ACTION: {**entry, PROJECTS: others}})
        return False
    del hotkeys[ACTION]
    studio.set_hotkeys(hotkeys)
    return True
