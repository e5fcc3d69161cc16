"""Models by name: the decorated builder function ``gp_lite0(device)`` is the model ``gp-lite0``."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from model_zoo.errors import UnknownModel
from model_zoo.weights import WeightSpec

if TYPE_CHECKING:
    from model_zoo.learners.base import Learner
    from model_zoo.segmenters.base import Segmenter

Kind = Literal["segmenter", "learner"]
Builder = TypeVar("Builder", bound=Callable[[str], Any])
PACKAGES = ("model_zoo.segmenters", "model_zoo.learners")


@dataclass(frozen=True)
class ModelInfo:
    """What a user is told of a model; ``licence`` is its weights', ``source`` its code's origin."""

    name: str
    kind: Kind
    summary: str
    paper: str
    licence: str
    source: str
    weights: tuple[WeightSpec, ...]


_models: dict[str, tuple[ModelInfo, Callable[[str], Any]]] = {}


def register_segmenter(
    *, paper: str, licence: str, source: str, weights: tuple[WeightSpec, ...] = ()
) -> Callable[[Builder], Builder]:
    """Decorate a function (device) -> Segmenter; the first line of its docstring is the summary."""
    return _register("segmenter", paper, licence, source, weights)


def register_learner(
    *, paper: str, licence: str, source: str, weights: tuple[WeightSpec, ...] = ()
) -> Callable[[Builder], Builder]:
    """Decorate a function (device) -> Learner; the first line of its docstring is the summary."""
    return _register("learner", paper, licence, source, weights)


def _register(
    kind: Kind, paper: str, licence: str, source: str, weights: tuple[WeightSpec, ...]
) -> Callable[[Builder], Builder]:
    def decorate(builder: Builder) -> Builder:
        name = builder.__name__.replace("_", "-")
        if name in _models:
            raise ValueError(f"model {name!r} is registered twice; rename one of the builder functions")
        summary = (builder.__doc__ or "").strip().partition("\n")[0]
        _models[name] = ModelInfo(name, kind, summary, paper, licence, source, weights), builder
        return builder

    return decorate


@lru_cache(maxsize=1)
def _discover() -> None:
    """Import every module of the model packages, which registers their models."""
    for package in PACKAGES:
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__, package + "."):
            importlib.import_module(module.name)


def list_models(pattern: str = "*", kind: Kind | None = None) -> list[ModelInfo]:
    """Registered models whose name matches the shell pattern ("gp-*"), sorted by name."""
    _discover()
    return [
        info
        for name, (info, _) in sorted(_models.items())
        if fnmatchcase(name, pattern) and kind in (None, info.kind)
    ]


def create_segmenter(name: str, device: str = "cpu") -> Segmenter:
    """Build a segmenter; raises UnknownModel with close names, or WeightsMissing with the command to run."""
    return cast("Segmenter", _builder(name, "segmenter")(device))


def create_learner(name: str, device: str = "cpu") -> Learner:
    """Build a learner; raises UnknownModel with close names, or WeightsMissing with the command to run."""
    return cast("Learner", _builder(name, "learner")(device))


def _builder(name: str, kind: Kind) -> Callable[[str], Any]:
    names = [info.name for info in list_models(kind=kind)]
    if name not in names:
        close = get_close_matches(name, names) or names
        raise UnknownModel(f"{kind} {name!r} is not known; did you mean {' or '.join(close)}?")
    return _models[name][1]
