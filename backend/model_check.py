"""Whether the models that a project or the settings name exist, and have their weights on this machine.

The registry takes seconds to import, so it is imported only when there is a name to look up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from backend.errors import ConfigProblem
from backend.settings import Settings
from label_config.schema import ProjectSchema
from model_zoo.errors import ModelZooError, UnknownModel, WeightsMissing

Kind = Literal["segmenter", "learner"]
Code = Literal["model-unknown", "weights-missing"]


@dataclass(frozen=True)
class NamedModel:
    """A model by name, and the words for the place that names it. ``files``: "NAME:FILE" is allowed there."""

    kind: Kind
    name: str
    place: str
    files: bool = False


@dataclass(frozen=True)
class ModelProblem:
    """Why a model cannot be built here. ``code``: "model-unknown" or "weights-missing"."""

    code: Code
    message: str
    advice: str


def models_of_settings(settings: Settings) -> list[NamedModel]:
    """The models of projects that name none."""
    return [
        NamedModel("segmenter", settings.segmenter, f"CLICKPICK_SEGMENTER={settings.segmenter}", files=True),
        *learners_of_settings(settings),
    ]


def learners_of_settings(settings: Settings) -> list[NamedModel]:
    """The learners of projects that name none: that of the rounds, and the one beside them where there is one."""
    learners = [NamedModel("learner", settings.learner, f"CLICKPICK_LEARNER={settings.learner}")]
    if deep := settings.deep_learner_name:
        learners.append(NamedModel("learner", deep, f"CLICKPICK_DEEP_LEARNER={settings.deep_learner}"))
    return learners


def refuse_learners(settings: Settings) -> None:
    """ConfigProblem for learners of the settings that cannot be built here."""
    problems = [
        f"{found.message}; {found.advice}"
        for found in check_models(learners_of_settings(settings), settings.weights_folder)
    ]
    if problems:
        raise ConfigProblem("; ".join(problems))


def models_of_config(schema: ProjectSchema) -> list[NamedModel]:
    """The models that a labelling config names in ``segmenter`` and ``learner`` attributes."""
    return [
        NamedModel(kind, name, f'{kind}="{name}" on image {image.name!r}')
        for image in schema.images
        for kind, name in _attributes(image.segmenter, image.learner)
    ]


def check_models(named: Iterable[NamedModel], weights: Path | None = None) -> Iterator[ModelProblem]:
    """What is wrong with these models, at most one problem each. weights: the folder of this installation."""
    for model in named:
        problem = _problem(model, weights)
        if problem is not None:
            yield problem


def refuse_unknown_models(project_id: int, schema: ProjectSchema) -> None:
    """ConfigProblem for a wrong name, which would first fail at a click, unseen in the editor.

    Missing weights are no reason: the backend may run on another machine than this.
    """
    for problem in check_models(models_of_config(schema)):
        if problem.code == "model-unknown":
            raise ConfigProblem(
                f"the labelling config of project {project_id} has {problem.message}; {problem.advice}, in the "
                "project's Labeling Interface settings, and connect again"
            )


def _attributes(segmenter: str | None, learner: str | None) -> Iterator[tuple[Kind, str]]:
    if segmenter is not None:
        yield "segmenter", segmenter
    if learner is not None:
        yield "learner", learner


def _problem(model: NamedModel, weights: Path | None) -> ModelProblem | None:
    from model_zoo.registry import find_model, list_models  # noqa: PLC0415 - seconds to import
    from model_zoo.weights import locate  # noqa: PLC0415

    info = find_model(model.name, model.kind)
    if info is None and model.files and ":" in model.name:
        return _file_problem(model)
    if info is None:
        known = ", ".join(info.name for info in list_models(kind=model.kind))
        message = f"{model.place}: this {model.kind} is not known; known are {known}"
        return ModelProblem("model-unknown", message, "correct the name, or remove it to use the default")
    for spec in info.weights:
        try:
            locate(spec, weights)
        except WeightsMissing:
            message = f"{model.place}: its weights {spec.name!r} are not on this machine"
            return ModelProblem("weights-missing", message, spec.advice)
    return None


def _file_problem(model: NamedModel) -> ModelProblem | None:
    """What is wrong with "NAME:FILE": it is opened, which takes half a second."""
    from model_zoo.registry import open_segmenter  # noqa: PLC0415 - as above

    try:
        open_segmenter(model.name)
    except UnknownModel as error:
        return ModelProblem("model-unknown", f"{model.place}: {error}", "correct the name before the colon")
    except ModelZooError as error:
        return ModelProblem("weights-missing", f"{model.place}: {error}", "correct the path after the colon")
    return None
