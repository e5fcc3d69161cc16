"""What Label Studio tells about projects, tasks, backends and webhooks, as far as ClickPick needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ProjectInfo:
    """Settings of one project. ``model_version``: whose predictions are served first; "" for none."""

    id: int
    title: str
    label_config: str
    model_version: str
    sampling: str
    show_collab_predictions: bool
    task_number: int


@dataclass(frozen=True)
class TaskInfo:
    """One task without its annotations.

    ``data`` holds addresses as they were imported, unresolved; it is empty where not asked for.
    ``score``: that of its prediction of the version that the project serves; None without one, or where not asked for.
    """

    id: int
    data: Mapping[str, Any]
    is_labeled: bool
    score: float | None = None


@dataclass(frozen=True)
class BackendInfo:
    """One connected ML backend. ``state``: CO connected, DI disconnected, ER error, TR, PR at work.

    ``auth_user``: whom it gives as basic auth; the password is never told.
    """

    id: int
    title: str
    url: str
    is_interactive: bool
    state: str
    error_message: str
    description: str
    auth_user: str = ""


@dataclass(frozen=True)
class WebhookInfo:
    """One webhook of a project. ``actions`` count only where ``send_for_all_actions`` is off."""

    id: int
    url: str
    is_active: bool
    send_payload: bool
    send_for_all_actions: bool
    actions: frozenset[str]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class ViewInfo:
    """One tab of the Data Manager. ``data``: filters, order and columns as Label Studio holds them."""

    id: int
    title: str
    data: Mapping[str, Any]
