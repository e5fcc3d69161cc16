"""From the address in a task's data to an upright RGB array: kinds of address, policy, limits, formats."""

from __future__ import annotations

import hashlib
import io
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from backend.errors import ImageProblem, ImageRefused, StudioRefused, StudioUnavailable
from backend.images import ImageFetcher
from backend.images.decode import decode
from backend.images.download import GuardedAdapter
from backend.images.policy import HostPolicy, public_url
from backend.studio import Studio
from tests.fakes.http_server import Answer, Call, serve
from tests.fakes.label_studio import LEGACY_TOKEN, FakeLabelStudio

pytestmark = pytest.mark.unit

LOOPBACK = ("127.0.0.0/8",)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(height: int = 5, width: int = 7) -> Image.Image:
    values = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    return Image.fromarray(values)


PNG = encoded(gradient())


@pytest.fixture
def fake() -> Iterator[FakeLabelStudio]:
    with FakeLabelStudio() as server:
        yield server


@pytest.fixture
def studio(fake: FakeLabelStudio) -> Studio:
    return Studio(fake.url, fake.pat)


@pytest.fixture
def images(studio: Studio) -> ImageFetcher:
    return ImageFetcher(studio)


def image_calls(fake: FakeLabelStudio) -> list[Call]:
    return [call for call in fake.calls if not call.path.startswith("/api/")]


class TestAddresses:
    def test_upload(self, fake: FakeLabelStudio, images: ImageFetcher) -> None:
        fake.upload(fake.add_project("<View/>"), "a.png", PNG)
        (path,) = fake.uploads
        found = images.get(path, 1)
        assert np.array_equal(found.array, np.asarray(gradient()))
        assert found.array.dtype == np.uint8
        assert not found.array.flags.writeable
        assert found.digest == hashlib.sha256(PNG).hexdigest()
        assert images.get(fake.url + path, 1).digest == found.digest

    def test_local_files_with_odd_names(self, fake: FakeLabelStudio, images: ImageFetcher) -> None:
        fake.files["photos/a b&c=ä.png"] = PNG
        assert images.get("/data/local-files/?d=photos/a%20b%26c%3D%C3%A4.png", 1).array.shape == (5, 7, 3)

    @pytest.mark.parametrize(
        "uri", ["s3://bucket/a b/ü.png", "gs://bucket/x.png", "azure-blob://box/x.png?y=~>"]
    )
    def test_cloud_through_the_task(self, fake: FakeLabelStudio, images: ImageFetcher, uri: str) -> None:
        task = fake.add_task(fake.add_project("<View/>"), {"image": uri})
        fake.cloud[uri] = Answer(PNG)
        assert images.get(uri, task).array.shape == (5, 7, 3)
        with pytest.raises(ImageProblem, match="task id"):
            images.get(uri + "2", None)

    def test_under_a_path_prefix(self) -> None:
        with FakeLabelStudio(prefix="/studio") as fake:
            images = ImageFetcher(Studio(fake.url, fake.pat))
            fake.uploads["/data/upload/1/a.png"] = PNG
            for address in ("/data/upload/1/a.png", "/studio/data/upload/1/a.png", "data/upload/1/a.png"):
                assert images.get(address, 1).array.shape == (5, 7, 3)

    @pytest.mark.parametrize("address", [None, "", "  ", 7, {"url": "x"}, ["/data/upload/1/a.png"]])
    def test_no_address(self, images: ImageFetcher, address: Any) -> None:
        with pytest.raises(ImageProblem, match="task 3 has no image address"):
            images.get(address, 3)

    @pytest.mark.parametrize(
        "address",
        [
            "file:///etc/passwd",
            "ftp://host/a.png",
            "data:image/png;base64,AAAA",
            "gopher://x",
            "javascript:alert(1)",
        ],
    )
    def test_other_schemes(self, images: ImageFetcher, address: str) -> None:
        with pytest.raises(ImageRefused, match="expected http"):
            images.get(address, 1)

    @pytest.mark.parametrize(
        "address", ["http://", "http://[::1", "http://host:port/a", "//", "http://host:99999/"]
    )
    def test_malformed(self, images: ImageFetcher, address: str) -> None:
        with pytest.raises(ImageProblem):
            images.get(address, 1)


