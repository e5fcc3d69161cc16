"""``clickpick weights``: which weights there are, where they come from, and how they get here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.commands.evaluate_output import ERR
from backend.commands.failures import expected_failures
from backend.commands.weights_output import (
    AT_HAND,
    OUT,
    advise,
    as_json,
    download_bar,
    entry,
    licence_of,
    millions,
    say,
    size_of,
    state_of,
    working,
)
from backend.settings import Settings
from model_zoo.errors import UnknownModel, WeightsMissing

if TYPE_CHECKING:
    from model_zoo.weight_store import Record
    from model_zoo.weights import Published, WeightSpec

app = typer.Typer(no_args_is_help=True, help="List, fetch, import and verify the weights of models.")
Folder = Annotated[
    Path | None, typer.Option(help="the weights folder [default: CLICKPICK_WEIGHTS, else DATA/weights]")
]


@app.command(name="list")
def list_(
    pattern: Annotated[str, typer.Argument(help="which, such as 'ritm-*'")] = "*",
    *,
    folder: Folder = None,
    json_output: Annotated[bool, typer.Option("--json", help="one JSON array instead")] = False,
) -> None:
    """List weights: licence, size, published figures, and whether they are on this machine."""
    from model_zoo.weight_store import find_weights  # noqa: PLC0415 - imports the models, which takes seconds

    place = folder or Settings().weights_folder
    with expected_failures(lambda: ERR, "nothing was changed"):
        specs = find_weights(pattern)
        if json_output:
            typer.echo(json.dumps([as_json(spec, place) for spec in specs], indent=1))
            return
        for spec in specs:
            published = f"published: {spec.expected}" if spec.expected else ""
            below = (f"licence: {licence_of(spec)}", published)
            entry(OUT, spec.name, state_of(spec, place), millions([spec]), below=below)
        advise(specs, place)
        say(f"weights folder: {place}")


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="names or patterns, such as 'ritm-*'")],
    *,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="I may use them under licences without commercial use")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="again, also where they are at hand")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="keep the published files after conversion")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="download nothing, say what would be")] = False,
    folder: Folder = None,
) -> None:
    """Download published weights and convert them; goes on where an earlier download stopped."""
    settings = Settings()
    place = folder or settings.weights_folder
    with expected_failures(lambda: ERR, "run the command again to go on"):
        failed = False
        for spec, published in _chosen(names):
            _introduce(spec, published)
            try:
                if not force and state_of(spec, place) == AT_HAND:
                    say("  at hand")
                    continue
                _may_fetch(spec, published, accepted=accept_licence, offline=offline or settings.offline)
                _fetch(spec, published, place, keep=keep)
            except WeightsMissing as problem:
                failed = True
                ERR.print(f"  {problem}", style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(int(failed))


@app.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="names or patterns [default: all at hand]")
    ] = None,
    *,
    folder: Folder = None,
) -> None:
    """Compare files with their records and published digests. Exit code 1 when something differs or is missing."""
    from model_zoo.weight_store import check_weights, find_weights  # noqa: PLC0415

    place = folder or Settings().weights_folder
    with expected_failures(lambda: ERR, "nothing was changed"):
        failed = False
        specs = {spec.name: spec for name in names or ["*"] for spec in find_weights(name)}
        for spec in specs.values():
            if not names and state_of(spec, place) != AT_HAND:
                continue
            try:
                with working(f"{spec.name}: reading"):
                    result = check_weights(spec, place)
                say(f"ok       {spec.name}: {result}")
            except WeightsMissing as problem:
                failed = True
                say(f"problem  {spec.name}: {problem}")
    raise typer.Exit(int(failed))


@app.command(name="import")
def import_(
    name: Annotated[str, typer.Argument(help="the model, as `clickpick weights list` names it")],
    file: Annotated[Path, typer.Argument(help="the file as its authors publish it")],
    *,
    own: Annotated[
        bool,
        typer.Option("--own", help="the file is not the published one but your own training with its code"),
    ] = False,
    folder: Folder = None,
) -> None:
    """Convert a downloaded file and put it into the weights folder."""
    from model_zoo.weight_store import find_published  # noqa: PLC0415

    with expected_failures(lambda: ERR, "the weights folder is as it was"):
        spec, published = find_published(name)
        _introduce(spec, published)
        record = _import(spec, file, folder or Settings().weights_folder, own=own)
        say(f"  {spec.name} can be used; sha256 of {file.name}: {record.sha256}")


def _chosen(names: list[str]) -> list[tuple[WeightSpec, Published]]:
    """Published weights by name or pattern, each once; raises UnknownModel for a name of others."""
    from model_zoo.weight_store import find_weights  # noqa: PLC0415

    found: dict[str, tuple[WeightSpec, Published]] = {}
    for name in names:
        specs = find_weights(name)
        published = {spec.name: (spec, spec.published) for spec in specs if spec.published is not None}
        if not published:
            raise UnknownModel(f"the weights {specs[0].name!r} are not fetched: {specs[0].advice}")
        found |= published
    return list(found.values())


def _introduce(spec: WeightSpec, published: Published) -> None:
    """What is to be had, and under which licence, before anything is."""
    say(f"{spec.name}: {published.file}, {size_of(spec)}, licence: {licence_of(spec)}")
    if published.terms:
        say(f"  {published.terms}")


def _may_fetch(spec: WeightSpec, published: Published, *, accepted: bool, offline: bool) -> None:
    """Raises WeightsMissing where nothing may or can be downloaded, saying what to do instead."""
    from model_zoo.weight_store import restricted  # noqa: PLC0415

    by_hand = f"then run: clickpick weights import {spec.name} FILE"
    if restricted(spec) and not accepted:
        raise WeightsMissing("its licence restricts the use; if it allows yours, add --accept-licence")
    if spec.training:
        raise WeightsMissing(spec.training)
    if offline:
        place = published.urls[0] if published.urls else published.page
        raise WeightsMissing(
            f"offline (--offline or CLICKPICK_OFFLINE): nothing is downloaded; bring {published.file} from {place} by "
            f"another way, {by_hand}"
        )
    if not published.urls:
        raise WeightsMissing(
            f"its authors offer no direct download; open {published.page} in a browser, download {published.file}, "
            f"{by_hand}"
        )


def _fetch(spec: WeightSpec, published: Published, place: Path, *, keep: bool) -> None:
    from model_zoo.downloads import Download, download  # noqa: PLC0415

    target = place / "downloads" / spec.name / Path(published.file).name
    with download_bar() as bars:
        bar = bars.add_task(published.file, total=published.size or None)
        download(
            Download(
                published.urls,
                target,
                published.size,
                published.sha256,
                progress=lambda done, total: bars.update(bar, completed=done, total=total or None),
            )
        )
    record = _import(spec, target, place, own=False)
    if not keep:
        shutil.rmtree(target.parent)
    say(f"  at hand; sha256 of {published.file}: {record.sha256}")


def _import(spec: WeightSpec, file: Path, place: Path, *, own: bool) -> Record:
    from model_zoo.weight_store import import_file  # noqa: PLC0415

    with working(f"{spec.name}: reading") as bar:
        report = lambda step: bar.update(bar.task_ids[0], description=f"  {spec.name}: {step}")  # noqa: E731
        return import_file(spec.name, file, place, own=own, report=report)
