"""The shared storage on a folder, in memory and on an S3 server."""

from __future__ import annotations

import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec.registry  # noqa: F401 - what it knows already is taken from it below
import pytest

from backend.errors import ConfigProblem, SharedUnavailable
from backend.settings import Settings
from backend.shared import S3_LIMITS, SharedStorage
from tests.fakes.s3 import BUCKET, s3_server

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    with s3_server() as environment:
        yield environment


@pytest.fixture(params=["folder", "memory", pytest.param("s3", marks=pytest.mark.integration)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> SharedStorage:
    if request.param == "s3":
        request.getfixturevalue("s3")
    roots = {"folder": str(tmp_path / "shared"), "memory": "memory://", "s3": f"s3://{BUCKET}"}
    return SharedStorage(f"{roots[request.param]}/{tmp_path.name}/")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "here"
    made.mkdir()
    (made / "a.bin").write_bytes(bytes(1000))
    (made / "z.bin").write_bytes(b"z" * 10)
    (made / "card").write_text("last")
    return made


def test_a_folder_comes_back_as_it_was(storage: SharedStorage, folder: Path, tmp_path: Path) -> None:
    storage.upload(folder, "versions/7/1", last="card")
    back = tmp_path / "back"
    back.mkdir()
    storage.download("versions/7/1", back)
    assert {path.name: path.read_bytes() for path in back.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


def test_what_is_not_there_is_told_from_what_cannot_be_reached(
    storage: SharedStorage, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        storage.download("versions/7/1", tmp_path)
    assert storage.read("embeddings/x") is None
    assert storage.folders("versions/7") == {}
    assert storage.names("versions") == []
    storage.remove("versions/7/1")


def test_folders_are_listed_with_what_others_have_written(storage: SharedStorage, folder: Path) -> None:
    assert storage.folders("versions/7") == {}
    other = SharedStorage(storage.url)
    for name in ("versions/7/1", "versions/7/12", "versions/8/1"):
        other.upload(folder, name, last="card")
    found = storage.folders("versions/7")
    assert sorted(found) == ["1", "12"]
    assert found["12"].nbytes == 1014
    assert found["12"].files == {"a.bin", "z.bin", "card"}
    assert abs(time.time() - found["12"].modified) < 60
    assert storage.names("versions") == ["7", "8"]
    other.remove("versions/7/1")
    assert sorted(storage.folders("versions/7")) == ["12"]
    storage.remove("versions/7/12/card")
    assert storage.folders("versions/7")["12"].files == {"a.bin", "z.bin"}


def test_files(storage: SharedStorage) -> None:
    storage.write("embeddings/x", b"one")
    storage.write("embeddings/x", b"two")
    assert storage.read("embeddings/x") == b"two"
    storage.probe()
    assert storage.names("embeddings") == ["x"]


def test_in_a_folder_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    """The disk is full after the first megabyte: files may not be longer here."""
    storage = SharedStorage(str(tmp_path))
    storage.write("embeddings/old", b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        for name in ("old", "new"):
            with pytest.raises(SharedUnavailable, match="too large"):
                storage.write(f"embeddings/{name}", bytes(2 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert storage.names("embeddings") == ["old"]
    assert storage.read("embeddings/old") == b"before"


def test_the_last_file_is_written_last(
    storage: SharedStorage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the upload breaks off, the file that makes the folder whole is not there."""
    real = storage._fs.put_file

    def break_off(path: str, target: str) -> None:
        if target.endswith("z.bin"):
            raise OSError("the network is gone")
        real(path, target)

    monkeypatch.setattr(storage._fs, "put_file", break_off)
    with pytest.raises(SharedUnavailable, match="the network is gone"):
        storage.upload(folder, "versions/7/1", last="card")
    assert storage.folders("versions/7")["1"].files == {"a.bin"}


@pytest.mark.integration
def test_an_s3_server_that_is_away_or_has_no_such_bucket(
    s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SharedUnavailable, match="check CLICKPICK_SHARED"):
        SharedStorage("s3://no-such-bucket/x").probe()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    began = time.monotonic()
    with pytest.raises(SharedUnavailable):
        SharedStorage(f"s3://{BUCKET}/x").read("embeddings/x")
    assert time.monotonic() - began < 30
    S3FileSystem.clear_instance_cache()


@pytest.mark.integration
def test_an_s3_server_that_takes_calls_and_says_nothing_is_given_up(
    s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call is made once; a write waits for no "100 Continue", which aiohttp does without a limit."""
    monkeypatch.setitem(S3_LIMITS, "read_timeout", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        storage = SharedStorage(f"s3://{BUCKET}/x")
        calls: list[Callable[[], object]] = [
            lambda: storage.read("embeddings/x"),
            lambda: storage.write("embeddings/x", b"content"),
            lambda: storage.folders("versions/7"),
        ]
        began = time.monotonic()
        for call in calls:
            with pytest.raises(SharedUnavailable):
                call()
    assert time.monotonic() - began < 10


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SharedUnavailable, match="file"):
        SharedStorage(str(tmp_path / "file")).probe()


def test_a_url_that_nobody_understands_is_named() -> None:
    with pytest.raises(ConfigProblem, match=r"CLICKPICK_SHARED is nonsense://.*expected a folder, s3://"):
        SharedStorage("nonsense://bucket").probe()


def test_a_missing_client_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(ConfigProblem, match=r"clickpick\[s3\]"):
        SharedStorage("s3://bucket").probe()


def test_secrets_in_the_url_are_refused_and_not_told() -> None:
    with pytest.raises(ValueError, match="CLICKPICK_SHARED holds a user") as caught:
        Settings(_env_file=None, shared="s3://key:secret@bucket/x")  # type: ignore[call-arg]
    assert "secret@" not in str(caught.value)
