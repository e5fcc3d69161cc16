"""``clickpick demo``: Label Studio and ClickPick side by side, two projects with photographs, ready to click."""

from __future__ import annotations

import fcntl
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.status import Status

from backend.connect import connect
from backend.demo.clickpick import ClickPickServer
from backend.demo.label_studio import LabelStudioServer
from backend.demo.photos import Photo, find_photos, packaged_photos
from backend.demo.process import ServerProcess
from backend.demo.projects import DemoProjects
from backend.errors import ConfigProblem
from backend.studio import Studio
from label_config.templates import Kind, render

WATCH_SECONDS = 1.0
INTERRUPTED = 130
"""Exit code of a command that was ended by Ctrl-C before its work was done."""


@dataclass(frozen=True)
class DemoProject:
    """A project that the demo creates."""

    title: str
    description: str
    kind: Kind
    classes: tuple[str, ...]


CLICKS = DemoProject(
    "ClickPick: masks by clicks",
    "Click an object, Alt+click what does not belong to it.",
    "click",
    ("person", "animal", "thing"),
)
PIXELS = DemoProject(
    "ClickPick: a model from pixels",
    "Say what a few pixels are; the model learns it and draws the rest.",
    "pixel",
    ("object", "background"),
)


def run_demo(
    label_studio: Path,
    images: Path | None,
    home: Path,
    *,
    studio_port: int = 8080,
    backend_port: int = 9090,
    open_forever: bool = True,
    console: Console | None = None,
) -> int:
    """Exit code. Runs until Ctrl-C or SIGTERM, unless ``open_forever`` is False: then it ends once all is ready.

    ``label_studio``: the command of Label Studio's own environment; ``images``: a folder of photographs, None for
    those of the scientific packages; ``home``: keeps everything, so that a second run goes on where the first ended.
    """
    console = console or Console()
    ready = False
    try:
        with _exclusive(home), _signals_as_interrupts(), ExitStack() as stack:
            photos = find_photos(images) if images else packaged_photos(home / "photos")
            logs = home.absolute() / "logs"
            studio = LabelStudioServer(
                label_studio, home / "label-studio", port=studio_port, log=logs / "label-studio.log"
            )
            _start(stack, console, "Label Studio", studio)
            clickpick = ClickPickServer(
                home / "clickpick",
                studio_url=studio.url,
                token=studio.token(),
                port=backend_port,
                log=logs / "clickpick.log",
            )
            _start(stack, console, "ClickPick", clickpick)
            numbers = _set_up(console, studio, clickpick, photos)
            ready = True
            console.print(_welcome(studio, numbers, logs))
            if open_forever:
                _watch([studio.process, clickpick.process])
            console.print("Stopping Label Studio and ClickPick ...")
    except KeyboardInterrupt:
        console.print("Label Studio and ClickPick are stopped.")
        return 0 if ready else INTERRUPTED
    return 0


def _start(
    stack: ExitStack, console: Console, name: str, server: LabelStudioServer | ClickPickServer
) -> None:
    stack.callback(server.stop)
    with console.status(f"{name} is starting") as status:
        server.start(status.update)
    console.print(f"{name} answers at {server.url}")


def _set_up(
    console: Console, studio: LabelStudioServer, clickpick: ClickPickServer, photos: Sequence[Photo]
) -> dict[str, int]:
    """Title -> number of the projects, which have their photographs and are connected."""
    numbers = {}
    with (
        closing(Studio(studio.url, studio.token())) as client,
        studio.session() as session,
        console.status("The projects are set up") as status,
    ):
        projects = DemoProjects(studio.url, session)
        for wanted in (CLICKS, PIXELS):
            config = render(wanted.kind, wanted.classes)
            number = projects.ensure(wanted.title, config, wanted.description)
            title = escape(wanted.title)
            report = partial(_report_upload, status, title)
            new = projects.upload(number, photos, report)
            status.update(f"{title}: connecting")
            connect(client, number, clickpick.url)
            numbers[wanted.title] = number
            console.print(f"{title}: project {number}, {new} new photographs", highlight=False)
    return numbers


def _report_upload(status: Status, title: str, done: int, total: int) -> None:
    status.update(f"{title}: photograph {done + 1} of {total}")


def _welcome(studio: LabelStudioServer, numbers: dict[str, int], logs: Path) -> Panel:
    def link(project: DemoProject) -> str:
        return f"{studio.url}/projects/{numbers[project.title]}/data?labeling=1"

    def keys(project: DemoProject) -> str:
        pairs = enumerate(project.classes, start=1)
        return ", ".join(f"[bold]{key}[/] {escape(name)}" for key, name in pairs)

    text = f"""\
[bold]Label Studio[/]  {studio.url}
[bold]Log in[/]        {studio.username}   password  {studio.password}

[bold]1. {CLICKS.title}[/]
   {link(CLICKS)}
   First turn on [bold]Auto-Annotation[/] in the bar below the image, then click
   anywhere beside it, because the switch keeps the keyboard to itself.
   Your browser remembers the switch.
   {keys(CLICKS)}
   Press the key of a class, then [bold]M[/], and click the object.
   The class key again and [bold]Alt+click[/]: that does not belong to it.
   The tick in the bar accepts the mask, [bold]Ctrl+Enter[/] submits.

[bold]2. {PIXELS.title}[/]
   {link(PIXELS)}
   {keys(PIXELS)}, [bold]0[/] cannot tell
   [bold]Space[/] goes to the next ring, then press the key of what is inside it.
   [bold]Ctrl+Enter[/] submits. Seconds later there is a new model: the next
   photograph comes with its drawing, and with its questions.

[bold]Ctrl-C[/] stops both servers; the same command goes on with this work.
Logs: {escape(str(logs))}"""
    return Panel(text, title="ClickPick is ready", expand=False, highlight=False)


def _watch(processes: Sequence[ServerProcess]) -> None:
    """Returns never: ends by KeyboardInterrupt, or by ServerFailed when a server ends by itself."""
    while True:
        for process in processes:
            process.check("by itself")
        time.sleep(WATCH_SECONDS)


@contextmanager
def _exclusive(home: Path) -> Iterator[None]:
    """One demo a folder at a time; ConfigProblem when there is one already. The lock ends with the process."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigProblem(
                f"a demo is running from {home} already; stop it with Ctrl-C in its terminal, or choose another folder"
            ) from error
        yield


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """SIGTERM and a closed terminal end the demo as Ctrl-C does, and Ctrl-C does in a background job too."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
