"""What ``clickpick weights`` and ``clickpick models`` say of weights: words, tables, bars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from backend.commands.evaluate_output import ERR
from model_zoo.errors import WeightsMissing

if TYPE_CHECKING:
    from model_zoo.weights import WeightSpec

OUT = Console(emoji=False)
AT_HAND = "at hand"


def say(text: str) -> None:
    """A line of standard output as it is."""
    OUT.print(text, highlight=False, markup=False, soft_wrap=True)


def entry(console: Console, name: str, *details: str, below: Iterable[str]) -> None:
    """One line with the name and details, then indented texts, wrapped to the terminal; empty ones are left out."""
    first = "  ".join(text for text in details if text)
    console.print(Text.assemble((f"{name:<30}", "bold"), "  ", first), soft_wrap=True)
    for text in below:
        if text:
            console.print(Padding(Text(text), (0, 0, 0, 4)))


def download_bar() -> Progress:
    """Bytes, speed and remaining time on standard error; nothing where that is no terminal."""
    columns = TextColumn("  {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    return Progress(*columns, TimeRemainingColumn(), console=ERR, transient=True, disable=not ERR.is_terminal)


@contextmanager
def working(what: str) -> Iterator[Progress]:
    """A moving bar at a terminal, for steps of unknown length."""
    columns = TextColumn("{task.description}"), BarColumn()
    with Progress(*columns, console=ERR, transient=True, disable=not ERR.is_terminal) as progress:
        progress.add_task(f"  {what}", total=None)
        yield progress


def state_of(spec: WeightSpec, place: Path) -> str:
    """In two or three words, whether the weights are on this machine, else how they come here."""
    from model_zoo.weights import locate  # noqa: PLC0415

    try:
        locate(spec, place)
    except WeightsMissing:
        if spec.training:
            return "needs weights"
        if spec.published is None:
            return "missing"
        return f"{'to fetch' if spec.published.urls else 'by hand'}, {size_of(spec)}"
    return AT_HAND


def advise(specs: Iterable[WeightSpec], place: Path) -> None:
    """What to run for those that are not at hand: a line a kind, or one each where every one is another matter."""
    states = {spec.name: state_of(spec, place) for spec in specs}
    kinds = {state.partition(",")[0] for state in states.values()}
    if "to fetch" in kinds:
        say("to fetch: run `clickpick weights fetch NAME`")
    if "by hand" in kinds:
        say("by hand: `clickpick weights fetch NAME` says where the file is and how to import it")
    for spec in specs:
        if states[spec.name] in ("missing", "needs weights"):
            say(f"{spec.name}: {spec.advice}")


def size_of(spec: WeightSpec) -> str:
    """Of what is downloaded."""
    size = spec.size if spec.published is None else spec.published.size
    return f"{size / 1e6:.{0 if size >= 1e7 else 1}f} MB" if size else "size unknown"


def millions(specs: Iterable[WeightSpec]) -> str:
    """Parameters, where they were counted."""
    counted = sum(spec.parameters for spec in specs)
    return f"{counted / 1e6:.1f} M" if counted else ""


def licence_of(spec: WeightSpec) -> str:
    """The licence, marked where it has to be accepted."""
    from model_zoo.weight_store import restricted  # noqa: PLC0415

    return f"{spec.licence} (restricted)" if restricted(spec) else spec.licence


def as_json(spec: WeightSpec, place: Path) -> dict[str, Any]:
    """All that is known of weights, as JSON values."""
    from model_zoo.weight_store import restricted  # noqa: PLC0415

    published = spec.published
    at_hand = state_of(spec, place) == AT_HAND
    return {
        "name": spec.name,
        "parameters": spec.parameters or None,
        "licence": spec.licence,
        "restricted": restricted(spec),
        "paper": spec.paper,
        "expected": spec.expected,
        "at_hand": at_hand,
        "to_do": "" if at_hand else spec.advice,
        "file": spec.file if published is None else published.file,
        "size": (spec.size if published is None else published.size) or None,
        "sha256": (spec.sha256 if published is None else published.sha256) or None,
        "urls": list(spec.mirrors if published is None else published.urls),
        "page": "" if published is None else published.page,
        "terms": "" if published is None else published.terms,
    }