class TestPolicy:
    def test_unlisted_host_gets_no_request(self, images: ImageFetcher) -> None:
        calls: list[Call] = []
        with serve(calls.append) as other, pytest.raises(ImageRefused, match="CLICKPICK_ALLOWED_HOSTS"):
            images.get(f"{other}/a.png", 1)
        assert calls == []

    def test_another_port_of_label_studios_host_is_another_origin(self, images: ImageFetcher) -> None:
        with serve(lambda _: Answer(PNG)) as other, pytest.raises(ImageRefused):
            images.get(f"{other}/data/upload/1/a.png", 1)

    def test_listed_name_at_a_private_address_gets_no_request(self, studio: Studio) -> None:
        calls: list[Call] = []
        with serve(calls.append) as other, pytest.raises(ImageRefused, match="no public address"):
            ImageFetcher(studio, allowed_hosts=["*"]).get(other.replace("127.0.0.1", "localhost"), 1)
        assert calls == []

    def test_listed_network_may_be_private_and_sees_no_token(self, studio: Studio) -> None:
        calls: list[Call] = []

        def answer(call: Call) -> Answer:
            calls.append(call)
            return Answer(PNG)

        with serve(answer) as other:
            found = ImageFetcher(studio, allowed_hosts=LOOPBACK).get(f"{other}/a.png?signature=1", 1)
        assert found.array.shape == (5, 7, 3)
        assert calls[0].query == {"signature": "1"}
        assert "authorization" not in calls[0].headers

    def test_a_name_that_turns_private_is_caught_when_connecting(
        self, studio: Studio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[Call] = []
        real = socket.getaddrinfo
        asked: list[str] = []

        def rebinding(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if host == "rebind.example":
                asked.append(host)
                host = "93.184.216.34" if len(asked) == 1 else "127.0.0.1"
            return real(host, port, *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        images = ImageFetcher(studio, allowed_hosts=["rebind.example"])
        with serve(calls.append) as other:
            url = other.replace("127.0.0.1", "rebind.example")
            with pytest.raises(ImageRefused, match=r"127\.0\.0\.1.*no public"):
                images.get(f"{url}/a.png", 1)
        assert len(asked) == 2
        assert calls == []

    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
            "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1",
            "fe80::1%eth0", "fc00::1", "fd12:3456::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
            "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:c0a8:101::", "2001:0:4136:e378::1",
            "2001:db8::1", "not an address",
        ],
    )  # fmt: skip
    def test_private_addresses(self, address: str) -> None:
        with pytest.raises(ImageRefused, match="no public address"):
            HostPolicy(["*"]).check_address(address, "host")

    @pytest.mark.parametrize(
        "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
    )
    def test_public_addresses(self, address: str) -> None:
        HostPolicy([]).check_address(address, "host")

    @pytest.mark.parametrize(
        ("url", "allowed"),
        [
            ("http://images.example.com/x", True),
            ("http://IMAGES.example.com./x", True),
            ("http://a.cdn.example.org/x", True),
            ("http://cdn.example.org/x", False),
            ("http://images.example.com.evil.org/x", False),
            ("http://evil.org/images.example.com", False),
            ("http://images.example.com@evil.org/", False),
            ("http://10.20.3.4/x", True),
            ("http://10.21.3.4/x", False),
        ],
    )
    def test_listed_hosts(self, url: str, allowed: bool) -> None:
        policy = HostPolicy(["Images.Example.com", "*.cdn.example.org", "10.20.0.0/16"])
        if allowed:
            policy.check_host(url)
        else:
            with pytest.raises(ImageRefused):
                policy.check_host(url)

    @pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost"])
    def test_other_spellings_of_loopback(self, host: str) -> None:
        with pytest.raises(ImageProblem):
            HostPolicy(["*"]).check_resolved(f"http://{host}/x")

    def test_unresolvable_host(self) -> None:
        with pytest.raises(ImageProblem, match="cannot be resolved"):
            HostPolicy(["*"]).check_resolved("http://no.such.host.invalid/x")

    def test_guard_is_on_both_schemes(self) -> None:
        adapter = GuardedAdapter(HostPolicy([]))
        names = {
            scheme: pool.ConnectionCls for scheme, pool in adapter.poolmanager.pool_classes_by_scheme.items()
        }
        assert set(names) == {"http", "https"}
        with socket.create_server(("127.0.0.1", 0)) as server:
            for connection in names.values():
                opened = connection("127.0.0.1", server.getsockname()[1], timeout=1)
                with pytest.raises(ImageRefused):
                    opened._new_conn()


class TestRedirects:
    def redirect(self, target: str, status: int = 302) -> Answer:
        return Answer(status=status, headers={"Location": target})

    def test_within_label_studio(self, fake: FakeLabelStudio, images: ImageFetcher) -> None:
        fake.pages["/old.png"] = self.redirect("/data/upload/1/a.png")
        fake.uploads["/data/upload/1/a.png"] = PNG
        assert images.get("/old.png", 1).array.shape == (5, 7, 3)

    def test_from_label_studio_to_another_host_is_checked(
        self, fake: FakeLabelStudio, images: ImageFetcher
    ) -> None:
        calls: list[Call] = []
        with serve(calls.append) as other:
            fake.pages["/open"] = self.redirect(f"{other}/x.png")
            with pytest.raises(ImageRefused, match="not allowed"):
                images.get("/open", 1)
        assert calls == []

    def test_cloud_redirect_needs_no_list_but_a_public_address(
        self, fake: FakeLabelStudio, images: ImageFetcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = fake.add_task(fake.add_project("<View/>"), {})
        calls: list[Call] = []

        def answer(call: Call) -> Answer:
            calls.append(call)
            return Answer(PNG)

        with serve(answer) as other:
            fake.cloud["s3://bucket/a.png"] = self.redirect(
                f"{other}/bucket/a.png?X-Amz-Signature=secret", 303
            )
            with pytest.raises(ImageRefused, match="no public address") as caught:
                images.get("s3://bucket/a.png", task)
            assert "secret" not in str(caught.value)
            assert calls == []
            monkeypatch.setattr("backend.images.policy._is_public", lambda _: True)
            assert images.get("s3://bucket/a.png", task).array.shape == (5, 7, 3)
        assert "authorization" not in calls[0].headers
        assert calls[0].query == {"X-Amz-Signature": "secret"}

    def test_back_to_label_studio_from_elsewhere_carries_the_token_only_there(
        self, fake: FakeLabelStudio, studio: Studio
    ) -> None:
        fake.uploads["/data/upload/1/a.png"] = PNG
        calls: list[Call] = []

        def answer(call: Call) -> Answer:
            calls.append(call)
            return self.redirect(fake.url + "/data/upload/1/a.png")

        with serve(answer) as other:
            assert ImageFetcher(studio, allowed_hosts=LOOPBACK).get(f"{other}/a", 1).array.shape == (5, 7, 3)
        assert "authorization" not in calls[0].headers

    def test_to_a_file(self, fake: FakeLabelStudio, images: ImageFetcher) -> None:
        fake.pages["/open"] = self.redirect("file:///etc/passwd")
        with pytest.raises(ImageRefused, match="expected http"):
            images.get("/open", 1)

    def test_without_end(self, fake: FakeLabelStudio, images: ImageFetcher) -> None:
        fake.pages["/loop"] = self.redirect("/loop")
        with pytest.raises(ImageProblem, match="more than 5 times"):
            images.get("/loop", 1)
        assert len(image_calls(fake)) == 6


class TestFailures:
    @pytest.mark.parametrize(
        ("address", "told"),
        [
            ("/data/upload/1/gone.jpg", "upload it again"),
            ("/data/local-files/?d=gone.jpg", "LOCAL_FILES_SERVING_ENABLED=true"),
            ("/else.jpg", "answered 404"),
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


def array(content: bytes) -> np.ndarray[Any, Any]:
    return decode(content, "shown", max_pixels=10_000).array


class TestDecoding:
    # The pixel that the viewer sees at (0, 0), (0, -1) and (-1, 0), by EXIF orientation, of a stored 2x3 image.
    STORED = np.array([[[10] * 3, [20] * 3, [30] * 3], [[40] * 3, [50] * 3, [60] * 3]], np.uint8)
    UPRIGHT: ClassVar[dict[int, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: a.transpose(1, 0, 2)[::-1],
    }

    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientations(self, kind: str, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"lossless": True} if kind == "WEBP" else {}
        content = encoded(Image.fromarray(self.STORED), kind, exif=exif, **options)
        assert np.array_equal(array(content), self.UPRIGHT[orientation](self.STORED))

    def test_jpeg_orientation(self) -> None:
        stored = np.zeros((16, 32, 3), np.uint8)
        stored[:, 16:] = 255
        exif = Image.Exif()
        exif[0x0112] = 6
        found = array(encoded(Image.fromarray(stored), "JPEG", exif=exif))
        assert found.shape == (32, 16, 3)
        assert found[:14].max() < 30
        assert found[18:].min() > 225

    def test_orientation_in_xmp_alone_is_ignored_as_browsers_do(self) -> None:
        xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
        content = encoded(Image.fromarray(self.STORED), "WEBP", lossless=True, xmp=xmp)
        assert array(content).shape == (2, 3, 3)

    def test_broken_exif_is_ignored(self) -> None:
        content = encoded(
            Image.fromarray(self.STORED), exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12"
        )
        assert np.array_equal(array(content), self.STORED)

    def test_modes(self) -> None:
        grey = np.array([[0, 100, 255]], np.uint8)
        as_rgb = np.repeat(grey[:, :, None], 3, axis=2)
        palette = Image.fromarray(as_rgb).convert("P", palette=Image.Palette.ADAPTIVE)
        wide = Image.fromarray((grey.astype(np.uint16) << 8) + 7)
        cmyk = Image.fromarray(as_rgb).convert("CMYK")
        floats = Image.fromarray(np.array([[-1.0, 0.0, 3.0]], np.float32))
        for content in (
            encoded(Image.fromarray(grey)),
            encoded(palette),
            encoded(wide),
            encoded(cmyk, "TIFF"),
        ):
            assert np.array_equal(array(content), as_rgb)
        assert array(encoded(floats, "TIFF"))[0, :, 0].tolist() == [0, 64, 255]
        assert array(encoded(Image.fromarray(grey > 50)))[0, :, 1].tolist() == [0, 255, 255]

    def test_sixteen_bits_turned(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        wide = Image.fromarray(np.array([[256, 512, 1024]], np.uint16))
        assert array(encoded(wide, exif=exif))[:, 0, 0].tolist() == [1, 2, 4]

    def test_transparency_is_over_white(self) -> None:
        rgba = np.array([[[255, 0, 0, 255], [0, 0, 0, 0], [0, 0, 0, 128]]], np.uint8)
        assert array(encoded(Image.fromarray(rgba)))[0].tolist() == [[255, 0, 0], [255] * 3, [127] * 3]
        palette = Image.fromarray(np.array([[0, 1]], np.uint8), mode=None).convert("P")
        assert array(encoded(palette, transparency=1))[0, 1].tolist() == [255] * 3
        grey = Image.fromarray(np.array([[[9, 255], [9, 0]]], np.uint8))
        assert array(encoded(grey))[0].tolist() == [[9] * 3, [255] * 3]

    @pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
    def test_first_frame_of_animations(self, kind: str) -> None:
        frames = [Image.new("RGB", (4, 3), colour) for colour in ("white", "black")]
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert array(content).min() == 255

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"", "0 bytes"),
            (b"<!DOCTYPE html><html>login</html>", "web page"),
            (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
            (b'{"detail": "x"}', "JSON"),
            (b"%PDF-1.4", "PDF"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image"),
            (b"\x00" * 100, "no image"),
            (PNG[:-30], "damaged"),
            (encoded(gradient(40, 40), "JPEG")[:400], "damaged"),
            (PNG[:38], "no image"),
            (encoded(gradient(101, 100)), "100x101 pixels, over the limit"),
        ],
    )
    def test_what_is_no_image(self, content: bytes, told: str) -> None:
        with pytest.raises(ImageProblem, match=told) as caught:
            array(content)
        assert "shown" in str(caught.value)

    def test_pixels_are_limited_before_they_are_decoded(self) -> None:
        bomb = bytearray(PNG)
        bomb[16:24] = (20_000).to_bytes(4, "big") * 2
        bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
        with pytest.raises(ImageProblem, match="far more pixels than the limit of 10000"):
            array(bytes(bomb))
        header = b"P6 9000 8000 255\n"
        with pytest.raises(ImageProblem, match="9000x8000 pixels, over the limit"):
            array(header)

    @pytest.mark.parametrize("header", [b"P6 0 5 255\n", b"BM" + b"\x00" * 60])
    def test_no_pixels_at_all(self, header: bytes) -> None:
        with pytest.raises(ImageProblem):
            array(header)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:secret@host:8/p/a.png?X-Amz-Signature=secret#secret", "https://host:8/p/a.png"),
        ("/data/local-files/?d=a/b.png", "/data/local-files/?d=a/b.png"),
        ("s3://bucket/key.png", "s3://bucket/key.png"),
        ("http://[::1", "(unreadable address)"),
    ],
)
def test_public_url(url: str, shown: str) -> None:
    assert public_url(url) == shown


def test_public_url_is_short() -> None:
    assert len(public_url("data:image/png;base64," + "A" * 10_000)) < 400
