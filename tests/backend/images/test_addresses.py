"""Kinds of address in a task's data, and how they are shown."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from backend.errors import ImageProblem, ImageRefused
from backend.images import ImageFetcher
from backend.images.policy import public_url
from backend.studio import Studio
from tests.backend.images.pictures import PNG, gradient
from tests.fakes.http_server import Answer
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit


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
