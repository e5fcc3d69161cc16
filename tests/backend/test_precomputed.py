"""Embeddings on the disk: found by digest and weights, within their quota, and never trusted blindly."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from backend import embeddings
from backend.embeddings import Decoder
from backend.errors import ConfigProblem
from backend.images import UprightImage
from backend.precomputed import EmbeddingFiles
from backend.shared import SharedStorage
from model_zoo.errors import BadInput
from model_zoo.segmenters.base import Embedding, Mask, Segmenter

pytestmark = pytest.mark.unit
SIDE = 64
FILE_BYTES = 2 * SIDE * SIDE


class Slow(Segmenter):
    """Its embedding is the red channel."""

    name = "slow"
    storable: ClassVar[bool] = True

    def __init__(self, fingerprint: str = "slow-1") -> None:
        self.fingerprint = fingerprint
        self.encoded = 0

    def encode(self, image: np.ndarray) -> Embedding:
        self.encoded += 1
        return Embedding(*image.shape[:2], image.nbytes, torch.from_numpy(image[..., 0].copy()).half())

    def decode(self, embedding: Embedding, prompt: Any, state: Any = None) -> Mask:  # noqa: ARG002
        return Mask(embedding.data.float().numpy(), 0.5)

    def to_tensors(self, embedding: Embedding) -> dict[str, Tensor]:
        return {"red": embedding.data}

    def from_tensors(self, tensors: Mapping[str, Tensor], height: int, width: int) -> Embedding:
        if set(tensors) != {"red"}:
            raise BadInput("no red")
        return Embedding(height, width, 3 * height * width, tensors["red"])


def image(value: int) -> UprightImage:
    return UprightImage(np.full((SIDE, SIDE, 3), value, np.uint8), digest=str(value))


def files(folder: Path, count: float = 100) -> EmbeddingFiles:
    """With room for so many files."""
    return EmbeddingFiles(folder, int(count * (FILE_BYTES + 300)))


def put(kept: EmbeddingFiles, segmenter: Slow, value: int, since: float | None = None) -> None:
    at = time.time() + 60 if since is None else since  # by default, everything may make room
    kept.write(segmenter, image(value), segmenter.encode(image(value).array), since=at)


def test_what_was_written_is_read_by_digest_and_fingerprint(tmp_path: Path) -> None:
    kept, slow = files(tmp_path / "new" / "folder"), Slow()
    put(kept, slow, 7)
    found = kept.read(slow, image(7))
    assert found is not None
    assert (found.height, found.width) == (SIDE, SIDE)
    assert bool((found.data == 7).all())
    assert kept.read(slow, image(8)) is None
    assert kept.read(Slow("slow-2"), image(7)) is None, "other weights"


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_damaged_file_counts_as_none(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    kept, slow = files(tmp_path), Slow()
    put(kept, slow, 7)
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    assert kept.read(slow, image(7)) is None
    assert "cannot be used" in caplog.text
    assert str(tmp_path) not in caplog.text


def test_an_embedding_of_another_size_counts_as_none(tmp_path: Path) -> None:
    kept, slow = files(tmp_path), Slow()
    put(kept, slow, 7)
    other = UprightImage(np.zeros((SIDE, SIDE + 1, 3), np.uint8), digest="7")
    assert kept.read(slow, other) is None


def test_the_unused_make_room_and_those_of_this_run_do_not(tmp_path: Path) -> None:
    kept, slow = files(tmp_path, count=2.5), Slow()
    put(kept, slow, 1)
    put(kept, slow, 2)
    for number, path in enumerate(sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime)):
        os.utime(path, (1000 + number, 1000 + number))
    kept.read(slow, image(1))  # used now, so 2 is the one unused longest
    put(kept, slow, 3, since=time.time() - 30)
    assert [kept.read(slow, image(value)) is not None for value in (1, 2, 3)] == [True, False, True]
    with pytest.raises(ConfigProblem, match="raise CLICKPICK_PRECOMPUTED_MB"):
        put(kept, slow, 4, since=time.time() - 30)
    assert [kept.read(slow, image(value)) is not None for value in (1, 3, 4)] == [True, True, False]
    assert len(list(tmp_path.iterdir())) == 2, "no draft is left behind"


def test_the_server_reads_before_it_encodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    monkeypatch.setattr(embeddings, "create_segmenter", lambda *_: slow)
    put(files(tmp_path), slow, 5)
    decoder = Decoder(lambda: "cpu", 1 << 20, precomputed=files(tmp_path))
    slow.encoded = 0
    assert bool((decoder.embed("slow", image(5)).data == 5).all())
    assert slow.encoded == 0
    decoder.embed("slow", image(6))
    assert slow.encoded == 1


def test_drafts_of_killed_writers_are_removed(tmp_path: Path) -> None:
    old, new = tmp_path / ".draft-old", tmp_path / ".draft-new"
    for draft in (old, new):
        draft.write_bytes(b"half")
    os.utime(old, (0, 0))
    put(files(tmp_path), Slow(), 1)
    assert not old.exists()
    assert new.exists()


def both(folder: Path, storage: SharedStorage, count: float = 100) -> EmbeddingFiles:
    """One machine's, with room for so many files here."""
    return EmbeddingFiles(folder, int(count * (FILE_BYTES + 300)), storage)


