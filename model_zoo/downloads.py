"""Large files over HTTPS: several mirrors, going on where a download stopped, limits, and proof of what came.

A download grows in ``NAME.part``; beside it ``NAME.part.json`` says of which address and version it is a part.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from model_zoo.errors import WeightsMissing
from model_zoo.weights import file_digest

LARGEST = 16 << 30  # bytes
SPARE = 64 << 20  # bytes of the disk that are left free
ATTEMPTS = 4  # of one mirror whose connection breaks
REDIRECTS = 8
CHUNK = 1 << 18
LOOPBACK = ("127.0.0.1", "::1", "localhost")
Progress = Callable[[int, int], None]
"""Bytes that are there, and in all; 0 where the server does not say how many."""


@dataclass(frozen=True)
class Download:
    """A file to be had. ``size``: bytes, about; 0 for unknown. ``sha256``: empty where nobody states it.

    ``timeout``: seconds to connect, and between two pieces. ``pause``: seconds before a broken connection is tried
    again.
    """

    urls: tuple[str, ...]
    target: Path
    size: int = 0
    sha256: str = ""
    timeout: tuple[float, float] = (15.0, 60.0)
    pause: float = 1.0
    progress: Progress = field(default=lambda _, __: None)

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    @property
    def note(self) -> Path:
        return self.target.with_name(self.target.name + ".part.json")

    @property
    def limit(self) -> int:
        """Bytes at which a download is broken off: a stated size is rounded, or in other units."""
        return self.size + self.size // 4 + (4 << 20) if self.size else LARGEST


class _Failed(Exception):
    """This mirror will not do."""


class _Broken(Exception):
    """The connection broke: worth going on."""


def download(job: Download) -> Path:
    """Bring the file, trying its mirrors in order; raises WeightsMissing with what each of them answered."""
    job.target.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    with requests.Session() as session:
        for url in job.urls:
            try:
                _from_mirror(session, job, url)
            except _Failed as failure:
                failures.append(f"{url}: {failure}")
            else:
                job.part.replace(job.target)
                job.note.unlink(missing_ok=True)
                return job.target
    raise WeightsMissing(f"{job.target.name} could not be downloaded: {'; '.join(failures) or 'no address'}")


def _from_mirror(session: requests.Session, job: Download, url: str) -> None:
    """All of the file in ``job.part``, its digest as stated; raises _Failed."""
    for attempt in range(ATTEMPTS):
        before = _size(job.part)
        try:
            _receive(session, job, url)
            break
        except _Broken as broken:
            if attempt == ATTEMPTS - 1 or (attempt and _size(job.part) <= before):
                raise _Failed(f"{broken}; run the command again to go on") from broken
            time.sleep(job.pause)
    if job.sha256:
        digest = file_digest(job.part)
        if digest != job.sha256:
            job.part.unlink()
            raise _Failed(f"what came has sha256 {digest}, expected {job.sha256}")


def _receive(session: requests.Session, job: Download, url: str) -> None:
    """One request: the whole file, or what is missing of it. Raises _Failed and _Broken."""
    done, version = _resumable(job, url)
    headers = {"Accept-Encoding": "identity"}
    if done:
        headers |= {"Range": f"bytes={done}-", "If-Range": version}
    with _open(session, url, headers, job.timeout) as response:
        if done and response.status_code == 416:
            if response.headers.get("Content-Range") == f"bytes */{done}":
                return  # all of it was there
            job.part.unlink()
            raise _Broken("the part that was there did not fit")
        if response.status_code == 200:
            done = 0
        elif not (done and response.status_code == 206):
            raise _Failed(f"it answered {response.status_code}")
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
            raise _Failed(
                f"it sends {response.headers.get('Content-Range')!r}; bytes from {done} were asked for"
            )
        total = _total(response, done)
        _check(response, job, done, total)
        _note(job, url, response)
        _append(response, job, done, total)


def _resumable(job: Download, url: str) -> tuple[int, str]:
    """Bytes that are there of the same address and version, and that version; else 0."""
    try:
        note = json.loads(job.note.read_text(encoding="utf-8"))
        if note["url"] == url and note["version"]:
            return _size(job.part), str(note["version"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0, ""


def _note(job: Download, url: str, response: requests.Response) -> None:
    """Which version the part is of: a strong entity tag, else the date; with neither, nothing can be resumed."""
    tag = response.headers.get("ETag", "")
    version = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
    job.note.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")


@contextmanager
def _open(
    session: requests.Session, url: str, headers: dict[str, str], timeout: tuple[float, float]
) -> Iterator[requests.Response]:
    """GET; each address, redirects included, is https, or http on this machine."""
    for _ in range(REDIRECTS + 1):
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise _Failed(f"{url} is not https")
        try:
            response = session.get(
                url, headers=headers, timeout=timeout, stream=True, allow_redirects=False, auth=_anonymous
            )
        except (requests.RequestException, HTTPError) as error:
            raise _Broken(_reason(error)) from error
        target = response.headers.get("Location")
        if not (response.is_redirect and target):
            with response:
                yield response
            return
        response.close()
        url = urljoin(url, target)
    raise _Failed(f"it redirects more than {REDIRECTS} times")


def _check(response: requests.Response, job: Download, done: int, total: int) -> None:
    """Refuse before a byte of it is stored; raises _Failed, and WeightsMissing where the disk is full."""
    if response.headers.get("Content-Type", "").partition(";")[0].strip() == "text/html":
        raise _Failed("it answered with a web page")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise _Failed(f"it answered in the encoding {response.headers['Content-Encoding']}")
    if total > job.limit:
        raise _Failed(f"the file has {total} bytes there, expected about {job.size}")
    free, missing = shutil.disk_usage(job.part.parent).free, (total or job.size) - done
    if free < missing + SPARE:
        raise WeightsMissing(
            f"{job.part.parent} has {free / 1e6:.0f} MB left and {job.target.name} needs {missing / 1e6:.0f} MB; make "
            "room, or choose another folder by CLICKPICK_WEIGHTS"
        )


def _append(response: requests.Response, job: Download, done: int, total: int) -> None:
    with job.part.open("ab" if done else "wb") as stream:
        try:
            while piece := response.raw.read1(CHUNK):  # all that has come, so that nothing of it is lost
                done += len(piece)
                if done > job.limit:
                    stream.truncate(0)
                    raise _Failed(f"it sends more than {job.limit} bytes, expected about {job.size}")
                stream.write(piece)
                job.progress(done, total)
        except OSError as error:  # those of requests among them
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise WeightsMissing(
                    f"{job.part.parent} is full; make room and run the command again"
                ) from error
            raise _Broken(_reason(error)) from error
        except HTTPError as error:
            raise _Broken(_reason(error)) from error
    if total and done < total:
        raise _Broken(f"it sent {done} of {total} bytes")


def _total(response: requests.Response, done: int) -> int:
    """Bytes of the whole file; 0 where the server does not say."""
    match = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", ""))
    if match:
        return int(match[1])
    length = response.headers.get("Content-Length", "")
    return done + int(length) if length.isdigit() else 0


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _reason(error: Exception) -> str:
    """Why a connection failed, without addresses of proxies and pools."""
    text = str(error).lower()
    if "timed out" in text:
        return "it did not answer in time"
    if "certificate" in text:
        return "its certificate is not trusted"
    if any(words in text for words in ("name or service", "resolve", "getaddrinfo")):
        return "its name cannot be resolved; is there a network?"
    return f"the connection failed ({type(error).__name__})"


def _anonymous(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """No credentials, not even those of a .netrc file."""
    return request
