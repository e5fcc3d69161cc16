"""How the commands end when something expected goes wrong: one line, an exit code, no traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from pydantic import ValidationError
from rich.console import Console

from backend.settings import Settings
from model_zoo.errors import BadInput, UnknownModel

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended."""


@contextmanager
def expected_failures(console: Callable[[], Console], interrupted: str) -> Iterator[None]:
    """Bad input exits with 2, Ctrl-C with INTERRUPTED and the text ``interrupted``; each is one line."""
    try:
        yield
    except (BadInput, UnknownModel) as error:
        text = f"error: {error}"
        console().print(text, style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        console().print(f"interrupted: {interrupted}", style="red", highlight=False, markup=False)
        raise typer.Exit(INTERRUPTED) from None


def torch_device(device: str) -> str:
    """The device of an option, "auto" resolved; raises BadInput."""
    try:
        return Settings(device=device).torch_device
    except ValidationError as error:
        raise BadInput(f"--device is {device!r}; expected auto, cpu, mps, cuda or cuda:N") from error
