"""How the parts are put together from the settings; used by the web process, the training process and the commands."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from backend.errors import ConfigProblem
from backend.images import ImageFetcher
from backend.metrics import Metrics
from backend.settings import MEGABYTE, Settings
from backend.shared import SharedStorage
from backend.studio import Studio


def open_studio(settings: Settings) -> Studio:
    """The client of Label Studio; ConfigProblem without a token."""
    if not settings.token:
        raise ConfigProblem(
            "LABEL_STUDIO_API_KEY is not set; expected a personal access token: create one in Label Studio under "
            "Account & Settings > Personal Access Token, and set it in the environment or in .env"
        )
    return Studio(settings.label_studio_url, settings.token, timeout=settings.studio_timeout)


def open_shared(settings: Settings) -> SharedStorage | None:
    """The storage that all processes share; None where each has its data folder alone."""
    return SharedStorage(settings.shared) if settings.shared else None


def open_images(settings: Settings, studio: Studio, metrics: Metrics | None = None) -> ImageFetcher:
    """The fetcher of task images, with this installation's policy and limits."""
    return ImageFetcher(
        studio,
        allowed_hosts=settings.allowed_hosts,
        max_bytes=settings.max_image_bytes,
        max_pixels=settings.max_image_pixels,
        cache_bytes=settings.image_cache_mb * MEGABYTE,
        metrics=metrics,
    )


@dataclass(frozen=True)
class _Connections:
    studio: Studio
    images: ImageFetcher


class Sources:
    """Label Studio and the images of its tasks, connected at the first use. Thread-safe.

    ``studio`` and ``images`` raise ConfigProblem without a token.
    """

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        self._settings = settings
        self._metrics = metrics
        self._lock = threading.Lock()
        self._made: _Connections | None = None

    @property
    def studio(self) -> Studio:
        return self._connections().studio

    @property
    def images(self) -> ImageFetcher:
        return self._connections().images

    @property
    def image_bytes(self) -> int:
        """Bytes of images in memory."""
        return 0 if self._made is None else self._made.images.nbytes

    def close(self) -> None:
        """Close the pooled connections."""
        if self._made is not None:
            self._made.images.close()
            self._made.studio.close()

    def _connections(self) -> _Connections:
        with self._lock:
            if self._made is None:
                studio = open_studio(self._settings)
                self._made = _Connections(studio, open_images(self._settings, studio, self._metrics))
            return self._made
