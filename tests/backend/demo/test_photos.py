from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from backend.demo.photos import find_photos, packaged_photos
from backend.errors import ConfigProblem

pytestmark = pytest.mark.unit


def test_packaged_photographs_are_enough_for_a_queue(tmp_path: Path) -> None:
    photos = packaged_photos(tmp_path / "photos")
    assert len(photos) >= 8
    for photo in photos:
        with Image.open(photo.path) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
            assert min(image.size) >= 150


def test_packaged_photographs_are_written_once(tmp_path: Path) -> None:
    first = packaged_photos(tmp_path)
    written = {photo.path: photo.path.stat().st_mtime_ns for photo in first}
    assert packaged_photos(tmp_path) == first
    assert {photo.path: photo.path.stat().st_mtime_ns for photo in first} == written


def test_the_users_photographs_have_safe_and_different_names(tmp_path: Path) -> None:
    names = ["b.JPG", "a.png", "one two.jpg", "one+two.jpg", "folder/a.png", "grüße.webp", "dash-ed.jpeg"]
    for name in [*names, "notes.txt"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    photos = find_photos(tmp_path)
    assert {photo.path for photo in photos} == {tmp_path / name for name in names}
    assert len({photo.name for photo in photos}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9._]+", photo.name) for photo in photos)
    assert find_photos(tmp_path) == photos


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_photographs_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigProblem, match=name):
        find_photos(tmp_path / name)
