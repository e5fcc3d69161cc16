"""What may follow a segmenter's name, each after a plus and applied from left to right: "ritm-hrnet18+fbrs-b+gp".

The decorated function ``fbrs_b(segmenter)`` is the modifier ``+fbrs-b``. ``ModelInfo.modifiers`` says which of them a
model takes; every segmenter takes ``+gp``, the head that obeys every click, after which nothing else may come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from model_zoo.errors import UnknownModel

LAST = "gp"
Applied = TypeVar("Applied", bound=Callable[[Any], Any])


@dataclass(frozen=True)
class Modifier:
    """summary: a sentence. group: of several with the same, a name takes one; empty for its own."""

    name: str
    summary: str
    group: str
    apply: Callable[[Any], Any]


_modifiers: dict[str, Modifier] = {}


def register_modifier(*, group: str = "") -> Callable[[Applied], Applied]:
    """Decorate a function (segmenter) -> Segmenter; the first line of its docstring is the summary."""

    def decorate(apply: Applied) -> Applied:
        name = apply.__name__.replace("_", "-")
        if name in _modifiers:
            raise ValueError(f"modifier {name!r} is registered twice")
        summary = (apply.__doc__ or "").strip().partition("\n")[0]
        _modifiers[name] = Modifier(name, summary, group or name, apply)
        return apply

    return decorate


def split_name(name: str) -> tuple[str, tuple[str, ...]]:
    """A segmenter's name and what follows it; of "NAME:FILE" only modifiers that there are, for files have pluses."""
    if ":" not in name:
        base, *found = name.split("+")
        return base, tuple(found)
    base, found = name, []
    while (parts := base.rpartition("+"))[1] and parts[2] in _modifiers:
        base, found = parts[0], [parts[2], *found]
    return base, tuple(found)


def check_modifiers(name: str, base: str, taken: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise UnknownModel unless the model of that base name takes what is wanted. taken: its ``modifiers``."""
    problem = _problem(base, (*taken, LAST), wanted)
    if problem:
        raise UnknownModel(f"segmenter {name!r} is not known: {problem}")


def _problem(base: str, taken: Sequence[str], wanted: Sequence[str]) -> str:
    for number, modifier in enumerate(wanted):
        if modifier not in taken:
            return f"after {base!r} may come {', '.join(f'+{known}' for known in taken)}; got '+{modifier}'"
        if LAST in wanted[:number]:
            return f"nothing comes after '+{LAST}'; got '+{modifier}'"
        group = _modifiers[modifier].group
        other = next((one for one in wanted[:number] if _modifiers[one].group == group), None)
        if other is not None:
            return f"of '+{other}' and '+{modifier}' only one may come after {base!r}"
    return ""


def apply_modifiers(segmenter: Any, names: Sequence[str]) -> Any:
    """The segmenter as its name's modifiers make it; they are checked."""
    for name in names:
        segmenter = _modifiers[name].apply(segmenter)
    return segmenter


def summarise(summary: str, names: Sequence[str]) -> str:
    """A model's summary, and what the modifiers do to it."""
    return " ".join([summary, *(_modifiers[name].summary for name in names)])
