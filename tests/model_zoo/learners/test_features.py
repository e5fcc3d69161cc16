from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from model_zoo.learners.features import FeatureCache, PixelFeatures

pytestmark = pytest.mark.unit

WRITE_FOREVER = """
import sys
from pathlib import Path
import numpy as np
from model_zoo.learners.features import FeatureCache, PixelFeatures
cache = FeatureCache(Path(sys.argv[1]))
pixels = np.stack(np.divmod(np.arange(5000), 100), axis=1)
for turn in range(10**9):
    cache.put("image", "f", PixelFeatures(pixels, np.full((5000, 64), turn % 1000, np.float16)))
"""


def features(count: int, value: float = 1.0, start: int = 0) -> PixelFeatures:
    """Pixels (start, 0), (start + 1, 0), ...; each vector holds the pixel's row times the value."""
    rows = np.arange(start, start + count, dtype=np.int64)
    values = np.repeat(rows[:, np.newaxis] * value, 8, axis=1).astype(np.float16)
    return PixelFeatures(np.stack([rows, np.zeros_like(rows)], axis=1), values)


def stored_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


@pytest.fixture(params=["memory", "disk"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "features" if request.param == "disk" else None


def test_what_is_put_is_got(directory: Path | None) -> None:
    cache = FeatureCache(directory)
    assert cache.get("a", "f") is None
    cache.put("a", "f", features(3))
    found = cache.get("a", "f")
    assert found is not None
    np.testing.assert_array_equal(found.pixels, features(3).pixels)
    np.testing.assert_array_equal(found.values, features(3).values)
    assert cache.get("b", "f") is None
    assert cache.get("a", "another encoder") is None


def test_the_last_put_wins(directory: Path | None) -> None:
    cache = FeatureCache(directory)
    cache.put("a", "f", features(3))
    cache.put("a", "f", features(5))
    found = cache.get("a", "f")
    assert found is not None
    assert len(found.pixels) == 5


def test_bytes_are_bounded_and_the_least_used_go_first(directory: Path | None) -> None:
    one = features(100).nbytes
    cache = FeatureCache(directory, max_bytes=int(3.7 * one))
    for key in ("a", "b", "c"):
        cache.put(key, "f", features(100))
        time.sleep(0.01)
    assert cache.get("a", "f") is not None
    time.sleep(0.01)
    cache.put("d", "f", features(100))
    assert [cache.get(key, "f") is not None for key in "abcd"] == [True, False, True, True]
    if directory is not None:
        assert stored_bytes(directory) <= 3.7 * one


def test_what_is_larger_than_the_whole_cache_is_not_kept(directory: Path | None) -> None:
    cache = FeatureCache(directory, max_bytes=1000)
    cache.put("a", "f", features(1000))
    assert cache.get("a", "f") is None


def test_another_process_sees_the_files(tmp_path: Path) -> None:
    FeatureCache(tmp_path).put("a", "f", features(3))
    other = FeatureCache(tmp_path)
    assert other.get("a", "f") is not None


@pytest.mark.parametrize("damage", [b"", b"garbage", b"\xff" * 200])
def test_a_damaged_file_counts_as_not_cached_and_is_replaced(tmp_path: Path, damage: bytes) -> None:
    cache = FeatureCache(tmp_path)
    cache.put("a", "f", features(3))
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for content in (damage, whole[:-1], whole[: len(whole) // 2]):
        file.write_bytes(content)
        assert cache.get("a", "f") is None
    cache.put("a", "f", features(3))
    assert cache.get("a", "f") is not None


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    for attempt in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, str(tmp_path)])
        while cache.get("image", "f") is None:
            time.sleep(0.01)
        time.sleep(0.05 * (attempt + 1))
        writer.kill()
        writer.wait()
        found = cache.get("image", "f")
        assert found is not None
        assert found.values.shape == (5000, 64)
        assert len(np.unique(found.values)) == 1


def test_drafts_of_killed_writers_are_removed(tmp_path: Path) -> None:
    old, new = tmp_path / ".draft-old", tmp_path / ".draft-new"
    for draft in (old, new):
        draft.write_bytes(b"half")
    os.utime(old, (0, 0))
    FeatureCache(tmp_path).put("a", "f", features(3))
    assert not old.exists()
    assert new.exists()


def test_a_directory_that_cannot_be_written_costs_the_cache_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = FeatureCache(tmp_path / "file")
    cache.put("a", "f", features(3))
    assert cache.get("a", "f") is None


def test_find_and_join() -> None:
    first = features(3)
    wanted = np.array([[2, 0], [7, 0], [0, 0], [0, 1]], dtype=np.int64)
    assert first.find(wanted).tolist() == [2, -1, 0, -1]
    joined = first.join(features(3, value=10.0, start=2))
    assert joined.pixels[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert joined.values[:, 0].tolist() == [0, 1, 2, 30, 40]
