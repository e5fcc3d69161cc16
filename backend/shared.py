"""Files that the processes of one installation share, under an fsspec URL: a folder, ``s3://``, ``gs://``.

Object stores rename nothing and have no folders: a name is there once its file is written whole, and what belongs
together is known by what is written last. Names use "/" and begin below the URL.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import ConfigProblem, SharedUnavailable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

S3_LIMITS = {"connect_timeout": 5, "read_timeout": 10, "retries": {"total_max_attempts": 1}}
"""botocore's own would hold up who waits for minutes. ``read_timeout``: seconds without a byte, not of a whole file."""
AWAY_SECONDS = 30.0
"""A storage that did not answer is left alone so long by whom people wait for."""
LOCAL = ("file", "local")
TIMES = ("mtime", "LastModified", "updated", "created")
"""Where file systems tell when a file was changed, each in its way."""


@dataclass(frozen=True)
class SharedFolder:
    """The files right in one folder. ``modified``: of the newest of them, in Unix seconds."""

    files: frozenset[str]
    nbytes: int
    modified: float


class SharedStorage:
    """Every method raises SharedUnavailable where the storage does not answer, ConfigProblem for a wrong URL."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def upload(self, folder: Path, name: str, *, last: str) -> None:
        """Copy the files of a folder to below the name, the file ``last`` after all others."""
        paths = sorted(folder.iterdir(), key=lambda path: (path.name == last, path.name))
        with self._reaching():
            for path in paths:
                self._fs.put_file(str(path), self._path(f"{name}/{path.name}"))

    def download(self, name: str, folder: Path) -> None:
        """Copy what lies below the name into a folder; FileNotFoundError where that is nothing."""
        with self._reaching():
            found = self._find(name)
            for path in found:
                self._fs.get_file(path, str(folder / path.rpartition("/")[2]))
        if not found:
            raise FileNotFoundError(name)

    def folders(self, name: str) -> dict[str, SharedFolder]:
        """The folders right below the name that have files."""
        files: dict[str, dict[str, int]] = {}
        newest: dict[str, float] = {}
        with self._reaching():
            start = len(self._path(name)) + 1
            for path, info in self._find(name).items():
                folder, _, file = path[start:].rpartition("/")
                if folder and "/" not in folder:
                    files.setdefault(folder, {})[file] = int(info.get("size") or 0)
                    newest[folder] = max(newest.get(folder, 0.0), _modified(info))
        return {
            folder: SharedFolder(frozenset(sizes), sum(sizes.values()), newest[folder])
            for folder, sizes in files.items()
        }

    def names(self, name: str) -> list[str]:
        """Names right below the name."""
        with self._reaching():
            self._fs.invalidate_cache()
            try:
                return sorted(
                    path.rstrip("/").rpartition("/")[2] for path in self._fs.ls(self._path(name), False)
                )
            except FileNotFoundError:
                return []

    def remove(self, name: str) -> None:
        """Delete what lies below the name, or the file of that name; nothing is no error."""
        with self._reaching():
            self._fs.invalidate_cache()
            try:
                self._fs.rm(self._path(name), recursive=True)
            except FileNotFoundError:
                return

    def write(self, name: str, content: bytes) -> None:
        """Write one file, which is there whole or not at all; in a folder, a killed writer leaves its draft."""
        with self._reaching():
            if self._fs.protocol == LOCAL:
                _write_beside(Path(self._path(name)), content)
            else:
                self._fs.pipe_file(self._path(name), content)

    def read(self, name: str) -> bytes | None:
        """The content of one file; None where there is none."""
        with self._reaching():
            try:
                return bytes(self._fs.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

    def probe(self) -> None:
        """Write a small file, read it back and delete it. Raises as all others do."""
        name, content = f".probe-{uuid.uuid4().hex}", str(time.time()).encode()
        self.write(name, content)
        found = self.read(name)
        self.remove(name)
        if found != content:
            raise SharedUnavailable(
                f"the shared storage {self.url} gives back other bytes than were written to it"
            )

    def _find(self, name: str) -> dict[str, Any]:
        """What is known of each file below the name, by its path."""
        self._fs.invalidate_cache()  # other processes write here too
        return dict(sorted(self._fs.find(self._path(name), detail=True).items()))

    def _path(self, name: str) -> str:
        return f"{self._opened[1]}/{name}"

    @property
    def _fs(self) -> AbstractFileSystem:
        return self._opened[0]

    @cached_property
    def _opened(self) -> tuple[AbstractFileSystem, str]:
        """The file system and the path of the URL in it, opened at the first call: S3's has a thread of its own."""
        from fsspec.core import split_protocol, url_to_fs  # noqa: PLC0415 - most installations share nothing

        protocol = split_protocol(self.url)[0] or "file"
        options: dict[str, Any] = {"auto_mkdir": True} if protocol in LOCAL else {}
        try:
            if protocol in ("s3", "s3a"):
                options = _s3_options()
            system, path = url_to_fs(self.url, **options)
            system.retries = 1  # s3fs would repeat a call that had no answer four times more
        except ImportError as error:
            extra = (
                "pip install 'clickpick[s3]'"
                if protocol in ("s3", "s3a")
                else "install the package that it names"
            )
            raise ConfigProblem(f"CLICKPICK_SHARED is {self.url}: {error}; {extra}") from error
        except ValueError as error:
            raise ConfigProblem(
                f"CLICKPICK_SHARED is {self.url}: {error}; expected a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"
            ) from error
        return system, path.rstrip("/")

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turns what storage clients raise, each its own, into our error."""
        try:
            yield
        except ConfigProblem:
            raise
        except Exception as error:
            raise SharedUnavailable(
                f"the shared storage {self.url} does not do what is asked ({type(error).__name__}: {error}); check "
                "CLICKPICK_SHARED, its credentials, and that the storage can be reached from here"
            ) from error


def _s3_options() -> dict[str, Any]:
    """With which s3fs gives up a server that accepts a call and says nothing."""
    from aiobotocore.session import AioSession  # noqa: PLC0415 - an extra
    from botocore.handlers import add_expect_header  # noqa: PLC0415

    session = AioSession()
    # With it aiohttp would wait for "100 Continue" without a limit.
    session.unregister("before-call.s3", add_expect_header)
    return {"config_kwargs": S3_LIMITS, "session": session}


def _write_beside(path: Path, content: bytes) -> None:
    """Object stores show no half file; a folder does, unless it is written under another name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _modified(info: Mapping[str, Any]) -> float:
    """Unix seconds; now, where the file system does not tell."""
    for name in TIMES:
        match info.get(name):
            case datetime() as moment:
                return moment.timestamp()
            case int() | float() as seconds:
                return float(seconds)
            case str() as text:
                return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    return time.time()
