"""The page's HTML: templates filled with figures, one style sheet and one script inside, allowed by their digests."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from backend.metrics import Metrics
from backend.status import charts
from backend.status.figures import ProjectFigures, ago, cache_shares, speeds
from backend.status.forecast import advice
from backend.status.watch import Seen

SPOKEN = {
    "click": "A click, in all",
    "opening": "Opening a task, in all",
    "image": "fetching the image",
    "wait": "waiting for the model",
    "encode": "encoding the image",
    "decode": "decoding the clicks",
    "repair": "repairing the mask",
    "regions": "writing the regions",
    "embedding": "encoded images",
    "state": "earlier masks",
}

REASONS = {
    "annotation_created": "New annotation",
    "annotations_created": "New annotations",
    "annotation_updated": "Changed annotation",
    "annotation_deleted": "Deleted annotation",
    "annotations_deleted": "Deleted annotations",
    "tasks_created": "New tasks",
    "tasks_deleted": "Deleted tasks",
}
"""Label Studio's events as people say them; other reasons are written for people already."""


class Pages:
    """Renders pages; ``policy`` is the Content-Security-Policy under which they run."""

    def __init__(self) -> None:
        files = resources.files("backend.status") / "templates"
        style = (files / "status.css").read_text(encoding="utf-8")
        script = (files / "status.js").read_text(encoding="utf-8")
        self.policy = (
            f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; img-src 'self' data:; "
            "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        self._environment = Environment(
            loader=PackageLoader("backend.status"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        own = {"style": Markup(style), "script": Markup(script)}  # noqa: S704 - our own two files
        self._environment.globals.update(**own, charts=charts, ago=ago, spoken=SPOKEN, seconds=seconds)
        self._environment.filters.update(percent=percent, reason=reason, thousands=lambda count: f"{count:,}")

    def project(
        self, figures: ProjectFigures, seen: Seen, metrics: Metrics, *, token: str, notice: str = ""
    ) -> str:
        """One project's page. ``token``: for its forms. ``notice``: what the last form did."""
        most = max((row.labels for row in figures.classes), default=0)
        return self._environment.get_template("project.html").render(
            figures=figures,
            seen=seen,
            title=seen.title or f"Project {figures.project}",
            advice=advice(figures.forecast),
            most=most,
            speeds=speeds(metrics),
            caches=cache_shares(metrics),
            token=token,
            notice=notice,
        )

    def clicks(self, project: int, seen: Seen, metrics: Metrics) -> str:
        """The page of a project that asks for no pixels."""
        return self._environment.get_template("clicks.html").render(
            project=project,
            seen=seen,
            title=seen.title or f"Project {project}",
            speeds=speeds(metrics),
            caches=cache_shares(metrics),
        )

    def listing(
        self, projects: Sequence[tuple[ProjectFigures, Seen]], clicks: Sequence[tuple[int, Seen]] = ()
    ) -> str:
        """All projects, a line each. ``clicks``: those that ask for no pixels."""
        return self._environment.get_template("list.html").render(
            projects=projects, clicks=clicks, title="Projects"
        )


def percent(value: float | None, digits: int = 1) -> str:
    """0.123 -> "12.3"; a dash for None."""
    return "–" if value is None else f"{100 * value:.{digits}f}"


def reason(text: str) -> str:
    """Why there was a round."""
    return REASONS.get(text) or text[:1].upper() + text[1:]


def seconds(value: float) -> str:
    """A duration as people read it: "35 ms", "1.2 s", "3 min"."""
    if value < 0.0995:
        return f"{1000 * value:.1f} ms" if value < 0.00995 else f"{1000 * value:.0f} ms"
    if value < 0.9995:
        return f"{1000 * value:.0f} ms"
    return f"{value:.1f} s" if value < 90 else f"{value / 60:.0f} min"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
