"""The status page over HTTP. Behind the same guard as everything else (`backend.access`)."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from flask import Blueprint, Response, make_response, redirect, request

from backend.errors import BadRequest, ClickPickError, Forbidden, NotFound
from backend.service import Service
from backend.settings import Settings
from backend.status.figures import read_figures
from backend.status.page import Pages
from backend.status.roll_back import ask_for
from label_config import LabelConfigError, read_schema

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
NOTICES = {"rollback": "A round is on its way that makes the earlier version live again."}


class Tokens:
    """Tokens of the page's forms: only who can read the page knows them, and another site cannot.

    All processes with the same settings make the same ones, since a balancer may send the form to any of them.
    """

    def __init__(self, settings: Settings) -> None:
        secret = (settings.token or settings.basic_auth_pass.get_secret_value()).encode()
        self._key = hmac.digest(secret or secrets.token_bytes(32), b"ClickPick status page", "sha256")

    def make(self, project: int) -> str:
        return hmac.new(self._key, f"status/{project}".encode(), hashlib.sha256).hexdigest()

    def check(self, project: int, given: str) -> None:
        """Raise Forbidden for what another site, or a page of before a change of the settings, has sent."""
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        known = hmac.compare_digest(given.encode("utf-8", "replace"), self.make(project).encode())
        if site != "same-origin" or not known:
            raise Forbidden(
                "the form came from another site or from a page of before the settings changed; reload the status page "
                "and press the button again"
            )


def status_pages(service: Service) -> Blueprint:
    """The routes under /status/."""
    pages, tokens = Pages(), Tokens(service.settings)
    blueprint = Blueprint("status", __name__, url_prefix="/status")

    @blueprint.get("/")
    def listing() -> Response:
        learning = service.store.projects()
        found = [(read_figures(service.store, number), service.watch.known(number)) for number in learning]
        clicks = [(number, service.watch.known(number)) for number in service.click_projects - {*learning}]
        return _html(pages.listing(found, sorted(clicks)), pages)

    @blueprint.get("/<int:project>")
    def project_page(project: int) -> Response:
        if not _learns(service, project):
            return _html(pages.clicks(project, service.watch.look(project), service.metrics), pages)
        figures = read_figures(service.store, project)
        notice = NOTICES.get(request.args.get("done", ""), "")
        html = pages.project(
            figures, service.watch.look(project), service.metrics, token=tokens.make(project), notice=notice
        )
        return _html(html, pages)

    @blueprint.get("/<int:project>/thumbnails/<name>")
    def thumbnail(project: int, name: str) -> Response:
        content = service.watch.thumbnail(project, name)
        if content is None:
            if _learns(service, project):
                # Another process may have named it: this one draws its own meanwhile.
                service.watch.look(project)
            raise NotFound("this picture is not kept, or not drawn yet; reload the status page")
        answer = Response(content, content_type="image/jpeg")
        answer.headers.update({**HEADERS, "Cache-Control": "private, max-age=86400, immutable"})
        return answer

    @blueprint.post("/<int:project>/rollback")
    def rollback(project: int) -> Response:
        tokens.check(project, request.form.get("token", ""))
        number = request.form.get("version", "")
        if not (number.isascii() and number.isdigit() and len(number) <= 9):
            raise BadRequest(
                f"version is {number[:20]!r}; expected the number of one of the project's versions"
            )
        ask_for(service, project, int(number))
        return make_response(redirect(f"../{project}?done=rollback", 303))

    return blueprint


def _learns(service: Service, project: int) -> bool:
    """Whether a project asks for pixels, or else has clicks only. Raises NotFound for one that has never called.

    One of clicks only may have called another process, so that Label Studio is asked for its labelling config.
    """
    if project in service.store.projects():
        return True
    if project in service.click_projects or _asks_for_no_pixels(service, project):
        return False
    raise NotFound(
        f"project {project} has not called since the start; open one of its pages in Label Studio, or connect it: "
        f"`clickpick connect --project {project}`"
    )


def _asks_for_no_pixels(service: Service, project: int) -> bool:
    try:
        return read_schema(service.sources.studio.project(project).label_config).pixel_image is None
    except (ClickPickError, LabelConfigError):
        return False


def _html(text: str, pages: Pages) -> Response:
    answer = Response(text, content_type="text/html; charset=utf-8")
    answer.headers.update({**HEADERS, "Content-Security-Policy": pages.policy})
    return answer
