"""``clickpick backup``: the database and the versions in one file, safe while the server runs."""

from __future__ import annotations

import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from backend.errors import ClickPickError, ConfigProblem
from backend.settings import MEGABYTE, Settings

OUT = Console(emoji=False)
DATABASE = "clickpick.db"


class BackupIncomplete(ClickPickError):
    """A backup would lack what is live; nothing was kept."""


def backup(
    file: Annotated[Path, typer.Argument(help="the file to write, such as clickpick.tar; must not exist")],
) -> None:
    """Copy the database and all versions into one tar file. The server may go on meanwhile."""
    settings = Settings()
    if file.exists():
        raise ConfigProblem(f"{file} exists already; name another file, or delete it")
    if not settings.data.is_dir():
        raise ConfigProblem(
            f"there is no data folder at {settings.data}; set CLICKPICK_DATA as the server has it"
        )
    unfinished = file.with_name(f"{file.name}.part")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    try:
        versions = write_backup(settings, unfinished)
        unfinished.rename(file)
    finally:
        unfinished.unlink(missing_ok=True)
    text = f"{file}: {file.stat().st_size / MEGABYTE:.1f} MB, {versions} versions"
    if database_file(settings) is None:
        text += "; the database is none of this machine's files: save it with its own tools (pg_dump), before this"
    OUT.print(text, highlight=False, markup=False, soft_wrap=True)


def database_file(settings: Settings) -> Path | None:
    """The SQLite file that holds the tables; None where another database does."""
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - each command imports what it needs

    url = make_url(settings.store_url)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def write_backup(settings: Settings, file: Path) -> int:
    """Write the tar file; the number of versions in it. Raises BackupIncomplete.

    The database first: what comes after is at most newer, and a folder that no row names does no harm.
    """
    with tarfile.open(file, "w") as archive, tempfile.TemporaryDirectory() as scratch:
        live: set[str] = set()
        source = database_file(settings)
        if source is not None and source.is_file():
            copy = Path(scratch) / DATABASE
            live = _copy_database(source, copy)
            archive.add(copy, DATABASE)
        added = set(_add_versions(archive, settings.versions_folder))
    if missing := live - added:
        raise BackupIncomplete(
            f"live versions {', '.join(sorted(missing))} were not there to be copied; start a round, or run it again"
        )
    return len(added)


def _copy_database(source: Path, copy: Path) -> set[str]:
    """One consistent state, the write-ahead log included; returns the folders of the live versions."""
    with closing(sqlite3.connect(source)) as running, closing(sqlite3.connect(copy)) as target:
        running.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")
        query = (
            "SELECT folder FROM versions JOIN projects ON projects.id = versions.project "
            "AND projects.live_version = versions.number"
        )
        return {folder for (folder,) in target.execute(query)}


def _add_versions(archive: tarfile.TarFile, root: Path) -> Iterator[str]:
    """Add each version's folder; one that is pruned meanwhile is left out."""
    for folder in sorted(root.glob("[0-9]*/[0-9]*")):
        name = f"{folder.parent.name}/{folder.name}"
        try:
            for path in sorted(folder.iterdir()):
                archive.add(path, f"versions/{name}/{path.name}", recursive=False)
        except FileNotFoundError:
            continue
        yield name
