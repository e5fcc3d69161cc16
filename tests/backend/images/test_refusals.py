"""The table of what is refused: each row over real HTTP, with its reason, without reaching anybody."""

from __future__ import annotations

import gzip
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from backend.errors import ImageProblem, ImageRefused
from backend.images import ImageFetcher
from backend.studio import Studio
from tests.backend.images import bombs
from tests.backend.images.pictures import LOOPBACK, PNG, encoded, gradient, image_calls
from tests.fakes.http_server import Answer, Call, serve
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit

NO_HOST = "is not allowed"
PRIVATE = "which is no public address"
CLIMBS = "climbs out of its folder"
SCHEME = "expected http:// or https://"
PIXELS = "pixels than the limit|pixels, over the limit"
PEAK_MEGABYTES = 200
"""Most that one refusal may take; each bomb would take several times as much."""


@pytest.fixture
def inside() -> Iterator[tuple[str, list[Call]]]:
    """A server in the private network, which nobody may reach: its port, and who did."""
    calls: list[Call] = []

    def answer(call: Call) -> Answer:
        calls.append(call)
        return Answer(PNG)

    with serve(answer) as url:
        yield url.rpartition(":")[2], calls


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://127.0.0.1:{port}/a.png", PRIVATE),
        ("http://localhost:{port}/a.png", PRIVATE),
        ("http://localhost.:{port}/a.png", PRIVATE),
        ("http://2130706433:{port}/a.png", PRIVATE),
        ("http://0x7f000001:{port}/a.png", PRIVATE),
        ("http://0177.0.0.1:{port}/a.png", PRIVATE),
        ("http://017700000001:{port}/a.png", PRIVATE),
        ("http://127.1:{port}/a.png", PRIVATE),
        ("http://0:{port}/a.png", PRIVATE),
        ("http://0.0.0.0:{port}/a.png", PRIVATE),
        ("http://①②⑦.0.0.1:{port}/a.png", PRIVATE),
        ("http://127.0.0.1%00.example.com:{port}/a.png", "cannot be resolved|malformed"),
        ("http://10.0.0.1/a.png", PRIVATE),
        ("http://169.254.169.254/latest/meta-data/", PRIVATE),
        ("http://[::1]:{port}/a.png", PRIVATE),
        ("http://[::]:{port}/a.png", PRIVATE),
        ("http://[::ffff:127.0.0.1]:{port}/a.png", PRIVATE),
        ("http://[::ffff:7f00:1]:{port}/a.png", PRIVATE),
        ("http://[::127.0.0.1]:{port}/a.png", PRIVATE),
        ("http://[64:ff9b::127.0.0.1]:{port}/a.png", PRIVATE),
        ("http://[64:ff9b:1::7f00:1]:{port}/a.png", PRIVATE),
        ("http://[2002:7f00:1::]:{port}/a.png", PRIVATE),
        ("http://[2001:0:7f00:1::]:{port}/a.png", PRIVATE),
        ("http://[fe80::1]:{port}/a.png", PRIVATE),
        ("http://[fe80::1%25lo]:{port}/a.png", PRIVATE + "|cannot be resolved|malformed"),
        ("http://[fec0::1]:{port}/a.png", PRIVATE),
        ("http://[fd00:ec2::254]/latest/meta-data/", PRIVATE),
        ("//127.0.0.1:{port}/a.png", SCHEME),
        ("http:\\\\127.0.0.1:{port}\\a.png", "malformed|not supported|climbs|host"),
        ("http://user:password@127.0.0.1:{port}/a.png", "holds a user or password"),
        ("http://images.example.com@127.0.0.1:{port}/a.png", "holds a user or password"),
        ("file:///etc/passwd", SCHEME),
        ("FILE:///etc/passwd", SCHEME),
        ("data:image/png;base64,AAAA", SCHEME),
        ("gopher://127.0.0.1:{port}/_GET", SCHEME),
        ("ftp://127.0.0.1:{port}/a.png", SCHEME),
        ("jar:http://127.0.0.1:{port}!/a.png", SCHEME),
        ("unix:///var/run/docker.sock", SCHEME),
    ],
)
def test_no_address_reaches_the_private_network_even_where_every_name_is_allowed(
    studio: Studio, inside: tuple[str, list[Call]], address: str, told: str
) -> None:
    port, calls = inside
    with pytest.raises(ImageProblem, match=told) as caught:
        ImageFetcher(studio, allowed_hosts=["*"]).get(address.format(port=port), 1)
    assert "password@" not in str(caught.value)
    assert calls == []


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("/data/upload/../../api/users/", CLIMBS),
        ("/data/upload/%2e%2e/%2e%2e/api/users/", CLIMBS),
        ("/data/upload/%252e%252e/%252e%252e/api/users/", CLIMBS),
        ("/data/upload/..%2f..%2fapi/users/", CLIMBS),
        ("/data/upload/1/..\\..\\settings.json", CLIMBS),
        ("/data/upload/1/%5c..%5csettings.json", CLIMBS),
        ("/data/upload/1/a.png%00.jpg", CLIMBS),
        ("/data/local-files/?d=../../etc/passwd", CLIMBS),
        ("/data/local-files/?d=photos/%2e%2e/%2e%2e/etc/passwd", CLIMBS),
        ("/data/local-files/?d=photos%2f..%2f..%2fetc%2fpasswd", CLIMBS),
        ("/data/local-files?d=a.png&d=../b.png", CLIMBS),
        ("/data/local-files/?d=..", CLIMBS),
        ("/api/users/", "answered 401; ClickPick shows its token only"),
        ("/api/projects/1/export?exportType=JSON", "answered 401; ClickPick shows its token only"),
        ("/API/users/?x=/data/upload/", "answered 401; ClickPick shows its token only"),
    ],
)
def test_no_address_turns_the_token_against_label_studio(
    fake: FakeLabelStudio, images: ImageFetcher, address: str, told: str
) -> None:
    for url in (address, fake.url + address):
        with pytest.raises(ImageProblem, match=told):
            images.get(url, 1)
    assert not [call for call in fake.calls if "authorization" in call.headers]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("http://127.0.0.1:{port}/a.png", NO_HOST),
        ("//127.0.0.1:{port}/a.png", NO_HOST),
        ("http://[::1]:{port}/a.png", NO_HOST),
        ("http://user:password@images.example.com/", "holds a user or password"),
        ("file:///etc/passwd", SCHEME),
        ("data:image/png;base64,AAAA", SCHEME),
        ("gopher://127.0.0.1:{port}/", SCHEME),
        ("/data/local-files/?d=../../etc/passwd", CLIMBS),
        ("/api/users/", "answered 401"),
        ("/start", "redirects more than 5 times"),
    ],
)
def test_no_redirect_goes_where_an_address_may_not(
    fake: FakeLabelStudio, images: ImageFetcher, inside: tuple[str, list[Call]], target: str, told: str
) -> None:
    port, calls = inside
    fake.pages["/start"] = Answer(status=302, headers={"Location": target.format(port=port)})
    with pytest.raises(ImageProblem, match=told):
        images.get("/start", 1)
    assert calls == []
    assert not [call for call in fake.calls if "authorization" in call.headers]


