"""Tabs of Label Studio's Data Manager ("views") that show chosen tasks, through label-studio-sdk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backend.studio.records import ViewInfo
from backend.studio.settings import StudioSettings

MOST_TASKS = 500
"""A view has a filter a task. From 1,000 on SQLite refuses them ("Expression tree is too large")."""

SELECTION = ("title", "filters", "ordering", "selectedItems")
"""What makes a view show what it shows; the rest is columns and their widths."""


class StudioViews(StudioSettings):
    """The part of the client that makes and removes views. A view is known by its title."""

    def views(self, project: int) -> list[ViewInfo]:
        """All views, in the order of their tabs."""
        found = self._call(f"views of project {project}", lambda sdk: sdk.views.list(project=project))
        return [_view(view) for view in found]

    def show_tasks(self, project: int, title: str, tasks: Sequence[int]) -> ViewInfo:
        """The one view of that title, showing exactly these tasks, by id: made or updated, other titles untouched.

        An updated view keeps its columns and order; a new one has the columns of the first tab. Of several views
        of the title the others go. ValueError for no task (Label Studio would show all) or over MOST_TASKS.
        """
        if not 0 < len(tasks) <= MOST_TASKS:
            message = f"a view of {len(tasks)} tasks is asked for; expected 1 to {MOST_TASKS}"
            raise ValueError(message)
        views = self.views(project)
        own = [view for view in views if view.title == title]
        if own:
            for double in own[1:]:
                self._delete_view(double)
            kept = {k: v for k, v in own[0].data.items() if k != "selectedItems"}
            data = {**kept, "filters": _only(tasks)}
            number = str(own[0].id)
            what = f"view {title!r}"
            return _view(self._call(what, lambda sdk: sdk.views.update(number, project=project, data=data)))
        if not views:
            # The interface makes its own first tab where there is none yet; after ours it would not any more.
            self._create_view(project, {"title": "Default", "filters": {"conjunction": "and", "items": []}})
        columns = {k: v for k, v in views[0].data.items() if k not in SELECTION} if views else {}
        return self._create_view(project, {**columns, "title": title, "filters": _only(tasks)})

    def remove_view(self, project: int, title: str) -> bool:
        """Delete the view of that title; whether there was one."""
        own = [view for view in self.views(project) if view.title == title]
        for view in own:
            self._delete_view(view)
        return bool(own)

    def _create_view(self, project: int, data: Mapping[str, Any]) -> ViewInfo:
        what = f"a new view {data['title']!r}"
        return _view(self._call(what, lambda sdk: sdk.views.create(project=project, data=dict(data))))

    def _delete_view(self, view: ViewInfo) -> None:
        self._call(f"view {view.title!r}", lambda sdk: sdk.views.delete(str(view.id)))


def _only(tasks: Sequence[int]) -> dict[str, Any]:
    """A filter that the interface can show: of operators that it does not know, such as ``in_list``, it crashes."""
    one = {"filter": "filter:tasks:id", "operator": "equal", "type": "Number"}
    return {"conjunction": "or", "items": [{**one, "value": task} for task in tasks]}


def _view(view: Any) -> ViewInfo:
    data = dict(view.data or {})
    return ViewInfo(id=view.id or 0, title=str(data.get("title") or ""), data=data)
