"""Checks that need no project: ClickPick itself, the token, Label Studio's address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlsplit

import requests

from backend.doctor.finding import Finding
from backend.errors import ClickPickError, StudioUnavailable
from backend.studio import Studio

HEALTH_SECONDS = 3.0
EXPIRES_SOON = timedelta(days=14)
ADVICE = (
    "create a personal access token in Label Studio under Account & Settings > Personal Access Token, and set "
    "LABEL_STUDIO_API_KEY to it"
)


def inside_container() -> bool:
    """Whether this process runs in a Docker or Podman container."""
    return Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine itself, as seen from wherever it is used."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def check_backend_health(url: str) -> Iterator[Finding]:
    advice = "start `clickpick serve`, or give its address with --url"
    try:
        answer = requests.get(url.rstrip("/") + "/health", timeout=HEALTH_SECONDS, allow_redirects=False)
        status = answer.json().get("status") if answer.ok else None
    except requests.RequestException as error:
        what = type(error).__name__
        yield Finding("backend-down", "error", f"ClickPick does not answer at {url}/health ({what})", advice)
        return
    except (ValueError, AttributeError):
        status = None
    if status == "UP":
        yield Finding("backend-ok", "ok", f"ClickPick answers at {url}")
    else:
        message = f"{url}/health answers {answer.status_code}, not as ClickPick does"
        yield Finding("backend-down", "error", message, advice)


def check_token(studio: Studio) -> Iterator[Finding]:
    """What the token itself tells, without asking Label Studio."""
    kind, expires = studio.credential.kind, studio.credential.expires
    now = datetime.now(timezone.utc)
    if kind == "access":
        message = "LABEL_STUDIO_API_KEY is an access token, which lasts for minutes"
        yield Finding("token-short-lived", "error", message, ADVICE)
    elif kind == "legacy":
        message = "LABEL_STUDIO_API_KEY is a legacy token; Label Studio has them switched off by default"
        yield Finding("token-legacy", "warning", message, ADVICE)
    elif expires is not None and expires < now:
        message = f"LABEL_STUDIO_API_KEY expired on {expires:%Y-%m-%d}"
        yield Finding("token-expired", "error", message, ADVICE)
    elif expires is not None and expires < now + EXPIRES_SOON:
        message = f"LABEL_STUDIO_API_KEY expires on {expires:%Y-%m-%d}"
        yield Finding("token-expires-soon", "warning", message, ADVICE)


def check_account(studio: Studio) -> Iterator[Finding]:
    try:
        user = studio.whoami()
    except StudioUnavailable as error:
        if inside_container() and is_loopback(studio.url):
            message = f"ClickPick runs in a container, where {studio.url} is the container itself"
            advice = (
                "set LABEL_STUDIO_URL to Label Studio's service name (http://label-studio:8080) or to "
                "http://host.docker.internal:8080"
            )
            yield Finding("localhost-in-docker", "error", message, advice)
        yield Finding(
            "studio-unreachable", "error", str(error), "start Label Studio, or correct LABEL_STUDIO_URL"
        )
    except ClickPickError as error:
        yield Finding("token-refused", "error", str(error), ADVICE)
    else:
        yield Finding("studio-ok", "ok", f"Label Studio answers at {studio.url} as {user}")
