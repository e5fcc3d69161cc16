"""Each request gets a number for the log, a line in it, and is timed."""

from __future__ import annotations

import logging
import re
import secrets
import time

from flask import Flask, Response, g, request

from backend import log_context
from backend.metrics import Metrics

LOG = logging.getLogger(__name__)
HEADER = "X-Request-ID"
GIVEN = re.compile(r"[\w.-]{1,64}", re.ASCII)


def follow_requests(app: Flask, metrics: Metrics) -> None:
    """Before all other hooks, so that strangers who are sent away are counted too."""

    def begin() -> None:
        log_context.clear()
        given = request.headers.get(HEADER, "")
        g.request_id = given if GIVEN.fullmatch(given) else secrets.token_hex(6)
        g.begun = time.perf_counter()
        log_context.bind(request=g.request_id)

    def end(answer: Response) -> Response:
        seconds = time.perf_counter() - g.begun
        route = request.url_rule.rule if request.url_rule else "other"
        metrics.requests.labels(route, str(answer.status_code)).observe(seconds)
        level = logging.INFO if request.method == "POST" else logging.DEBUG
        LOG.log(level, "%s %s: %d in %.0f ms", request.method, route, answer.status_code, 1000 * seconds)
        answer.headers[HEADER] = g.request_id
        log_context.clear()
        return answer

    app.before_request_funcs.setdefault(None, []).insert(0, begin)
    app.after_request_funcs.setdefault(None, []).insert(0, end)  # Flask runs these last to first
