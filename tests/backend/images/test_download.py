"""Failures, limits and the cache of what was fetched."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from backend.errors import ImageProblem, StudioRefused, StudioUnavailable
from backend.images import ImageFetcher
from backend.studio import Studio
from tests.backend.images.pictures import LOOPBACK, PNG, encoded, gradient, image_calls
from tests.fakes.http_server import Answer, Call, serve
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.studio_tokens import LEGACY_TOKEN

pytestmark = pytest.mark.unit


class TestFailures:
    @pytest.mark.parametrize(
        ("address", "told"),
        [
            ("/data/upload/1/gone.jpg", "upload it again"),
            ("/data/local-files/?d=gone.jpg", "LOCAL_FILES_SERVING_ENABLED=true"),
            ("/else.jpg", "answered 401; ClickPick shows its token only"),
            ("/data/else.jpg", "answered 404"),
        ],
    )
    def test_missing(self, images: ImageFetcher, address: str, told: str) -> None:
        with pytest.raises(ImageProblem, match=told) as caught:
            images.get(address, 1)
        assert address.partition("?")[0] in str(caught.value)

    def test_cloud_without_storage(self, fake: FakeLabelStudio, images: ImageFetcher) -> None:
        task = fake.add_task(fake.add_project("<View/>"), {})
        with pytest.raises(ImageProblem, match=r"s3://bucket/a\.png: .*cloud storage"):
            images.get("s3://bucket/a.png", task)

    def test_wrong_token(self, fake: FakeLabelStudio) -> None:
        with pytest.raises(ImageProblem, match="LABEL_STUDIO_API_KEY"):
            ImageFetcher(Studio(fake.url, LEGACY_TOKEN)).get("/data/upload/1/a.png", 1)
        wrong = fake.pat[:-4] + "AAAA"
        with pytest.raises(StudioRefused, match="Token is invalid"):
            ImageFetcher(Studio(fake.url, wrong)).get("/data/upload/1/a.png", 1)

    def test_label_studio_away(self, fake: FakeLabelStudio, images: ImageFetcher) -> None:
        with serve(lambda _: None) as gone:
            pass
        with pytest.raises(StudioUnavailable):
            ImageFetcher(Studio(gone, LEGACY_TOKEN)).get("/data/upload/1/a.png", 1)
        fake.broken = 503
        with pytest.raises(StudioUnavailable):
            images.get("/data/upload/1/a.png", 1)

    def test_other_host_away(self, studio: Studio) -> None:
        with serve(lambda _: None) as gone:
            pass
        with pytest.raises(ImageProblem, match="cannot be fetched") as caught:
            ImageFetcher(studio, allowed_hosts=LOOPBACK).get(f"{gone}/a.png?token=secret", 1)
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("length", [None, "10"])
    def test_more_bytes_than_allowed_whatever_the_header_says(
        self, studio: Studio, length: str | None
    ) -> None:
        headers = {"Content-Length": length} if length else {}
        answer = Answer(b"x" * 5000, headers=headers)
        with serve(lambda _: answer) as other:
            images = ImageFetcher(studio, allowed_hosts=LOOPBACK, max_bytes=4999)
            told = "larger than 4999 bytes" if length is None else "no image"
            with pytest.raises(ImageProblem, match=told):
                images.get(f"{other}/a.png", 1)

    def test_a_server_that_drips(self, studio: Studio) -> None:
        stop = threading.Event()
        server = socket.create_server(("127.0.0.1", 0))

        def drip() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while not stop.wait(0.05):
                    peer.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        images = ImageFetcher(studio, allowed_hosts=LOOPBACK, timeout=(1, 1), deadline=0.5)
        started = time.monotonic()
        with pytest.raises(ImageProblem, match=r"longer than 0\.5 s"):
            images.get(f"http://127.0.0.1:{server.getsockname()[1]}/a.png", 1)
        assert time.monotonic() - started < 3
        stop.set()
        thread.join()
        server.close()

    def test_a_server_that_is_silent(self, studio: Studio) -> None:
        go = threading.Event()
        with serve(lambda _: go.wait(5)) as other:
            images = ImageFetcher(studio, allowed_hosts=LOOPBACK, timeout=(1, 0.2))
            with pytest.raises(ImageProblem, match="did not answer in time"):
                images.get(f"{other}/a.png", 1)
            go.set()

    def test_body_that_breaks_off(self, studio: Studio) -> None:
        answer = Answer(PNG[:40], headers={"Content-Length": str(len(PNG))})
        with serve(lambda _: answer) as other, pytest.raises(ImageProblem, match="cannot be fetched"):
            ImageFetcher(studio, allowed_hosts=LOOPBACK).get(f"{other}/a.png", 1)


class TestCache:
    def test_second_get_makes_no_request(self, fake: FakeLabelStudio, images: ImageFetcher) -> None:
        fake.uploads["/data/upload/1/a.png"] = PNG
        first = images.get("/data/upload/1/a.png", 1)
        assert images.get("/data/upload/1/a.png", 2) is first
        assert len(image_calls(fake)) == 1

    def test_concurrent_gets_share_one_request(self, fake: FakeLabelStudio) -> None:
        fake.uploads["/data/upload/1/a.png"] = PNG
        held = threading.Event()

        def slow(call: Call) -> Any:
            held.wait(5)
            return fake.answer(call)

        with serve(slow) as url:
            shared = ImageFetcher(Studio(url, fake.pat))
            found: list[Any] = []
            threads = [
                threading.Thread(target=lambda: found.append(shared.get("/data/upload/1/a.png", 1)))
                for _ in range(6)
            ]
            for thread in threads:
                thread.start()
            time.sleep(0.1)
            held.set()
            for thread in threads:
                thread.join()
        assert len(image_calls(fake)) == 1
        assert len({id(image) for image in found}) == 1

    def test_bytes_are_capped_oldest_first(self, fake: FakeLabelStudio, studio: Studio) -> None:
        size = 5 * 7 * 3
        images = ImageFetcher(studio, cache_bytes=2 * size)
        for name in "abc":
            fake.uploads[f"/data/upload/1/{name}.png"] = PNG
        for name in ("a", "b", "a", "c", "a", "b"):
            images.get(f"/data/upload/1/{name}.png", 1)
        assert [call.path[-5] for call in image_calls(fake)] == ["a", "b", "c", "b"]

    def test_an_image_over_the_cap_is_served_and_not_kept(
        self, fake: FakeLabelStudio, studio: Studio
    ) -> None:
        images = ImageFetcher(studio, cache_bytes=10)
        fake.uploads["/data/upload/1/a.png"] = PNG
        for _ in range(2):
            images.get("/data/upload/1/a.png", 1)
        assert len(image_calls(fake)) == 2

    def test_failures_are_not_kept(self, fake: FakeLabelStudio, images: ImageFetcher) -> None:
        with pytest.raises(ImageProblem):
            images.get("/data/upload/1/a.png", 1)
        fake.uploads["/data/upload/1/a.png"] = PNG
        assert images.get("/data/upload/1/a.png", 1).array.shape == (5, 7, 3)

    def test_an_old_image_is_fetched_anew(
        self, fake: FakeLabelStudio, images: ImageFetcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [0.0]
        monkeypatch.setattr("backend.images.time.monotonic", lambda: now[0])
        fake.uploads["/data/upload/1/a.png"] = PNG
        first = images.get("/data/upload/1/a.png", 1)
        fake.uploads["/data/upload/1/a.png"] = encoded(gradient(6, 6))
        now[0] = 599
        assert images.get("/data/upload/1/a.png", 1) is first
        now[0] = 601
        assert images.get("/data/upload/1/a.png", 1).array.shape == (6, 6, 3)