def test_a_redirect_from_a_cloud_storage_into_the_private_network(
    fake: FakeLabelStudio, images: ImageFetcher, inside: tuple[str, list[Call]]
) -> None:
    port, calls = inside
    task = fake.add_task(fake.add_project("<View/>"), {})
    fake.cloud["s3://bucket/a.png"] = Answer(
        status=302, headers={"Location": f"http://127.0.0.1:{port}/a.png"}
    )
    with pytest.raises(ImageRefused, match=PRIVATE):
        images.get("s3://bucket/a.png", task)
    assert calls == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(bombs.png(60_000, 60_000), PIXELS, id="png"),
        pytest.param(bombs.png(2**31 - 1, 2**31 - 1), PIXELS, id="png of 2^62 pixels"),
        pytest.param(bombs.png(9_000, 9_000), PIXELS, id="png just over the limit"),
        pytest.param(bombs.text_bomb(b"zTXt"), "too large", id="zTXt"),
        pytest.param(bombs.text_bomb(b"iTXt"), "too large", id="iTXt"),
        pytest.param(bombs.text_bomb(b"iCCP"), "too large", id="iCCP"),
        pytest.param(bombs.tiff(60_000, 60_000), PIXELS, id="tiff"),
        pytest.param(bombs.tiff(10, 10, tile=32_768), "tiles of 32768x32768 pixels", id="tiff tile"),
        pytest.param(bombs.webp(16_383, 16_383), PIXELS, id="webp"),
        pytest.param(bombs.jpeg(65_000, 65_000), PIXELS, id="jpeg"),
        pytest.param(bombs.gif(65_000, 65_000), PIXELS, id="gif"),
        pytest.param(bombs.jpeg2000(100_000), PIXELS, id="jpeg 2000"),
        pytest.param(b"P6 60000 60000 255\n", PIXELS, id="ppm"),
        pytest.param(PNG[:-30], "damaged or truncated", id="truncated png"),
        pytest.param(encoded(gradient(40, 40), "JPEG")[:400], "damaged or truncated", id="truncated jpeg"),
        pytest.param(encoded(gradient(40, 40), "WEBP")[:100], "damaged|no image", id="truncated webp"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG drawing", id="svg"),
        pytest.param(gzip.compress(b"<svg/>"), "no image that can be read", id="svgz"),
        pytest.param(b"<!doctype html><title>Log in</title>", "a web page", id="html"),
        pytest.param(b"%PDF-1.7", "PDF", id="pdf"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n", "no image", id="eps"),
        pytest.param(b"PK\3\4" + bytes(100), "no image", id="zip"),
        pytest.param(b"\x7fELF" + bytes(100), "no image", id="program"),
        pytest.param(b'{"detail": "no"}', "JSON", id="json"),
        pytest.param(b"", "0 bytes", id="nothing"),
        pytest.param(bytes(3_000_000), "larger than 2000000 bytes", id="too many bytes"),
    ],
)
def test_no_file_takes_memory_or_time(
    fake: FakeLabelStudio, studio: Studio, content: bytes, told: str
) -> None:
    fake.upload(fake.add_project("<View/>"), "a.png", content)
    (path,) = fake.uploads
    images = ImageFetcher(studio, max_pixels=50_000_000, max_bytes=2_000_000)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(ImageProblem, match=told):
        images.get(path, 1)
    assert time.monotonic() - started < 2
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < PEAK_MEGABYTES


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_is_packed_over_and_over(studio: Studio, encoding: str) -> None:
    answer = Answer(gzip.compress(bytes(100 << 20)), headers={"Content-Encoding": encoding})
    with serve(lambda _: answer) as other:
        images = ImageFetcher(studio, allowed_hosts=LOOPBACK, max_bytes=2_000_000)
        with pytest.raises(ImageProblem, match=r"larger than 2000000 bytes|cannot be fetched"):
            images.get(f"{other}/a.png", 1)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nX-Drip: "])
