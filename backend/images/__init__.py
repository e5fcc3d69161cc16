"""Images of tasks: from the address in a task's data to an upright RGB array."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from backend.caches import ByteLRU, SingleFlight
from backend.errors import ImageProblem
from backend.images.decode import UprightImage, decode
from backend.images.download import Downloader
from backend.images.policy import HostPolicy, public_url
from backend.metrics import Metrics
from backend.studio import Studio

__all__ = ["ImageFetcher", "UprightImage"]

CLOUD_SCHEMES = ("s3", "s3s", "gs", "azure-blob")
MAX_AGE_SECONDS = 600.0
"""After this an image is fetched anew: a file may be replaced under its address."""


class ImageFetcher:
    """Fetches, decodes and caches images. Thread-safe.

    ``allowed_hosts``: see HostPolicy. ``timeout``: seconds to connect and between two reads; ``deadline``: seconds
    for the whole of one image.
    """

    def __init__(
        self,
        studio: Studio,
        *,
        allowed_hosts: Iterable[str] = (),
        max_bytes: int = 50 << 20,
        max_pixels: int = 100_000_000,
        cache_bytes: int = 512 << 20,
        timeout: tuple[float, float] = (3, 20),
        deadline: float = 60,
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._studio = studio
        self._max_pixels = max_pixels
        policy = HostPolicy(allowed_hosts)
        self._downloader = Downloader(studio, policy, max_bytes=max_bytes, timeout=timeout, deadline=deadline)
        self._cache: ByteLRU[str, tuple[float, UprightImage]] = ByteLRU(cache_bytes)
        self._flights: SingleFlight[str, UprightImage] = SingleFlight()

    def get(self, url: str, task_id: int | None) -> UprightImage:
        """The image at an address of a task's data; cloud addresses are resolved through the task.

        Raises ImageProblem (missing, damaged, too large), ImageRefused (address not allowed), StudioUnavailable, and
        StudioRefused when Label Studio does not take the token.
        """
        if not isinstance(url, str) or not url.strip():
            raise ImageProblem(
                f"task {task_id} has no image address (got {url!r:.100}); check the task's data"
            )
        kept = self._cache.get(url)
        hit = kept is not None and time.monotonic() < kept[0]
        self._metrics.looked_up("image", hit=hit)
        if kept is not None and hit:
            return kept[1]
        return self._flights.do(url, lambda: self._load(url, task_id))

    @property
    def nbytes(self) -> int:
        """Bytes of images in memory."""
        return self._cache.nbytes

    def close(self) -> None:
        """Close the pooled connections; a later call opens new ones."""
        self._downloader.close()

    def _load(self, url: str, task_id: int | None) -> UprightImage:
        shown = public_url(url)
        content = self._downloader.fetch(self._absolute(url, task_id), shown)
        image = decode(content, shown, max_pixels=self._max_pixels)
        self._cache.put(url, (time.monotonic() + MAX_AGE_SECONDS, image), image.array.nbytes)
        return image

    def _absolute(self, url: str, task_id: int | None) -> str:
        """The HTTP address behind an address in a task's data."""
        try:
            scheme = urlsplit(url).scheme
        except ValueError as error:
            raise ImageProblem(
                f"image address of task {task_id} is malformed; check the task's data"
            ) from error
        if scheme in CLOUD_SCHEMES:
            if task_id is None:
                raise ImageProblem(f"{public_url(url)} can be fetched only through its task; got no task id")
            encoded = base64.urlsafe_b64encode(url.encode()).decode()
            return f"{self._studio.url}/tasks/{task_id}/resolve/?fileuri={encoded}"
        if not scheme and not url.startswith("//"):
            path = "/" + url.lstrip("/")
            prefix = urlsplit(self._studio.url).path
            return self._studio.url + (path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path)
        return url
