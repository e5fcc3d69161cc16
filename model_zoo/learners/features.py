"""A cache of feature vectors at single pixels.

A round needs the features of a few pixels an image, and the encoder pass that makes them costs a hundred times
more than reading them: so only those few vectors are kept. Each image has one file, written beside its place and
renamed into it, so that a process killed at any moment leaves the old file or the new one. Whatever cannot be read
counts as not cached. Processes may share a directory: the last writer wins, which costs an encoder pass at worst.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes

_log = logging.getLogger(__name__)

SUFFIX = ".safetensors"
DRAFT_PREFIX = ".draft-"
STALE_DRAFT_SECONDS = 3600
DEFAULT_BYTES = 512 << 20


@dataclass(frozen=True, eq=False)
class PixelFeatures:
    """Feature vectors of distinct pixels of one image: pixels int64 (n, 2) rows and columns, values float16 (n, D)."""

    pixels: NDArray[np.int64]
    values: NDArray[np.float16]

    def find(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Position of each of the given pixels in ``pixels``, -1 where it is missing."""
        places = {pixel: place for place, pixel in enumerate(map(tuple, self.pixels.tolist()))}
        return np.array([places.get(pixel, -1) for pixel in map(tuple, pixels.tolist())], dtype=np.int64)

    def join(self, other: PixelFeatures) -> PixelFeatures:
        """These pixels and those of the other that are new."""
        new = self.find(other.pixels) < 0
        return PixelFeatures(
            np.concatenate([self.pixels, other.pixels[new]]), np.concatenate([self.values, other.values[new]])
        )

    @property
    def nbytes(self) -> int:
        return self.pixels.nbytes + self.values.nbytes


class FeatureCache:
    """PixelFeatures by image key and encoder fingerprint; thread-safe.

    directory: where files go, created when missing; what is read twice comes from the operating system's memory.
    None keeps the features in this process. max_bytes bounds either: the images used longest ago go first.
    """

    def __init__(self, directory: Path | None = None, max_bytes: int = DEFAULT_BYTES) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._memory: OrderedDict[str, PixelFeatures] = OrderedDict()
        self._memory_bytes = 0
        self._lock = threading.Lock()

    def get(self, key: str, fingerprint: str) -> PixelFeatures | None:
        """What is cached of the image, or None."""
        name = _file_name(key, fingerprint)
        if self._directory is not None:
            return _read(self._directory / name)
        with self._lock:
            if name in self._memory:
                self._memory.move_to_end(name)
            return self._memory.get(name)

    def put(self, key: str, fingerprint: str, features: PixelFeatures) -> None:
        """Replace what is cached of the image. Where the disk refuses, it is logged and nothing is cached."""
        name = _file_name(key, fingerprint)
        if self._directory is None:
            self._remember(name, features)
            return
        try:
            _write(self._directory, name, features)
            _shrink(self._directory, self._max_bytes)
        except OSError as error:
            _log.warning("features not cached in %s: %s", self._directory, error)

    def _remember(self, name: str, features: PixelFeatures) -> None:
        with self._lock:
            old = self._memory.pop(name, None)
            self._memory_bytes += features.nbytes - (old.nbytes if old else 0)
            self._memory[name] = features
            while self._memory_bytes > self._max_bytes:
                _, dropped = self._memory.popitem(last=False)
                self._memory_bytes -= dropped.nbytes


def _read(path: Path) -> PixelFeatures | None:
    try:
        arrays = from_bytes(path.read_bytes())
        os.utime(path)
        pixels, values = arrays["pixels"], arrays["values"]
    except (OSError, SafetensorError, KeyError):
        return None
    sound = pixels.dtype == np.int64 and pixels.shape == (len(values), 2) and values.dtype == np.float16
    return PixelFeatures(pixels, values) if sound and values.ndim == 2 else None


def _write(directory: Path, name: str, features: PixelFeatures) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=DRAFT_PREFIX, dir=directory)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(to_bytes({"pixels": features.pixels, "values": features.values}))
        Path(draft).replace(directory / name)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _file_name(key: str, fingerprint: str) -> str:
    return hashlib.sha256(f"{fingerprint}\0{key}".encode()).hexdigest()[:40] + SUFFIX


def _shrink(directory: Path, max_bytes: int) -> None:
    """Delete drafts of killed writers, then the files used longest ago until the rest fits."""
    files: list[tuple[float, int, Path]] = []
    now = time.time()
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                status = entry.stat()
            except FileNotFoundError:  # another process was quicker
                continue
            if entry.name.startswith(DRAFT_PREFIX) and now - status.st_mtime > STALE_DRAFT_SECONDS:
                Path(entry.path).unlink(missing_ok=True)
            elif entry.name.endswith(SUFFIX):
                files.append((status.st_mtime, status.st_size, Path(entry.path)))
    excess = sum(size for _, size, _ in files) - max_bytes
    for _, size, path in sorted(files):
        if excess <= 0:
            return
        path.unlink(missing_ok=True)
        excess -= size
