"""The web application: label-studio-ml's server around the plugin, with checked requests and public errors.

Production entry point: ``gunicorn "backend.app:create_app()"``, one worker process with threads.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from backend.access import Access, guard
from backend.errors import BadRequest, ClickPickError, NotAllowed
from backend.logs import configure_logging
from backend.memory import bound_freed_memory, keep_freed_memory
from backend.request_body import BodyLimits
from backend.request_checks import check_request
from backend.request_log import follow_requests
from backend.service import Service
from backend.settings import Settings
from backend.status.routes import status_pages
from label_config import LabelConfigError
from model_zoo.errors import ModelZooError, WeightsMissing

LOG = logging.getLogger(__name__)
FOREIGN_HANDLERS = (AssertionError, IndexError, FileNotFoundError)
"""label-studio-ml answers these with the bare exception text; they are bugs like any other."""


def create_app(settings: Settings | None = None) -> Flask:
    """Build the application and start warming up in the background."""
    settings = settings or Settings()
    configure_logging(settings.log_level, settings.log_format)
    keep_freed_memory()
    bound_freed_memory()
    # label-studio-ml 2.x opens a small database where it is imported; it belongs into our data folder.
    settings.data.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("MODEL_DIR", str(settings.data))
    from backend.plugin import create_server  # noqa: PLC0415 - imports label-studio-ml, see above

    service = Service(settings)
    app = create_server(service)
    app.wsgi_app = BodyLimits(app.wsgi_app, settings.max_request_bytes)  # type: ignore[method-assign]
    app.extensions["clickpick"] = service
    app.before_request(check_request)
    if access := Access.of(settings):
        # label-studio-ml's own hook reads the whole body for its log: strangers are sent away before it.
        app.before_request_funcs[None].insert(0, guard(access))
    for kind in (Exception, *FOREIGN_HANDLERS):
        app.register_error_handler(kind, _answer)
    app.register_blueprint(status_pages(service))
    follow_requests(app, service.metrics)
    service.start()
    return app


def _answer(error: Exception) -> tuple[Response, int]:
    """One JSON shape for all failures; what is no message for the public stays in the log."""
    if isinstance(error, HTTPException):
        return _error(error.description or error.name, error.code or 500)
    if isinstance(error, WeightsMissing):
        LOG.error("%s %s: %s", request.method, request.path, error)  # names files of this server
        to_do = error.advice or "its log says what is missing"
        return _error(f"a model has no weights on this server; {to_do}", 503)
    if isinstance(error, (LabelConfigError, ModelZooError)):
        error = BadRequest(str(error))
    if isinstance(error, ClickPickError):
        level = logging.WARNING if error.status < 500 else logging.ERROR
        LOG.log(level, "%s %s: %s", request.method, request.path, error)
        response, status = _error(str(error), error.status)
        if isinstance(error, NotAllowed):
            response.headers["WWW-Authenticate"] = 'Basic realm="ClickPick"'
        return response, status
    if isinstance(error, RecursionError):
        return _error("the request is nested too deeply; expected Label Studio's JSON", 400)
    LOG.error("%s %s failed", request.method, request.path, exc_info=error)
    return _error("internal error; the log has the details", 500)


def _error(message: Any, status: int) -> tuple[Response, int]:
    return jsonify({"error": str(message)}), status
