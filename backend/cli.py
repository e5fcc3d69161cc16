"""The command line: ``clickpick`` and its commands."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console

from backend.commands import backup, evaluate, export, merge, precompute, review, training, versions, weights
from backend.commands.weights_output import advise, entry, millions, state_of
from backend.errors import ClickPickError
from backend.memory import keep_freed_memory
from backend.settings import Settings
from model_zoo.errors import ModelZooError

if TYPE_CHECKING:
    from model_zoo.weights import WeightSpec

START, PROJECTS, DATA, MODELS = "Start", "Work on a project", "Look after the data", "Models"
"""Panels of the help, in the order in which people need them."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Label Studio plugin: clicks become masks, a few pixels become a model.",
    epilog="Begin with `make demo` in a clone, or with `clickpick serve` and `clickpick connect --project 7`. "
    "When something does not work: `clickpick doctor --project 7`.",
)
OUT = Console(emoji=False)
ERR = Console(stderr=True, emoji=False)

Project = Annotated[int, typer.Option("--project", help="number of the project in Label Studio", min=1)]


def main() -> None:
    """Entry point; expected failures are one line on standard error and exit code 1."""
    keep_freed_memory()
    try:
        app()
    except (ClickPickError, ModelZooError) as error:
        _fail(str(error))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        _fail(f"the settings are not valid: {problems}")


@app.command(rich_help_panel=START)
def serve(
    host: Annotated[str | None, typer.Option(help="address to listen on [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on [default: 9090]")] = None,
    engine: Annotated[
        str | None, typer.Option(help="where models answer: local, or ray [default: local]")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="of the Ray cluster [default: the one this machine is a node of]")
    ] = None,
) -> None:
    """Run the backend that Label Studio calls. Ctrl-C ends it.

    Settings come from the environment or a file .env of this folder: LABEL_STUDIO_URL, LABEL_STUDIO_API_KEY and
    CLICKPICK_*. It is one process with threads (gunicorn) and a training process beside it; with --engine ray, models
    answer on the nodes of a Ray cluster.
    """
    from backend.engines.installed import check_engine, check_flask  # noqa: PLC0415 - each command imports what it needs
    from backend.engines.model_threads import half_of_the_cores  # noqa: PLC0415

    flags = {
        "CLICKPICK_HOST": host,
        "CLICKPICK_PORT": port,
        "CLICKPICK_ENGINE": engine,
        "CLICKPICK_RAY_ADDRESS": ray_address,
    }
    os.environ.update({name: str(value) for name, value in flags.items() if value is not None})
    os.environ.setdefault("OMP_NUM_THREADS", str(half_of_the_cores()))  # read when the libraries are loaded
    settings = Settings()
    check_flask()
    check_engine(settings)
    options = {
        "bind": f"{settings.host}:{settings.port}",
        "workers": "1",
        "worker-class": "backend.slow_clients.Worker",
        "threads": str(settings.threads),
        "timeout": "120",
        "graceful-timeout": "10",
        "keep-alive": "75",  # longer than people think between clicks: who sends while it is closed gets no answer
        "name": "clickpick",
    }
    if settings.log_format == "json":
        options["logger-class"] = "backend.gunicorn_logs.GunicornJson"
    command = [sys.executable, "-m", "gunicorn", "--no-control-socket"]
    command += [word for name, value in options.items() for word in (f"--{name}", value)]
    sys.stdout.flush()
    os.execv(sys.executable, [*command, "backend.app:create_app()"])  # noqa: S606 - replaces this process


@app.command(rich_help_panel=START)
def demo(
    label_studio: Annotated[Path, typer.Option(help="the label-studio command of its own environment")],
    images: Annotated[Path | None, typer.Option(help="a folder of your own photographs")] = None,
    home: Annotated[Path, typer.Option(help="where the demo keeps its data")] = Path(".demo"),
) -> None:
    """Start Label Studio and ClickPick together, with two projects ready to try."""
    from backend.demo.run import run_demo  # noqa: PLC0415 - each command imports what it needs

    raise typer.Exit(run_demo(label_studio, images, home))


