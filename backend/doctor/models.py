"""Checks of the models that the settings and a project's labelling config name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from backend.doctor.finding import Finding
from backend.model_check import NamedModel, check_models, models_of_config, models_of_settings
from backend.settings import Settings
from label_config.schema import ProjectSchema


def check_default_models(settings: Settings) -> Iterator[Finding]:
    """The segmenter and the learner of projects that name none."""
    named = models_of_settings(settings)
    problems = list(_findings(named, settings.weights_folder))
    yield from problems
    if not problems:
        names = " and ".join(model.name for model in named)
        yield Finding("models-ok", "ok", f"the models {names} and their weights are at hand")


def check_config_models(settings: Settings, project_id: int, schema: ProjectSchema) -> Iterator[Finding]:
    """The models that a project names itself."""
    return _findings(models_of_config(schema), settings.weights_folder, f"project {project_id}, ")


def _findings(named: Iterable[NamedModel], weights: Path, prefix: str = "") -> Iterator[Finding]:
    for problem in check_models(named, weights):
        yield Finding(problem.code, "error", prefix + problem.message, problem.advice)
