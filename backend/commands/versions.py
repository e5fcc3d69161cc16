"""``clickpick versions``: which there are of a project, what each is, back to an earlier one, and room on the disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from backend.errors import ConfigProblem
from backend.settings import MEGABYTE, Settings

if TYPE_CHECKING:
    from backend.learning.shared_versions import SharedVersions
    from backend.store import Store, Version

app = typer.Typer(no_args_is_help=True, help="List, show, roll back and prune the versions of a project.")
OUT = Console(emoji=False)
Project = Annotated[int, typer.Option("--project", help="number of the project in Label Studio", min=1)]


@dataclass(frozen=True)
class _Opened:
    """One project's versions. ``problem`` says what is wrong with a folder, "" where it is as it was published."""

    settings: Settings
    store: Store
    project: int
    shared: SharedVersions | None

    def find(self, number: int | None) -> Version:
        """The version of that number, or the live one; ConfigProblem where there is none."""
        versions = self.store.versions(self.project)
        if number is None:
            found = self.store.live_version(self.project)
        else:
            found = next((version for version in versions if version.number == number), None)
        if found is None:
            there = ", ".join(str(version.number) for version in versions) or "none"
            asked = "no live version" if number is None else f"no version {number}"
            raise ConfigProblem(f"project {self.project} has {asked}; there are: {there}")
        return found

    def problem(self, version: Version, shared_bytes: Mapping[int, int]) -> str:
        """Of a version that lies on the shared storage alone nothing is known until somebody fetches it."""
        from backend.learning.version_card import DamagedVersion, check_files  # noqa: PLC0415

        folder = self.settings.versions_folder / version.folder
        if not folder.exists() and shared_bytes.get(version.number):
            return ""
        try:
            check_files(folder)
        except DamagedVersion as damage:
            return str(damage)
        return ""

    def sizes(self, versions: Sequence[Version]) -> dict[int, int]:
        """Bytes of versions by number: on the shared storage where there is one, else in the data folder."""
        from backend.learning.version_pruning import version_bytes  # noqa: PLC0415

        return version_bytes(self.settings.versions_folder, versions, self.shared)

    def shared_bytes(self) -> dict[int, int]:
        """Bytes of versions on the shared storage, by number."""
        return {} if self.shared is None else self.shared.sizes(self.project)

    def as_json(self, versions: Sequence[Version]) -> list[dict[str, Any]]:
        live = self.store.live_version(self.project)
        sizes, there = self.sizes(versions), self.shared_bytes()
        return [
            {
                **asdict(version),
                "live": live is not None and live.number == version.number,
                "bytes": sizes[version.number],
                "problem": self.problem(version, there),
            }
            for version in versions
        ]


@contextmanager
def _opened(project: int) -> Iterator[_Opened]:
    from backend.learning.shared_versions import SharedVersions  # noqa: PLC0415 - each command imports what it needs
    from backend.services import open_shared  # noqa: PLC0415
    from backend.store import Store  # noqa: PLC0415

    settings = Settings()
    storage = open_shared(settings)
    shared = None if storage is None else SharedVersions(storage, settings.versions_folder)
    with closing(Store(settings.store_url)) as store:
        yield _Opened(settings, store, project, shared)


@app.command(name="list")
def list_(
    project: Project,
    *,
    json_output: Annotated[bool, typer.Option("--json", help="one JSON array instead")] = False,
) -> None:
    """List the versions of a project, newest first, and which one is live."""
    with _opened(project) as opened:
        rows = opened.as_json(opened.store.versions(project))
    if json_output:
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table("version", "", "learner", "labels", "held-out mIoU", "created", "MB", "remarks")
    for row in rows:
        table.add_row(*map(Text, _cells(row)))
    OUT.print(table if rows else f"project {project} has no versions yet")


@app.command()
def show(
    number: Annotated[int | None, typer.Argument(help="which [default: the live one]", min=1)] = None,
    *,
    project: Project,
) -> None:
    """Show what is known of a version, its figures on held-out labels among it."""
    with _opened(project) as opened:
        (facts,) = opened.as_json([opened.find(number)])
    metrics = facts.pop("metrics")
    facts |= {"created": _time(facts["created"]), "classes": ", ".join(facts["classes"])}
    for name, value in [*facts.items(), *((f"metrics.{name}", value) for name, value in metrics.items())]:
        _say(f"{name:24} {value if value not in ('', None) else '-'}")


@app.command()
def rollback(
    number: Annotated[int, typer.Argument(help="of the earlier version, as the list has it", min=1)],
    *,
    project: Project,
) -> None:
    """Make an earlier version live again, by a round that publishes it anew and pushes its predictions; waits."""
    from backend.commands.round_now import RoundFailed, see_through  # noqa: PLC0415
    from backend.learning.rollback import ROLLBACK_OF  # noqa: PLC0415
    from backend.services import open_studio  # noqa: PLC0415

    with _opened(project) as opened:
        wanted, live = opened.find(number), opened.store.live_version(project)
        if live is not None and live.number == number:
            raise ConfigProblem(f"version {number} of project {project} is live already")
        if problem := opened.problem(wanted, opened.shared_bytes()):
            raise ConfigProblem(f"{wanted.name} cannot be loaded: {problem}; choose another version")
        with closing(open_studio(opened.settings)) as studio:
            studio.project(project)
        opened.store.want_version(project, number)
        asked = opened.store.rounds.request(project, f"rollback to version {number}")
        message = see_through(opened.settings, opened.store, project, asked)
        now = opened.store.live_version(project)
        if now is None or now.metrics.get(ROLLBACK_OF) != wanted.name:
            raise RoundFailed(message)
    _say(message)


@app.command()
def prune(
    project: Project,
    *,
    keep: Annotated[int | None, typer.Option(help="keep so many of the newest versions", min=1)] = None,
) -> None:
    """Delete old versions: all but the newest, or what is beyond CLICKPICK_VERSIONS_MB. The live one always stays."""
    from backend.learning import version_pruning as pruning  # noqa: PLC0415

    with _opened(project) as opened:
        root, store = opened.settings.versions_folder, opened.store
        if keep is not None:
            chosen = pruning.beyond_newest(store, project, keep)
        else:
            quota = opened.settings.versions_mb * MEGABYTE
            chosen = pruning.beyond_quota(store, root, project, quota, opened.shared) if quota else []
        sizes = opened.sizes(chosen)
        gone = pruning.remove(store, root, project, chosen, opened.shared)
        left = len(store.versions(project))
    freed = sum(sizes[version.number] for version in gone) / MEGABYTE
    _say(f"{len(gone)} versions deleted, {freed:.1f} MB freed, {left} left")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    metrics = row["metrics"]
    miou = metrics.get("held_out_miou")
    remarks = [f"rollback of {metrics['rollback_of']}"] if "rollback_of" in metrics else []
    remarks += [f"kept aside: {metrics['aside']}"] if "aside" in metrics else []
    remarks += [f"damaged: {row['problem']}"] if row["problem"] else []
    return (
        f"{row['number']}  {row['name']}",
        "live" if row["live"] else "",
        row["learner"],
        str(row["labels"]),
        "-" if miou is None else f"{miou:.3f}",
        _time(row["created"]),
        f"{row['bytes'] / MEGABYTE:.1f}",
        "; ".join(remarks),
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def _say(text: str) -> None:
    OUT.print(text, highlight=False, markup=False, soft_wrap=True)