def test_what_one_machine_encodes_another_finds(tmp_path: Path) -> None:
    storage, slow = SharedStorage(str(tmp_path / "shared")), Slow()
    put(both(tmp_path / "a", storage), slow, 7)
    other = both(tmp_path / "b", storage)
    assert other.read(slow, image(8)) is None
    found = other.read(slow, image(7))
    assert found is not None
    assert bool((found.data == 7).all())
    storage.remove("embeddings")
    assert other.read(slow, image(7)) is not None, "from its own folder"


@pytest.mark.parametrize("cut", [1, 100, FILE_BYTES])
def test_half_of_what_is_shared_is_not_kept_and_what_is_whole_again_is(tmp_path: Path, cut: int) -> None:
    storage, slow = SharedStorage(str(tmp_path / "shared")), Slow()
    put(both(tmp_path / "a", storage), slow, 7)
    (shared,) = (tmp_path / "shared" / "embeddings").iterdir()
    whole = shared.read_bytes()
    shared.write_bytes(whole[:-cut])
    other = both(tmp_path / "b", storage)
    assert other.read(slow, image(7)) is None
    assert not (tmp_path / "b").exists() or list((tmp_path / "b").iterdir()) == []
    shared.write_bytes(whole)
    assert other.read(slow, image(7)) is not None


def test_a_damaged_file_here_makes_way_for_the_shared_one(tmp_path: Path) -> None:
    storage, slow = SharedStorage(str(tmp_path / "shared")), Slow()
    kept = both(tmp_path / "a", storage)
    put(kept, slow, 7)
    (path,) = (tmp_path / "a").iterdir()
    path.write_bytes(b"half")
    assert kept.read(slow, image(7)) is None
    assert kept.read(slow, image(7)) is not None
    assert path.stat().st_size > FILE_BYTES


def test_without_room_here_what_is_shared_is_used_all_the_same(tmp_path: Path) -> None:
    storage, slow = SharedStorage(str(tmp_path / "shared")), Slow()
    put(both(tmp_path / "a", storage), slow, 7)
    assert both(tmp_path / "b", storage, count=0.5).read(slow, image(7)) is not None
    assert list((tmp_path / "b").iterdir()) == []


def test_a_shared_storage_that_is_away_holds_up_one_click_and_not_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, slow = SharedStorage(str(tmp_path / "shared")), Slow()
    asked: list[str] = []

    def away(path: str) -> bytes:
        asked.append(path)
        raise OSError("no route to the storage")

    monkeypatch.setattr(storage._fs, "cat_file", away)
    kept = both(tmp_path / "b", storage)
    assert kept.read(slow, image(7)) is None
    assert kept.read(slow, image(8)) is None
    assert len(asked) == 1
    monkeypatch.setattr("backend.precomputed.AWAY_SECONDS", 0.0)
    again = both(tmp_path / "c", storage)
    again.read(slow, image(7))
    again.read(slow, image(8))
    assert len(asked) == 3
