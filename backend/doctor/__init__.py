"""Looks for what commonly goes wrong between Label Studio and ClickPick, and says how to fix it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from backend.doctor.access import check_access
from backend.doctor.finding import Finding
from backend.doctor.installation import ADVICE, check_account, check_backend_health, check_token
from backend.doctor.models import check_default_models
from backend.doctor.project import check_project
from backend.doctor.shared import check_shared
from backend.services import open_studio
from backend.settings import Settings
from backend.studio import Studio

__all__ = ["Finding", "diagnose", "rebuild_store"]

STUDIO_SECONDS = 10.0


def diagnose(settings: Settings, project_id: int | None, backend_url: str) -> list[Finding]:
    """All findings, in the order in which they should be fixed. Never raises for what it looks for."""
    findings = [
        *check_backend_health(backend_url),
        *check_default_models(settings),
        *check_shared(settings),
    ]
    if not _has_error(findings, "backend-"):
        findings += check_access(settings, backend_url)
    if not settings.token:
        return [*findings, Finding("token-missing", "error", "LABEL_STUDIO_API_KEY is not set", ADVICE)]
    studio = Studio(
        settings.label_studio_url, settings.token, timeout=min(settings.studio_timeout, STUDIO_SECONDS)
    )
    with closing(studio):
        findings += check_token(studio)
        if not _has_error(findings, "token-"):
            findings += check_account(studio)
        if project_id is not None and not _has_error(findings, "token-", "studio-"):
            findings += check_project(settings, studio, project_id, backend_url)
    return findings


def rebuild_store(settings: Settings, project_id: int | None) -> list[Finding]:
    """Complete the tables of one project, or of all that left a trace, after the database was lost."""
    from backend.doctor.rebuild import projects_to_rebuild, rebuild  # noqa: PLC0415 - imports the models
    from backend.store import Store  # noqa: PLC0415

    with closing(open_studio(settings)) as studio, closing(Store(settings.store_url)) as store:
        projects = projects_to_rebuild(settings, store) if project_id is None else [project_id]
        findings = [finding for project in projects for finding in rebuild(settings, store, studio, project)]
    return findings or [Finding("rebuild-nothing", "ok", "the data folder has versions of no project")]


def _has_error(findings: Sequence[Finding], *prefixes: str) -> bool:
    """Whether an error of one of these groups was found, after which further questions would only repeat it."""
    return any(finding.severity == "error" and finding.code.startswith(prefixes) for finding in findings)
