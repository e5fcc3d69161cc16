"""The real Label Studio as a server process of ours, with a login and a token that it hands out by itself."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

import requests

from backend.demo.process import (
    LOOPBACK,
    Progress,
    ServerFailed,
    ServerProcess,
    free_port,
    silent,
    with_no_proxy,
)
from backend.errors import ClickPickError

FIRST_START_SECONDS = 600.0
"""The first start creates the database: a minute on an idle laptop, several on a busy one."""

_TIMEOUT = 30.0
_FOREIGN = re.compile("^(LABEL_STUDIO_|HEARTEX_|DJANGO_)")


class LabelStudioServer:
    """Label Studio on SQLite in ``data``, reachable from this machine only.

    ``executable``: the ``label-studio`` command of its own virtual environment. ``port`` is a wish: when it is taken
    another one is used. Use as a context manager, or ``start`` and ``stop``.
    """

    def __init__(
        self,
        executable: Path,
        data: Path,
        *,
        port: int = 8080,
        log: Path | None = None,
        username: str = "demo@example.com",
        password: str = "clickpick-demo",  # noqa: S107 - of a server that listens on loopback only
    ) -> None:
        self.username = username
        self.password = password
        self.port = port
        self._executable = executable
        self._data = data.absolute()
        self._log = log or data.absolute() / "label-studio.log"
        self._process: ServerProcess | None = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def process(self) -> ServerProcess:
        if self._process is None:
            raise ServerFailed("Label Studio was not started; call start() first")
        return self._process

    def start(self, progress: Progress = silent) -> None:
        """Returns when Label Studio answers; ``progress`` is told what is waited for."""
        if not self._executable.is_file():
            raise ServerFailed(
                f"there is no Label Studio at {self._executable}; expected the label-studio command of a virtual "
                "environment; make one with `python -m venv .venv-labelstudio` and "
                "`.venv-labelstudio/bin/pip install label-studio`"
            )
        self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
        first = not (self._data / "label_studio.sqlite3").exists()
        if first:
            self._choose_secret_key()
        self.port = free_port(self.port)
        command = [str(self._executable.absolute()), "start", "--no-browser"]
        command += ["--internal-host", LOOPBACK, "--port", str(self.port)]
        self._process = ServerProcess("Label Studio", command, self._log, self._environment(os.environ))
        self._process.start()
        note = "; the first start creates its database, which takes a minute or two" if first else ""
        self._process.wait_until_ready(
            f"{self.url}/health",
            timeout=FIRST_START_SECONDS,
            progress=lambda message: progress(message + note),
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def __enter__(self) -> LabelStudioServer:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def session(self) -> requests.Session:
        """A session of the user who is logged in, as the browser has it; its requests carry the CSRF token."""
        session = requests.Session()
        session.trust_env = False
        session.headers["Referer"] = f"{self.url}/"
        page = f"{self.url}/user/login/"
        session.get(page, timeout=_TIMEOUT).raise_for_status()
        form = {"email": self.username, "password": self.password}
        form["csrfmiddlewaretoken"] = session.cookies.get("csrftoken") or ""
        answer = session.post(page, data=form, timeout=_TIMEOUT, allow_redirects=False)
        if answer.status_code != HTTPStatus.FOUND:
            raise ClickPickError(
                f"Label Studio did not accept the login {self.username} (answer {answer.status_code}); its data "
                f"folder {self._data} belongs to another user: move that folder away and start again"
            )
        session.headers["X-CSRFToken"] = session.cookies.get("csrftoken") or ""
        return session

    def token(self) -> str:
        """The user's personal access token, made at the first call and kept in a file of the data folder.

        Label Studio hands a token out once and has one a user, so a lost file cannot be replaced by a program.
        """
        file = self._data / "personal-access-token"
        if file.exists() and self._accepts(token := file.read_text().strip()):
            return token
        with self.session() as session:
            answer = session.post(f"{self.url}/api/token/", json={}, timeout=_TIMEOUT)
        if answer.status_code == HTTPStatus.CONFLICT:
            raise ClickPickError(
                f"Label Studio has a personal access token for {self.username} that is not in {file}; log in at "
                f"{self.url}, revoke it under Account & Settings, Personal Access Token, and start again"
            )
        if answer.status_code != HTTPStatus.CREATED:
            raise ClickPickError(
                f"Label Studio answered {answer.status_code} where a personal access token was asked for; expected "
                f"201; see {self._log}"
            )
        token = str(answer.json()["token"])
        file.unlink(missing_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
            output.write(token)
        return token

    def _choose_secret_key(self) -> None:
        """Where there is none: Label Studio 1.23 reads some 3 % of the keys that it makes otherwise than it wrote them,
        such as those that begin with "$"; then the next restart ends all tokens and sessions.
        """
        with contextlib.suppress(FileExistsError):
            file = os.open(self._data / ".env", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "w") as output:
                output.write(f"SECRET_KEY={secrets.token_urlsafe(48)}\n")

    def _accepts(self, token: str) -> bool:
        answer = requests.post(
            f"{self.url}/api/token/refresh/",
            json={"refresh": token},
            timeout=_TIMEOUT,
            proxies={"http": "", "https": ""},
        )
        return answer.status_code == HTTPStatus.OK

    def _environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """Label Studio reads names with and without its prefix; the prefixed ones below win over a stray ``HOST``."""
        env = {name: value for name, value in inherited.items() if not _FOREIGN.match(name)}
        env |= {
            "DJANGO_DB": "sqlite",
            "LABEL_STUDIO_BASE_DATA_DIR": str(self._data),
            "LABEL_STUDIO_DATABASE_NAME": str(self._data / "label_studio.sqlite3"),
            "LABEL_STUDIO_HOST": "",
            "LABEL_STUDIO_DEBUG": "false",
            "LABEL_STUDIO_USERNAME": self.username,
            "LABEL_STUDIO_PASSWORD": self.password,
            "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
            # without this it refuses ML backends and webhooks on loopback and private addresses
            "LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS": "false",
            # nothing leaves this machine
            "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
            "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
            "LABEL_STUDIO_SENTRY_DSN": "",
            "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
            "PYTHONUNBUFFERED": "1",
        }
        return with_no_proxy(env)
