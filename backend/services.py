"""How the parts are put together from the settings; used by the web process, the training process and the commands."""

from __future__ import annotations

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