def test_headers_that_never_end(studio: Studio, start: bytes) -> None:
    stop = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        peer, _ = server.accept()
        with peer:
            peer.recv(65536)
            try:
                peer.sendall(start)
                while not stop.wait(0.05):
                    peer.sendall(b"x")
            except OSError:
                return

    thread = threading.Thread(target=drip)
    thread.start()
    started = time.monotonic()
    images = ImageFetcher(studio, allowed_hosts=LOOPBACK, timeout=(1, 1), deadline=0.5)
    reasons = r"cannot be fetched|in time|took longer|0 bytes"  # by where the limit met it
    try:
        with closing(images), pytest.raises(ImageProblem, match=reasons):
            images.get(f"http://127.0.0.1:{server.getsockname()[1]}/a.png", 1)
        assert time.monotonic() - started < 3
    finally:
        stop.set()
        thread.join()
        server.close()


def test_what_is_allowed_still_comes(fake: FakeLabelStudio, images: ImageFetcher) -> None:
    fake.upload(fake.add_project("<View/>"), "a..b.png", PNG)
    (path,) = fake.uploads
    fake.files["my photos/c..d.png"] = bombs.png(3, 3)
    assert images.get(path, 1).array.shape == (5, 7, 3)
    assert images.get("/data/local-files/?d=my%20photos/c..d.png", 1).array.shape == (3, 3, 3)
    assert all("authorization" in call.headers for call in image_calls(fake))
