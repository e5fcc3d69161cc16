"""Label Studio's settings through label-studio-sdk: projects, backends, webhooks, hotkeys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from backend.errors import StudioRefused
from backend.studio.http import StudioHttp, refusal, unreachable
from backend.studio.records import BackendInfo, ProjectInfo, WebhookInfo


class StudioSettings:
    """The part of the client that reads and changes settings. The SDK is imported at its first call."""

    def __init__(self, url: str, token: str, *, timeout: float = 30) -> None:
        self._http = StudioHttp(url, token, timeout=timeout)
        self.url = self._http.url
        self.credential = self._http.credential

    def close(self) -> None:
        """Close the pooled connections; a later call opens new ones."""
        self._http.close()
        if "_sdk_client" in self.__dict__:
            self._sdk_client.close()
            del self._sdk_client, self._sdk

    @property
    def origin(self) -> str:
        """Scheme, host and port of the address, the port always written."""
        return origin_of(self.url)

    def auth_headers(self) -> dict[str, str]:
        """Headers that authorise a request to this origin, and only to it."""
        return {"Authorization": self.credential.header()}

    def whoami(self) -> str:
        """E-mail of the token's user."""
        return str(self._call("the token's user", lambda sdk: sdk.users.whoami()).email)

    def project(self, project: int) -> ProjectInfo:
        found = self._call(f"project {project}", lambda sdk: sdk.projects.get(project))
        return ProjectInfo(
            id=project,
            title=found.title or "",
            label_config=found.label_config or "",
            model_version=found.model_version or "",
            sampling=str(found.sampling or ""),
            show_collab_predictions=bool(found.show_collab_predictions),
            task_number=found.task_number or 0,
        )

    def update_project(self, project: int, **fields: Any) -> None:
        self._call(f"settings of project {project}", lambda sdk: sdk.projects.update(project, **fields))

    def backends(self, project: int) -> list[BackendInfo]:
        """Connected ML backends, oldest first. Label Studio checks the health of each of them meanwhile."""
        found = self._call(f"backends of project {project}", lambda sdk: sdk.ml.list(project=project))
        return sorted((_backend(backend) for backend in found), key=lambda backend: backend.id)

    def add_backend(
        self,
        project: int,
        url: str,
        *,
        title: str,
        is_interactive: bool = True,
        description: str = "",
        **auth: str,
    ) -> BackendInfo:
        """Connect a backend. ``auth``: Label Studio's auth_method, basic_auth_user and basic_auth_pass."""
        fields: dict[str, Any] = {
            "title": title,
            "is_interactive": is_interactive,
            "description": description,
        }
        fields |= auth
        what = f"a new backend {url}"
        return _backend(self._call(what, lambda sdk: sdk.ml.create(project=project, url=url, **fields)))

    def update_backend(self, backend: int, project: int, url: str, **fields: Any) -> BackendInfo:
        """Change a backend; Label Studio fails with 500 on an update that lacks the project or the address."""
        what = f"backend {backend}"
        return _backend(
            self._call(what, lambda sdk: sdk.ml.update(backend, project=project, url=url, **fields))
        )

    def delete_backend(self, backend: int) -> None:
        self._call(f"backend {backend}", lambda sdk: sdk.ml.delete(backend))

    def webhooks(self, project: int) -> list[WebhookInfo]:
        found = self._call(
            f"webhooks of project {project}", lambda sdk: sdk.webhooks.list(project=str(project))
        )
        return sorted((_webhook(webhook) for webhook in found), key=lambda webhook: webhook.id)

    def add_webhook(self, project: int, url: str, headers: Mapping[str, str] | None = None) -> WebhookInfo:
        """A webhook that sends all actions of the project with their payload, and these headers."""
        fields: dict[str, Any] = {"project": project, "send_payload": True, "send_for_all_actions": True}
        if headers:
            fields["headers"] = dict(headers)
        return _webhook(
            self._call(f"a new webhook {url}", lambda sdk: sdk.webhooks.create(url=url, **fields))
        )

    def delete_webhook(self, webhook: int) -> None:
        self._call(f"webhook {webhook}", lambda sdk: sdk.webhooks.delete(webhook))

    def hotkeys(self) -> dict[str, dict[str, Any]]:
        found = self._call("hotkeys", lambda sdk: sdk.users.get_hotkeys())
        return dict(found.custom_hotkeys or {})

    def set_hotkeys(self, hotkeys: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace all of the user's own hotkeys."""
        self._call("hotkeys", lambda sdk: sdk.users.update_hotkeys(custom_hotkeys=dict(hotkeys)))

    @cached_property
    def _sdk_client(self) -> Any:
        import httpx  # noqa: PLC0415

        return httpx.Client(auth=self.credential, timeout=self._http.timeout)

    @cached_property
    def _sdk(self) -> Any:
        from label_studio_sdk import LabelStudio  # noqa: PLC0415 - takes seconds to import

        make: Any = LabelStudio
        # The key is a stand-in: the client's auth replaces the header that the SDK makes of it.
        return make(base_url=self.url, api_key="in-auth", httpx_client=self._sdk_client, max_retries=0)

    def _call(self, what: str, call: Callable[[Any], Any]) -> Any:
        """Call the SDK; once more when Label Studio refused an access token that may have been stale."""
        try:
            return self._call_once(what, call)
        except StudioRefused as error:
            if error.studio_status == 401 and self.credential.forget():
                return self._call_once(what, call)
            raise

    def _call_once(self, what: str, call: Callable[[Any], Any]) -> Any:
        import httpx  # noqa: PLC0415
        from label_studio_sdk.core.api_error import ApiError  # noqa: PLC0415
        from label_studio_sdk.core.parse_error import ParsingError  # noqa: PLC0415

        try:
            return call(self._sdk)
        except (ApiError, ParsingError) as error:
            raise refusal(self.url, what, error.status_code or 500, error.body) from error
        except httpx.HTTPError as error:
            raise unreachable(self.url, error) from error


def origin_of(url: str) -> str:
    """Scheme, host and port, the port always written: two addresses are of one origin when these are equal."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{parts.scheme}://{(parts.hostname or '').rstrip('.')}:{port}"


def _backend(backend: Any) -> BackendInfo:
    return BackendInfo(
        id=backend.id or 0,
        title=backend.title or "",
        url=str(backend.url),
        is_interactive=bool(backend.is_interactive),
        state=str(backend.state or ""),
        error_message=backend.error_message or "",
        description=backend.description or "",
        auth_user=backend.basic_auth_user or "" if backend.basic_auth_pass_is_set else "",
    )


def _webhook(webhook: Any) -> WebhookInfo:
    return WebhookInfo(
        id=webhook.id or 0,
        url=str(webhook.url),
        is_active=webhook.is_active is not False,
        send_payload=webhook.send_payload is not False,
        send_for_all_actions=webhook.send_for_all_actions is not False,
        actions=frozenset(str(action) for action in webhook.actions or ()),
        headers={str(name): str(value) for name, value in (webhook.headers or {}).items()},
    )
