"""Models by name: the decorated builder function ``gp_lite0(device)`` is the model ``gp-lite0``.

A family of learners, ``probe(encoder, device)``, has a member ``probe-ENCODER`` for every encoder that there is.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from torch import Tensor

from model_zoo.errors import UnknownModel
from model_zoo.modifiers import apply_modifiers, check_modifiers, split_name, summarise
from model_zoo.weights import WeightSource, WeightSpec

if TYPE_CHECKING:
    from model_zoo.learners.base import Learner
    from model_zoo.segmenters.base import Segmenter

Kind = Literal["segmenter", "learner"]
Builder = TypeVar("Builder", bound=Callable[[str], Any])
NetworkBuilder = TypeVar("NetworkBuilder", bound=Callable[[str, WeightSource], Any])
Tensors = dict[str, Tensor]
Converter = Callable[[Tensors, Mapping[str, Any]], Tensors]
"""From a published file to our network; raises WeightsMissing for a file of another network."""
FamilyBuilder = TypeVar("FamilyBuilder", bound=Callable[[str, str], Any])
PACKAGES = ("model_zoo.segmenters", "model_zoo.learners")


@dataclass(frozen=True)
class ModelInfo:
    """What a user is told of a model; ``licence`` is its weights', ``source`` its code's origin.

    ``modifiers`` may follow a segmenter's name, see ``model_zoo.modifiers``; "gp", which all take, is not among them.
    """

    name: str
    kind: Kind
    summary: str
    paper: str
    licence: str
    source: str
    weights: tuple[WeightSpec, ...]
    modifiers: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Family:
    summary: str
    paper: str
    source: str
    builder: Callable[[str, str], Any]


_models: dict[str, tuple[ModelInfo, Callable[[str, WeightSource], Any]]] = {}
_converters: dict[str, Converter] = {}  # by the names of networks
_families: dict[str, _Family] = {}  # by the beginning of their members' names, "probe-"


def register_segmenter(
    *, paper: str, licence: str, source: str, weights: tuple[WeightSpec, ...] = ()
) -> Callable[[Builder], Builder]:
    """Decorate a function (device) -> Segmenter; the first line of its docstring is the summary."""
    return _register("segmenter", paper, licence, source, weights)


def register_network(
    *,
    paper: str,
    licence: str,
    source: str,
    weights: tuple[WeightSpec, ...],
    convert: Converter,
    name: str = "",
    modifiers: tuple[str, ...] = (),
) -> Callable[[NetworkBuilder], NetworkBuilder]:
    """Decorate a function (device, WeightSource) -> Segmenter of a network whose weights others publish.

    convert: tensors and plain configuration of the published file to the tensors of our network. name: for names
    that no function can have. modifiers: what may follow the name, besides "gp".
    """

    def decorate(builder: NetworkBuilder) -> NetworkBuilder:
        called = name or builder.__name__.replace("_", "-")
        summary = (builder.__doc__ or "").strip().partition("\n")[0]
        _add(ModelInfo(called, "segmenter", summary, paper, licence, source, weights, modifiers), builder)
        _converters[called] = convert
        return builder

    return decorate


def register_learner(
    *, paper: str, licence: str, source: str, weights: tuple[WeightSpec, ...] = ()
) -> Callable[[Builder], Builder]:
    """Decorate a function (device) -> Learner; the first line of its docstring is the summary."""
    return _register("learner", paper, licence, source, weights)


def register_learner_family(
    *, paper: str, source: str, listed: tuple[str, ...]
) -> Callable[[FamilyBuilder], FamilyBuilder]:
    """Decorate a function (encoder, device) -> Learner; "{encoder}" in its docstring's first line is filled in.

    Every encoder of ``model_zoo.encoders`` makes a member; ``listed`` are those that ``list_models`` names. A member's
    weights and licence are its encoder's.
    """

    def decorate(builder: FamilyBuilder) -> FamilyBuilder:
        prefix = builder.__name__.replace("_", "-") + "-"
        summary = (builder.__doc__ or "").strip().partition("\n")[0]
        _families[prefix] = family = _Family(summary, paper, source, builder)
        for encoder in listed:
            info = _member(prefix + encoder, family, encoder)
            _add(info, _without_source(partial(builder, encoder)))
        return builder

    return decorate


def _member(name: str, family: _Family, encoder: str) -> ModelInfo:
    """Raises UnknownModel where there is no such encoder."""
    from model_zoo.encoders import encoder_weights  # noqa: PLC0415 - imports timm, which takes seconds

    weights = encoder_weights(encoder)
    return ModelInfo(
        name=name,
        kind="learner",
        summary=family.summary.format(encoder=encoder),
        paper=family.paper,
        licence=weights.licence,
        source=family.source,
        weights=(weights,),
    )


def _find_member(name: str) -> tuple[ModelInfo, Callable[[str], Any]] | None:
    """A member of a family that is not listed; None where the name belongs to no family. Raises UnknownModel."""
    for prefix, family in _families.items():
        encoder = name.removeprefix(prefix)
        if encoder != name:
            return _member(name, family, encoder), partial(family.builder, encoder)
    return None


def _register(
    kind: Kind, paper: str, licence: str, source: str, weights: tuple[WeightSpec, ...]
) -> Callable[[Builder], Builder]:
    def decorate(builder: Builder) -> Builder:
        name = builder.__name__.replace("_", "-")
        summary = (builder.__doc__ or "").strip().partition("\n")[0]
        _add(ModelInfo(name, kind, summary, paper, licence, source, weights), _without_source(builder))
        return builder

    return decorate


def _without_source(builder: Callable[[str], Any]) -> Callable[[str, WeightSource], Any]:
    return lambda device, _: builder(device)


def find_converter(name: str) -> Converter:
    """Of a network; UnknownModel, naming those there are, for others."""
    _discover()
    if name not in _converters:
        raise UnknownModel(
            f"{name!r} has no published weights; those that have are {', '.join(sorted(_converters))}"
        )
    return _converters[name]


def _add(info: ModelInfo, builder: Callable[[str, WeightSource], Any]) -> None:
    if info.name in _models:
        raise ValueError(f"model {info.name!r} is registered twice; rename one of the builder functions")
    _models[info.name] = info, builder


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


def find_model(name: str, kind: Kind) -> ModelInfo | None:
    """The model of that name, modified segmenters and unlisted members of families included, or None."""
    base, modifiers = split_name(name) if kind == "segmenter" else (name, ())
    info = next((info for info in list_models(kind=kind) if info.name == base), None)
    try:
        if info is None and kind == "learner":
            member = _find_member(name)
            return None if member is None else member[0]
        if info is None:
            return None
        check_modifiers(name, base, info.modifiers, modifiers)
    except UnknownModel:
        return None
    return replace(info, name=name, summary=summarise(info.summary, modifiers)) if modifiers else info


def create_segmenter(name: str, device: str = "cpu", source: WeightSource | None = None) -> Segmenter:
    """Build a segmenter, modified where modifiers follow its name. source: None for what packages carry alone.

    Raises UnknownModel with close names or the modifiers that there are, or WeightsMissing with the command to run.
    """
    base, modifiers = split_name(name)
    build = _builder(base, "segmenter", name.removeprefix(base))
    check_modifiers(name, base, _models[base][0].modifiers, modifiers)
    return cast("Segmenter", apply_modifiers(build(device, source or WeightSource()), modifiers))


def open_segmenter(name: str, device: str = "cpu", source: WeightSource | None = None) -> Segmenter:
    """As ``create_segmenter``; besides, "NAME:FILE" is NAME with the weights of a file, modifiers after it as ever.

    For names given by whoever runs ClickPick, never for those of labelling configs, which others write: a file is
    read. Raises BadInput, too, for models that read no files.
    """
    from model_zoo.segmenters.trainable import find_trainable  # noqa: PLC0415 - the models import this module

    _discover()
    base, modifiers = split_name(name)
    model, colon, file = base.partition(":")
    if not colon:
        return create_segmenter(name, device, source)
    trainable = find_trainable(model)
    check_modifiers(public_name(name), model, _models[model][0].modifiers, modifiers)
    return cast("Segmenter", apply_modifiers(trainable.open(model, Path(file), device), modifiers))


def public_name(name: str) -> str:
    """The name as others may see it: without the folder of a weight file."""
    model, colon, file = name.partition(":")
    return f"{model}:{Path(file).name}" if colon else name


def create_learner(name: str, device: str = "cpu") -> Learner:
    """Build a learner, "FAMILY-ENCODER" for any encoder; nothing is downloaded.

    Raises UnknownModel with close names, or WeightsMissing with the command to run.
    """
    return cast("Learner", _builder(name, "learner", "")(device, WeightSource()))


def _builder(name: str, kind: Kind, suffix: str) -> Callable[[str, WeightSource], Any]:
    """Raises UnknownModel with close names, each with what followed the one that is not known."""
    names = [info.name for info in list_models(kind=kind)]
    if name not in names:
        member = _find_member(name) if kind == "learner" else None
        if member is not None:
            return _without_source(member[1])
        close = [found + suffix for found in get_close_matches(name, names) or names]
        raise UnknownModel(f"{kind} {name + suffix!r} is not known; did you mean {' or '.join(close)}?")
    return _models[name][1]
