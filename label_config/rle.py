"""The run-length code of Label Studio's brush regions.

Format (rle-pack of thi.ng/umbrella, as its decoder documents it): 32 bits number of values, 5 bits word size - 1,
4 x 4 bits run sizes - 1; then blocks of 1 bit run/literals, 2 bits index of the run size, the length - 1 in that many
bits, and one word for a run, or length words for literals. The values are the bytes of an RGBA image, row by row.

The SDK has the same code in plain Python. This one exists because of what was measured at 1280x960: decoding took
13 to 54 ms there, and importing it takes 5 s. The tests hold it against the SDK's in both directions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from label_config.errors import LabelConfigError

_WORD = 8
_SIZES = np.array([3, 4, 8, 16])
_HEADER_BITS = 32 + 5 + 4 * 4
_LONGEST = 1 << 16


def encode_runs(lengths: NDArray[np.int64], values: NDArray[np.int64]) -> list[int]:
    """Bytes of the code for runs of byte values; ``lengths`` and ``values``: (n,), lengths of at least 1."""
    pieces = -(-lengths // _LONGEST)
    last = lengths - (pieces - 1) * _LONGEST
    length = np.full(int(pieces.sum()), _LONGEST, np.int64)
    length[np.cumsum(pieces) - 1] = last
    index = np.searchsorted(1 << _SIZES, length)
    size = _SIZES[index]
    codes = ((0b100 | index) << size | length - 1) << _WORD | np.repeat(values, pieces)
    header = int(lengths.sum()) << 21 | _WORD - 1 << 16 | 0x2_37_F  # run sizes 3, 4, 8, 16, each minus one
    return [
        *_pack(np.array([header >> 21, header & 0x1FFFFF]), np.array([32, 21]), codes, 1 + 2 + size + _WORD)
    ]


def _pack(*fields: NDArray[np.int64]) -> bytes:
    """Bit string of codes of varying widths; ``fields``: codes, widths, codes, widths."""
    codes, widths = np.concatenate(fields[0::2]), np.concatenate(fields[1::2])
    ends = np.cumsum(widths)
    shift = np.repeat(ends, widths) - 1 - np.arange(ends[-1])
    return np.packbits((np.repeat(codes, widths) >> shift & 1).astype(np.uint8)).tobytes()


def decode_length(rle: Sequence[int]) -> int:
    """Number of values that the code announces; LabelConfigError when it is no such code."""
    try:
        head = bytes(rle[:7])
    except (TypeError, ValueError) as error:
        raise LabelConfigError(
            "brush RLE holds something else than bytes; expected a list of 0 to 255"
        ) from error
    if len(head) < 7 or head[4] >> 3 != _WORD - 1:
        raise LabelConfigError(
            f"brush RLE of {len(rle)} bytes has no header for 8-bit values; encode RGBA bytes"
        )
    return int.from_bytes(head[:4], "big")


def decode(rle: Sequence[int], expected: int) -> NDArray[np.uint8]:
    """The ``expected`` byte values of the code, (expected,); LabelConfigError when it is broken or of another size."""
    count = decode_length(rle)
    if count != expected:
        raise LabelConfigError(
            f"brush RLE holds {count} values; the image needs {expected} (4 a pixel); is original_width/height right?"
        )
    try:
        lengths, values = _read_blocks(f"{int.from_bytes(bytes(rle), 'big'):0{8 * len(rle)}b}", count)
    except (KeyError, ValueError) as error:
        raise LabelConfigError(
            f"brush RLE of {len(rle)} bytes is cut off or broken; send the region again"
        ) from error
    return np.repeat(np.array(values, np.uint8), lengths)


def _read_blocks(bits: str, count: int) -> tuple[list[int], list[int]]:
    """Run lengths and values; ValueError when the bits end early or announce more than ``count`` values."""
    sizes = [int(bits[start : start + 4], 2) + 1 for start in range(37, _HEADER_BITS, 4)]
    kinds = {f"{kind:03b}": (kind >= 4, sizes[kind % 4]) for kind in range(8)}
    lengths: list[int] = []
    values: list[int] = []
    at, done = _HEADER_BITS, 0
    while done < count:
        is_run, size = kinds[bits[at : at + 3]]
        start = at + 3 + size
        length = int(bits[at + 3 : start], 2) + 1
        words = 1 if is_run else length
        at = start + words * _WORD
        done += length
        if done > count or at > len(bits):
            raise ValueError
        lengths += [length] if is_run else [1] * length
        values += [int(bits[place : place + _WORD], 2) for place in range(start, at, _WORD)]
    return lengths, values
