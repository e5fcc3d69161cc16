"""The token owner's hotkey for the next query, among the hotkeys that he or she has set."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from backend.studio import Studio

LOG = logging.getLogger(__name__)

ACTION = "regions:region:cycle"
KEY = "space"
NOTE = "ClickPick: next query, for projects "
"""Begins the description of an entry that we made; the projects that need it follow. Label Studio's editor stays
blank when an entry has fields that it does not know, so the description is the only place for them."""

PLACE = "Account & Settings > Hotkeys > Regions > Cycle Regions = Space"
OTHER_ANNOTATORS = f"Every other annotator sets one hotkey: {PLACE}"


def add_hotkey(studio: Studio, project: int) -> bool:
    """Space goes to the next query; whether it was set.

    What the user has chosen for the key or the action stays; a warning tells what that is.
    """
    hotkeys = studio.hotkeys()
    obstacle = _obstacle(hotkeys)
    if obstacle:
        LOG.warning("hotkey left as it is: %s; for Space to go to the next query, set %s", obstacle, PLACE)
    projects = _projects(hotkeys.get(ACTION, {}))
    if projects and project not in projects:
        _set(studio, hotkeys, [*projects, project])
    if ACTION in hotkeys or obstacle:
        return False
    _set(studio, hotkeys, [project])
    return True


def remove_hotkey(studio: Studio, project: int) -> bool:
    """Give the hotkey back when no other connected project needs it; whether it was given back."""
    hotkeys = studio.hotkeys()
    projects = _projects(hotkeys.get(ACTION, {}))
    if project not in projects:
        return False
    others = [other for other in projects if other != project]
    _set(studio, hotkeys, others)
    return not others


def _obstacle(hotkeys: Mapping[str, Mapping[str, Any]]) -> str:
    """What else the user has Space for, or what other key the action has; "" when nothing is in the way."""
    others = [action for action, entry in hotkeys.items() if action != ACTION and _is_on_space(entry)]
    if others:
        return f"Space is already the key of {', '.join(others)}"
    entry = hotkeys.get(ACTION)
    if entry is None or _is_on_space(entry):
        return ""
    if not entry.get("active", True):
        return f"{ACTION} is switched off"
    return f"{ACTION} already has the key {entry.get('key')!r}"


def _is_on_space(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("key") == KEY and entry.get("active", True))


def _projects(entry: Mapping[str, Any]) -> list[int]:
    """The projects of an entry that we made; none of the user's own."""
    description = str(entry.get("description") or "")
    unchanged = _is_on_space(entry)  # with another key since, it has become the user's
    if not (unchanged and description.startswith(NOTE)):
        return []
    return [int(number) for number in re.findall(r"\d+", description)]


def _set(studio: Studio, hotkeys: Mapping[str, Mapping[str, Any]], projects: Sequence[int]) -> None:
    kept = {action: entry for action, entry in hotkeys.items() if action != ACTION}
    if projects:
        note = NOTE + ", ".join(map(str, projects))
        kept[ACTION] = {"key": KEY, "active": True, "description": note}
    studio.set_hotkeys(kept)
