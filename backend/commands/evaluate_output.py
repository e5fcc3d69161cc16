"""What the commands that measure have in common: progress, checked output files, where a figure comes from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from model_zoo.errors import BadInput

ERR = Console(stderr=True, emoji=False)


def progress_bar(*, counted: bool = True) -> Progress:
    """A bar on standard error, gone when it is done, and nothing where that is no terminal.

    counted: its units are things that one counts; else a share is shown. Standard output is left alone: rich would
    send it to standard error while the bar is shown.
    """
    share = MofNCompleteColumn() if counted else TaskProgressColumn()
    columns = TextColumn("{task.description}"), BarColumn(), share, TimeRemainingColumn()
    return Progress(
        *columns,
        console=ERR,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not ERR.is_terminal,
    )


def check_outputs(json_file: Path | None, plot: Path | None) -> None:
    """Fail before hours of measuring, not after."""
    for path in filter(None, (json_file, plot)):
        if not path.parent.is_dir():
            raise BadInput(f"{path} cannot be written: {path.parent} is no folder; make it first")
        if path.is_dir():
            raise BadInput(f"{path} cannot be written: it is a folder; give the name of a file in it")
        if not os.access(path.parent, os.W_OK):
            raise BadInput(f"{path} cannot be written: {path.parent} is not writable; choose another folder")
    if plot is not None:
        from model_zoo.evaluation.plot import check_plot  # noqa: PLC0415 - each command imports what it needs

        check_plot(plot)


def measured_on() -> dict[str, Any]:
    """The machine, and the versions of what matters, as JSON values."""
    from backend.machine import machine, versions  # noqa: PLC0415 - as above

    return {"machine": machine(), "versions": versions()}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """A file is complete or not there: written under another name, then renamed."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_text(json.dumps(content) + "\n", encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
