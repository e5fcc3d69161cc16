from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import label_studio_sdk
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from label_config import LabelConfigError
from label_config.rle import decode, decode_length, encode_runs


def _sdk_brush() -> ModuleType:
    """The SDK's brush module alone: its package imports a whole converter, which takes seconds."""
    path = Path(label_studio_sdk.__file__).parent / "converter" / "brush.py"
    spec = importlib.util.spec_from_file_location("sdk_brush", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sdk = _sdk_brush()
pytestmark = pytest.mark.unit

runs = st.lists(
    st.tuples(
        st.one_of(st.integers(1, 300), st.sampled_from([65_535, 65_536, 65_537, 131_073])),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=12,
)


def _arrays(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([length for length, _ in pairs]), np.array([value for _, value in pairs])


@given(runs)
def test_sdk_reads_what_is_written(pairs: list[tuple[int, int]]) -> None:
    lengths, values = _arrays(pairs)
    code = encode_runs(lengths, values)
    assert np.array_equal(sdk.decode_rle(code), np.repeat(values, lengths))


@given(runs)
def test_what_the_sdk_writes_is_read(pairs: list[tuple[int, int]]) -> None:
    lengths, values = _arrays(pairs)
    flat = np.repeat(values, lengths)
    assert np.array_equal(decode(sdk.encode_rle(flat), flat.size), flat)


def test_literals_and_other_run_sizes_are_read() -> None:
    bits = f"{5:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (2, 4, 8, 16))
    bits += "0" + "00" + f"{2:02b}" + "".join(f"{value:08b}" for value in (7, 8, 9))  # three literals
    bits += "1" + "00" + f"{1:02b}" + f"{255:08b}"  # a run of two
    bits += "0" * (-len(bits) % 8)
    code = [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]
    assert decode(code, 5).tolist() == [7, 8, 9, 255, 255]


@pytest.mark.parametrize(
    "code",
    [[], [1, 2], [0, 0, 0, 4, 0, 0, 0, 0], ["a"] * 9, [300] * 9, [0, 0, 0, 4, 56, 0, 0], None, [0.5] * 8],
)
def test_broken_codes_are_refused(code: list[int]) -> None:
    with pytest.raises(LabelConfigError):
        decode(code or [], 4)


def test_every_truncation_is_refused() -> None:
    code = encode_runs(np.array([4, 400, 70_000]), np.array([0, 255, 0]))
    for stop in range(len(code) - 1):
        with pytest.raises(LabelConfigError):
            decode(code[:stop], 70_404)


def test_another_size_is_refused_before_memory_is_taken() -> None:
    code = encode_runs(np.array([2**32 - 1]), np.array([0]))
    assert decode_length(code) == 2**32 - 1
    with pytest.raises(LabelConfigError, match="original_width"):
        decode(code, 400)
