"""Downloads from a server on this machine that breaks off, redirects, changes its mind and lies."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from model_zoo.downloads import Download, download
from model_zoo.errors import WeightsMissing
from tests.fakes.http_server import Answer, Call, serve

pytestmark = pytest.mark.unit
CONTENT = bytes(range(256)) * 4000  # 1 MB
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Mirror:
    """Serves CONTENT, with ranges. ``breaks``: bytes after which connections break, one a request, then no more."""

    url: str = ""
    breaks: list[int] = field(default_factory=list)
    ranges: bool = True
    tag: str = '"v1"'
    content: bytes = CONTENT
    asked: list[str] = field(default_factory=list)

    def __call__(self, call: Call) -> Answer:
        wanted = call.headers.get("range", "")
        self.asked.append(wanted)
        start = 0
        if wanted and self.ranges and call.headers.get("if-range") == self.tag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        total = len(self.content)
        if start >= total:
            return Answer(b"", 416, {"Content-Range": f"bytes */{total}"})
        stop = total if not self.breaks else min(total, start + self.breaks.pop(0))
        headers = {"Content-Length": str(total - start), "ETag": self.tag}
        if start:
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        return Answer(self.content[start:stop], 206 if start else 200, headers)


Serve = Callable[[Callable[[Call], Any]], str]


@pytest.fixture
def server() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(serve(answer)) + "/model.pth"


@pytest.fixture
def mirror(server: Serve) -> Mirror:
    made = Mirror()
    made.url = server(made)
    return made


@pytest.fixture
def job(tmp_path: Path, mirror: Mirror) -> Download:
    return Download((mirror.url,), tmp_path / "weights" / "model.pth", len(CONTENT), DIGEST, pause=0.0)


def left_over(job: Download) -> list[str]:
    return sorted(path.name for path in job.target.parent.iterdir())


def test_a_file_comes_whole_with_its_progress(job: Download, mirror: Mirror) -> None:
    seen: list[tuple[int, int]] = []
    done = download(replace(job, progress=lambda now, total: seen.append((now, total))))
    assert done == job.target
    assert done.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [now for now, _ in seen] == sorted(now for now, _ in seen)
    assert left_over(job) == ["model.pth"]
    assert mirror.asked == [""]


def test_a_broken_connection_is_gone_on_with(job: Download, mirror: Mirror) -> None:
    mirror.breaks = [300_000, 200_000]
    assert download(job).read_bytes() == CONTENT
    assert mirror.asked == ["", "bytes=300000-", "bytes=500000-"]


def test_a_later_run_goes_on_where_an_earlier_one_stopped(job: Download, mirror: Mirror) -> None:
    mirror.breaks = [100_000, 0, 0, 0]
    with pytest.raises(
        WeightsMissing, match=r"model.pth could not be downloaded: .*run the command again to go on"
    ):
        download(job)
    assert left_over(job) == ["model.pth.part", "model.pth.part.json"]
    mirror.asked.clear()
    mirror.breaks.clear()
    assert download(job).read_bytes() == CONTENT
    assert mirror.asked == ["bytes=100000-"]


def test_ctrl_c_keeps_the_part(job: Download, mirror: Mirror) -> None:
    def press(now: int, _: int) -> None:
        if now > 400_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(replace(job, progress=press))
    mirror.asked.clear()
    assert download(job).read_bytes() == CONTENT
    assert mirror.asked[0].startswith("bytes=")


def test_a_server_without_ranges_starts_anew(job: Download, mirror: Mirror) -> None:
    mirror.breaks, mirror.ranges = [300_000], False
    assert download(job).read_bytes() == CONTENT
    assert mirror.asked == ["", "bytes=300000-"]


def test_another_version_starts_anew(job: Download, mirror: Mirror) -> None:
    mirror.breaks = [300_000, 0, 0, 0]
    with pytest.raises(WeightsMissing):
        download(job)
    mirror.breaks, mirror.tag, mirror.content = [], '"v2"', CONTENT[::-1]
    assert download(replace(job, sha256="")).read_bytes() == CONTENT[::-1]


def test_without_a_version_nothing_is_gone_on_with(job: Download, mirror: Mirror) -> None:
    mirror.tag = 'W/"weak"'
    mirror.breaks = [300_000]
    assert download(job).read_bytes() == CONTENT
    assert mirror.asked == ["", ""]


def test_a_part_that_is_all_of_it_is_taken(job: Download, mirror: Mirror) -> None:
    mirror.breaks = [len(CONTENT) - 1, 0, 0, 0]
    with pytest.raises(WeightsMissing):
        download(job)
    mirror.breaks = []
    with job.part.open("ab") as stream:
        stream.write(CONTENT[-1:])
    assert download(job).read_bytes() == CONTENT


def test_mirrors_are_tried_in_order(job: Download, mirror: Mirror, server: Serve) -> None:
    gone = server(lambda _: Answer(b"no", 404))
    page = server(lambda _: Answer(b"<html>", 200, {"Content-Type": "text/html; charset=utf-8"}))
    wrong = server(lambda _: Answer(CONTENT[::-1]))
    assert download(replace(job, urls=(gone, page, wrong, mirror.url))).read_bytes() == CONTENT
    assert mirror.asked == [""]
    with pytest.raises(WeightsMissing) as caught:
        download(replace(job, urls=(gone, page, wrong), target=job.target.with_name("other.pth")))
    for words in (f"{gone}: it answered 404", f"{page}: it answered with a web page", f"expected {DIGEST}"):
        assert words in str(caught.value)
    assert left_over(job) == ["model.pth", "other.pth.part.json"], "a wrong file is not kept"


def test_redirects_are_followed_to_https_and_this_machine_only(
    job: Download, mirror: Mirror, server: Serve
) -> None:
    moved = server(lambda _: Answer(b"", 302, {"Location": mirror.url}))
    assert download(replace(job, urls=(moved,))).read_bytes() == CONTENT
    away = server(lambda _: Answer(b"", 302, {"Location": "http://example.org/model.pth"}))
    with pytest.raises(WeightsMissing, match=r"http://example\.org/model\.pth is not https"):
        download(replace(job, urls=(away,)))
    circle = ""
    circle = server(lambda _: Answer(b"", 302, {"Location": circle}))
    with pytest.raises(WeightsMissing, match="redirects more than"):
        download(replace(job, urls=(circle,)))


@pytest.mark.parametrize(
    "url", ["http://example.org/model.pth", "ftp://example.org/model.pth", "file:///etc/passwd"]
)
def test_other_addresses_are_refused(job: Download, url: str) -> None:
    with pytest.raises(WeightsMissing, match="is not https"):
        download(replace(job, urls=(url,)))


@pytest.mark.parametrize("told", [True, False], ids=["told", "untold"])
def test_more_bytes_than_expected_are_refused(job: Download, server: Serve, told: bool) -> None:
    large = b"x" * (8 << 20)
    headers = {} if told else {"Content-Length": ""}
    url = server(lambda _: Answer(large, 200, headers))
    with pytest.raises(WeightsMissing, match=f"expected about {len(CONTENT)}"):
        download(replace(job, urls=(url,)))
    assert not job.part.exists() or not job.part.stat().st_size


def test_a_full_disk_is_said_before_the_download(
    job: Download, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: NamedTuple("Usage", [("free", int)])(1000))
    with pytest.raises(WeightsMissing, match=r"has 0 MB left and model\.pth needs 1 MB; make room"):
        download(job)
    assert not job.part.exists()


def test_a_silent_server_is_given_up(job: Download, server: Serve) -> None:
    def sleep(_: Call) -> Answer:
        time.sleep(1.0)
        return Answer(CONTENT)

    with pytest.raises(WeightsMissing, match="did not answer in time"):
        download(replace(job, urls=(server(sleep),), timeout=(1.0, 0.2)))


def test_no_server_and_no_address(job: Download) -> None:
    with pytest.raises(WeightsMissing, match="the connection failed"):
        download(replace(job, urls=("http://127.0.0.1:9/model.pth",)))
    with pytest.raises(WeightsMissing, match="no address"):
        download(replace(job, urls=()))


def test_encoded_answers_are_refused(job: Download, server: Serve) -> None:
    url = server(lambda _: Answer(CONTENT, 200, {"Content-Encoding": "gzip"}))
    with pytest.raises(WeightsMissing, match="in the encoding gzip"):
        download(replace(job, urls=(url,)))
