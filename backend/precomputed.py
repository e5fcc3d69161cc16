"""Embeddings on the disk, made before anybody clicks: a file an image and segmenter, within a quota of bytes.

A file's name follows from the digests of the image and of the weights and preprocessing, so that a wrong one is never
found. Files are written beside their places and renamed; one that cannot be read counts as none and goes. Where several
machines share a storage, files are written to both; who lacks one fetches it, and keeps it once it has loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
import time
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from backend.errors import ConfigProblem, SharedUnavailable
from backend.images import UprightImage
from backend.shared import AWAY_SECONDS, SharedStorage
from model_zoo.errors import BadInput
from model_zoo.segmenters.base import Embedding, Segmenter

LOG = logging.getLogger(__name__)
SUFFIX = ".safetensors"
SIZE = "size"
DRAFT = ".draft-"
STALE_SECONDS = 3600.0
"""A draft that nobody has written to for so long belongs to a process that died."""
MEGABYTE = 1 << 20
SHARED = "embeddings"


class EmbeddingFiles:
    """Files in ``folder``, which is made when the first one is written; together at most ``quota`` bytes.

    The quota is that of the folder alone. storage: has them too, any number.
    """

    def __init__(self, folder: Path, quota: int, storage: SharedStorage | None = None) -> None:
        self._folder = folder
        self._quota = quota
        self._storage = storage
        self._away_until = 0.0

    def read(self, segmenter: Segmenter, image: UprightImage) -> Embedding | None:
        """The embedding, or None where there is none that can be used; it counts as used now."""
        if not segmenter.storable:
            return None
        path = self._path(segmenter, image)
        try:
            content, fetched = self._content(path)
            made = _loaded(content, segmenter, image)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, KeyError, ValueError, BadInput) as problem:
            LOG.warning(
                "the embedding %s cannot be used (%s); the image is encoded again", path.name, problem
            )
            if not isinstance(problem, OSError):  # what is shared may be whole
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(ConfigProblem, OSError):  # used all the same
            if fetched:
                self._keep(path, content, time.time())
            else:
                os.utime(path)
        return made

    def write(self, segmenter: Segmenter, image: UprightImage, embedding: Embedding, *, since: float) -> None:
        """Keep an embedding; others make room, unused longest first, unless they were used at ``since`` or later.

        since: seconds since the epoch. Raises ConfigProblem where the quota, and OSError where the disk, is full, and
        SharedUnavailable.
        """
        tensors = segmenter.to_tensors(embedding)
        size = torch.tensor([embedding.height, embedding.width], dtype=torch.int64)
        content = save({**tensors, SIZE: size})
        path = self._path(segmenter, image)
        if self._storage is not None:
            self._storage.write(f"{SHARED}/{path.name}", content)
        self._keep(path, content, since)

    def _content(self, path: Path) -> tuple[bytes, bool]:
        """Of a file, and whether it had to be fetched; FileNotFoundError where neither place has it."""
        try:
            return path.read_bytes(), False
        except FileNotFoundError:
            content = self._fetched(path.name)
            if content is None:
                raise
        return content, True

    def _fetched(self, name: str) -> bytes | None:
        if self._storage is None or time.monotonic() < self._away_until:
            return None
        try:
            return self._storage.read(f"{SHARED}/{name}")
        except SharedUnavailable as problem:
            self._away_until = time.monotonic() + AWAY_SECONDS
            LOG.warning("%s; images are encoded here for now", problem)
            return None

    def _keep(self, path: Path, content: bytes, since: float) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._make_room(len(content), since)
        handle, draft = tempfile.mkstemp(prefix=DRAFT, dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise

    def _make_room(self, wanted: int, since: float) -> None:
        for draft in self._folder.glob(f"{DRAFT}*"):
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                if draft.stat().st_mtime < time.time() - STALE_SECONDS:
                    draft.unlink()
        files = {path: path.stat() for path in self._folder.glob(f"*{SUFFIX}")}
        used = sum(stat.st_size for stat in files.values())
        for path, stat in sorted(files.items(), key=lambda entry: entry[1].st_mtime):
            if used + wanted <= self._quota or stat.st_mtime >= since:
                break
            path.unlink(missing_ok=True)
            used -= stat.st_size
        if used + wanted > self._quota:
            raise ConfigProblem(
                f"the embeddings on the disk have {used // MEGABYTE} of {self._quota // MEGABYTE} MB, and the next one "
                f"needs {max(1, wanted // MEGABYTE)} MB; raise CLICKPICK_PRECOMPUTED_MB, or click the images without"
            )

    def _path(self, segmenter: Segmenter, image: UprightImage) -> Path:
        key = f"{segmenter.fingerprint}\0{image.digest}"
        return self._folder / (hashlib.sha256(key.encode()).hexdigest()[:40] + SUFFIX)


def _loaded(content: bytes, segmenter: Segmenter, image: UprightImage) -> Embedding:
    tensors = load(content)
    height, width = map(int, tensors.pop(SIZE).tolist())
    if (height, width) != image.array.shape[:2]:
        raise BadInput(f"it is of an image of {width}x{height}")
    return segmenter.from_tensors(tensors, height, width)
