"""The token owner's hotkey for the next query, among the hotkeys that he or she has set."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from backend.studio import Studio

ACTION = "regions:region:cycle"
KEY = "space"
NOTE = "ClickPick: next query, for projects "
"""Begins the description of an entry that we made; the projects that need it follow. Label Studio's editor stays
blank when an entry has fields that it does not know, so the description is the only place for them."""

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
        _set(studio, hotkeys, [project])
        return True
    projects = _projects(entry)
    if projects and project not in projects:
        _set(studio, hotkeys, [*projects, project])
    return False


def remove_hotkey(studio: Studio, project: int) -> bool:
    """Give the hotkey back when no other connected project needs it; whether it was given back."""
    hotkeys = studio.hotkeys()
    projects = _projects(hotkeys.get(ACTION, {}))
    if project not in projects:
        return False
    others = [other for other in projects if other != project]
    _set(studio, hotkeys, others)
    return not others


def _projects(entry: Mapping[str, Any]) -> list[int]:
    """The projects of an entry that we made; none of the user's own."""
    description = str(entry.get("description") or "")
    if not description.startswith(NOTE):
        return []
    return [int(number) for number in re.findall(r"\d+", description)]


def _set(studio: Studio, hotkeys: Mapping[str, Mapping[str, Any]], projects: Sequence[int]) -> None:
    kept = {action: entry for action, entry in hotkeys.items() if action != ACTION}
    if projects:
        note = NOTE + ", ".join(map(str, projects))
        kept[ACTION] = {"key": KEY, "active": True, "description": note}
    studio.set_hotkeys(kept)
