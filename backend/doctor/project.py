"""Checks of one project: labelling config, connection, images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from typing import Any

from backend.access import Access
from backend.connect import GUARD_ADVICE, GUARD_WORDS, SAMPLING
from backend.connection import hook_url, is_sufficient, own_backends, refuses_login
from backend.doctor.access import check_login, check_secret
from backend.doctor.finding import Finding
from backend.doctor.installation import is_loopback
from backend.doctor.models import check_config_models
from backend.errors import ClickPickError, StudioRefused, StudioUnavailable
from backend.services import open_images
from backend.settings import Settings
from backend.studio import BackendInfo, ProjectInfo, Studio
from label_config.check import check, repair
from label_config.errors import LabelConfigError
from label_config.schema import ImageSchema, read_schema

SAMPLE_TASKS = 3


def check_project(settings: Settings, studio: Studio, project_id: int, backend_url: str) -> Iterator[Finding]:
    try:
        project = studio.project(project_id)
    except StudioRefused as error:
        code = "project-missing" if error.studio_status == 404 else "project-refused"
        yield Finding(code, "error", str(error), "see the number in the project's address in the browser")
        return
    except StudioUnavailable as error:
        yield Finding(
            "studio-unreachable", "error", str(error), "start Label Studio, or correct LABEL_STUDIO_URL"
        )
        return
    checks: list[Callable[[], Iterator[Finding]]] = [
        lambda: _check_config(settings, project),
        lambda: _check_connection(studio, project, backend_url, Access.of(settings)),
        lambda: _check_images(settings, studio, project),
    ]
    for run in checks:
        try:
            yield from run()
        except (ClickPickError, LabelConfigError) as error:
            yield Finding("check-failed", "warning", f"a check could not be made: {error}", "try again")


def _check_config(settings: Settings, project: ProjectInfo) -> Iterator[Finding]:
    problems = check(project.label_config)
    for problem in problems:
        yield Finding(f"config-{problem.code}", problem.severity, problem.message, problem.advice)
    if problems:
        message = "the labelling config with all of this repaired, as far as it can be done for you"
        yield Finding("config-repaired", "warning", message, repair(project.label_config))
    if any(problem.code == "unreadable" for problem in problems):
        return
    models = list(check_config_models(settings, project.id, read_schema(project.label_config)))
    yield from models
    if not problems and not models:
        yield Finding("config-ok", "ok", f"the labelling config of project {project.id} can be used")


def _check_connection(
    studio: Studio, project: ProjectInfo, backend_url: str, access: Access | None
) -> Iterator[Finding]:
    connect = f"run `clickpick connect --project {project.id}`"
    backends = studio.backends(project.id)
    own = own_backends(backends, backend_url)
    if not own:
        message = f"project {project.id} is not connected to ClickPick"
        yield Finding(
            "backend-missing", "error", message, f"{connect}; if Label Studio refuses it, {GUARD_ADVICE}"
        )
        return
    first = own[0]
    if len(own) > 1:
        message = f"project {project.id} has {len(own)} backends of ClickPick"
        yield Finding("backend-duplicates", "error", message, connect)
    yield from _check_backend(first, connect)
    yield from check_login(access, first, connect)
    foreign = next((b for b in backends if b.is_interactive and b.id < first.id and b not in own), None)
    if foreign is not None:
        message = (
            f"clicks go to the older interactive backend {foreign.title or foreign.url!r}, not to ClickPick"
        )
        advice = "switch off interactive preannotations for it in the project's Model settings"
        yield Finding("backend-shadowed", "error", message, advice)
    yield from _check_webhook(studio, project, first, access, connect)
    if read_schema(project.label_config).pixel_image is not None and project.sampling != SAMPLING:
        message = f"tasks are served by {project.sampling!r}, not the least certain first"
        yield Finding("sampling", "warning", message, connect)


def _check_backend(backend: BackendInfo, connect: str) -> Iterator[Finding]:
    """Whether Label Studio reaches the backend and sends clicks to it."""
    if GUARD_WORDS in backend.error_message:
        message = f"Label Studio's address guard refuses the backend at {backend.url}"
        yield Finding("address-guard", "error", message, GUARD_ADVICE)
    elif backend.state in ("DI", "ER") and not refuses_login(backend):
        message = f"Label Studio does not reach the backend at {backend.url}"
        advice = f"{connect} with --url and an address that Label Studio can reach"
        if is_loopback(backend.url):
            advice += "; a Label Studio in Docker reaches this machine as host.docker.internal"
        yield Finding("backend-unreachable", "error", message, advice)
    if not backend.is_interactive:
        yield Finding("backend-not-interactive", "error", "clicks are not sent to ClickPick", connect)


def _check_webhook(
    studio: Studio, project: ProjectInfo, backend: BackendInfo, access: Access | None, connect: str
) -> Iterator[Finding]:
    target = hook_url(backend.url)
    hooks = [hook for hook in studio.webhooks(project.id) if hook.url == target]
    if not hooks:
        message = f"no webhook tells {target} about submitted annotations"
        yield Finding(
            "webhook-missing", "error", message, f"{connect}; if Label Studio refuses it, {GUARD_ADVICE}"
        )
    elif not any(is_sufficient(hook) for hook in hooks):
        message = f"the webhook to {target} is switched off or does not send all annotation events"
        yield Finding("webhook-insufficient", "error", message, connect)
    elif secretless := list(check_secret(access, hooks, connect)):
        yield from secretless
    elif len(hooks) > 1:
        yield Finding("webhook-duplicates", "warning", f"{len(hooks)} webhooks go to {target}", connect)
    else:
        yield Finding("connection-ok", "ok", f"project {project.id} is connected, events go to {target}")


def _check_images(settings: Settings, studio: Studio, project: ProjectInfo) -> Iterator[Finding]:
    images = read_schema(project.label_config).images
    tasks = list(islice(studio.tasks(project.id, page_size=SAMPLE_TASKS), SAMPLE_TASKS))
    if not tasks:
        yield Finding("no-tasks", "warning", f"project {project.id} has no tasks", "import images")
    with closing(open_images(settings, studio)) as fetcher:
        for task in tasks:
            for image in images:
                for address in _addresses(image, task.data):
                    try:
                        height, width, _ = fetcher.get(address, task.id).array.shape
                    except ClickPickError as error:
                        message = f"the image of task {task.id} cannot be read: {error}"
                        yield Finding("image-unreadable", "error", message, "correct what the message names")
                    else:
                        yield Finding(
                            "image-ok", "ok", f"the image of task {task.id} is readable, {width}x{height}"
                        )


def _addresses(image: ImageSchema, data: Any) -> list[Any]:
    """Addresses of an image in a task's data; only the first of a list."""
    found = data.get(image.field)
    return (found[:1] or [None]) if isinstance(found, list) else [found]