@app.command(rich_help_panel=START)
def connect(
    project: Project,
    url: Annotated[str | None, typer.Option(help="ClickPick's address as Label Studio reaches it")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="undo what connect has done")] = False,
) -> None:
    """Connect a project: backend, webhook, queue order and hotkeys. Says what it changed.

    The labelling config is checked first; one that cannot work is refused with a repaired one to paste. Repeat the
    command after a change of address or credentials. Predictions and annotations stay, with --remove too.
    """
    from backend.access import Access  # noqa: PLC0415
    from backend.connect import connect as connect_project  # noqa: PLC0415
    from backend.connect import disconnect  # noqa: PLC0415
    from backend.hotkey import OTHER_ANNOTATORS  # noqa: PLC0415
    from backend.services import open_studio  # noqa: PLC0415
    from backend.store import Store  # noqa: PLC0415
    from label_config import read_schema  # noqa: PLC0415

    settings = Settings()
    studio = open_studio(settings)
    address = url or f"http://{settings.host}:{settings.port}"
    if remove:
        changes = disconnect(studio, project, address)
        Store(settings.store_url).forget_project(project)
    else:
        changes = connect_project(studio, project, address, access=Access.of(settings))
    for change in changes:
        OUT.print(f"{change.what}: {change.before} -> {change.after}", highlight=False, markup=False)
    if not changes:
        OUT.print(f"project {project}: nothing to change")
    if not remove and read_schema(studio.project(project).label_config).pixel_image is not None:
        OUT.print(OTHER_ANNOTATORS, highlight=False, markup=False)


@app.command(name="round", rich_help_panel=PROJECTS)
def start_round(project: Project) -> None:
    """Run a round now: fit, publish, score the queue, push. Waits until it is done.

    The server runs it where there is one, else this command. It fits even when no label has changed.
    """
    from backend.commands.round_now import see_through  # noqa: PLC0415
    from backend.round_queue import ASKED_FOR  # noqa: PLC0415
    from backend.services import open_studio  # noqa: PLC0415
    from backend.store import Store  # noqa: PLC0415

    settings = Settings()
    open_studio(settings).project(project)
    store = Store(settings.store_url)
    message = see_through(settings, store, project, store.rounds.request(project, ASKED_FOR))
    OUT.print(message, highlight=False, markup=False)


@app.command(rich_help_panel=MODELS)
def models(pattern: Annotated[str, typer.Argument(help="which, such as 'gp*'")] = "*") -> None:
    """List segmenters and learners, and whether their weights are at hand."""
    from model_zoo.registry import list_models  # noqa: PLC0415

    folder = Settings().weights_folder
    kind = ""
    specs: dict[str, WeightSpec] = {}
    for model in sorted(list_models(pattern), key=lambda model: model.kind, reverse=True):
        specs |= {spec.name: spec for spec in model.weights}
        states = dict.fromkeys(state_of(spec, folder) for spec in model.weights)
        state = "; ".join(states) or "needs none"
        if model.kind != kind:
            OUT.rule(f"{model.kind}s", align="left")
            kind = model.kind
        below = (model.summary, f"licence: {model.licence}")
        entry(OUT, model.name, state, millions(model.weights), below=below)
    advise(specs.values(), folder)


@app.command(rich_help_panel=START)
def doctor(
    project: Annotated[int | None, typer.Option(help="also check this project", min=1)] = None,
    url: Annotated[str | None, typer.Option(help="ClickPick's address as Label Studio reaches it")] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="refill a lost database from Label Studio and the data folder")
    ] = False,
) -> None:
    """Look for what commonly goes wrong, and say how to fix it. Exit code 1 when an error was found.

    ClickPick, the token and the models are looked at; with --project also the labelling config, the connection and
    the images of three tasks.
    """
    from backend.doctor import diagnose, rebuild_store  # noqa: PLC0415

    settings = Settings()
    if rebuild:
        findings = rebuild_store(settings, project)
    else:
        findings = diagnose(settings, project, url or f"http://{settings.host}:{settings.port}")
    for finding in findings:
        colour = {"error": "red", "warning": "yellow"}.get(finding.severity, "green")
        OUT.print(f"[{colour}]{finding.severity:7}[/] ", end="")
        OUT.print(f"{finding.code}: {finding.message}", highlight=False, markup=False)
        if finding.advice:
            OUT.print(f"        {finding.advice}", highlight=False, markup=False)
    raise typer.Exit(int(any(finding.severity == "error" for finding in findings)))


app.command(rich_help_panel=PROJECTS)(precompute.precompute)
app.command(rich_help_panel=PROJECTS)(review.review)
app.command(rich_help_panel=PROJECTS)(export.export)
app.command(rich_help_panel=PROJECTS)(merge.merge)
app.add_typer(versions.app, name="versions", rich_help_panel=PROJECTS)
app.command(rich_help_panel=DATA)(backup.backup)
app.add_typer(weights.app, name="weights", rich_help_panel=MODELS)
app.add_typer(evaluate.app, name="evaluate", rich_help_panel=MODELS)
app.command(rich_help_panel=MODELS)(training.pretrain)
app.command(rich_help_panel=MODELS)(training.train_clicks)


def _fail(message: str) -> NoReturn:
    ERR.print(f"error: {message}", style="red", highlight=False, markup=False)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
