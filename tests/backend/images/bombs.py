"""Small files that claim, or unpack to, what no machine has room for."""

from __future__ import annotations

import struct
import zlib

from tests.backend.images.pictures import encoded, gradient

_ZEROS = zlib.compress(bytes(1 << 24), 9)
_LETTERS = zlib.compress(b"A" * (100 << 20), 9)
_ROWS = zlib.compress(bytes(10) * 3)


def png(width: int, height: int, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG of that claimed size with three black pixels a row in it; ``extra``: chunks before these."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", _ROWS), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def text_bomb(kind: bytes) -> bytes:
    """A PNG with 100 MB of letters in a compressed text (zTXt, iTXt) or colour profile (iCCP)."""
    start = b"k\0\1\0\0\0" if kind == b"iTXt" else b"k\0\0"
    return png(3, 3, (kind, start + _LETTERS))


def tiff(width: int, height: int, *, tile: int = 0) -> bytes:
    """A deflated TIFF of that claimed size, in one strip or in tiles of ``tile`` pixels a side."""
    start = 8
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1}
    if tile:
        tags |= {322: tile, 323: tile, 324: start, 325: len(_ZEROS)}
    else:
        tags |= {278: height, 273: start, 279: len(_ZEROS)}
    data = _ZEROS + bytes(len(_ZEROS) % 2)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", start + len(data)) + data + directory


def webp(width: int, height: int) -> bytes:
    """An animated WebP of that canvas around one frame of 2x2 pixels."""
    frame = encoded(gradient(2, 2), "WEBP", lossless=True)[12:]
    canvas = bytes([2, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    place = bytes(6) + (1).to_bytes(3, "little") * 2 + bytes(4)
    body = b"WEBP" + _chunk(b"VP8X", canvas) + _chunk(b"ANIM", bytes(6)) + _chunk(b"ANMF", place + frame)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg(width: int, height: int) -> bytes:
    """A JPEG whose header claims that size."""
    small = encoded(gradient(8, 8), "JPEG")
    place = small.index(b"\xff\xc0") + 5
    return small[:place] + struct.pack(">HH", height, width) + small[place + 4 :]


def gif(width: int, height: int) -> bytes:
    """A GIF whose screen claims that size."""
    small = encoded(gradient(8, 8).convert("P"), "GIF")
    return small[:6] + struct.pack("<HH", width, height) + small[10:]


def jpeg2000(side: int) -> bytes:
    """The header of a JPEG 2000 code stream."""
    return (
        b"\xff\x4f\xff\x51" + struct.pack(">HH8IH", 41, 0, side, side, 0, 0, side, side, 0, 0, 1) + b"\7\1\1"
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data
