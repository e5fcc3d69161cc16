"""Bytes of an image file to an upright RGB array: formats, orientation, limits."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from backend.errors import ImageProblem
from backend.images.decode import decode
from tests.backend.images.pictures import PNG, encoded, gradient

pytestmark = pytest.mark.unit


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
