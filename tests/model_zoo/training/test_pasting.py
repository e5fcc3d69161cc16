from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_zoo.training.batches import BatchMaker, BatchPolicy
from model_zoo.training.pasting import PastePolicy, cut_out, paste
from model_zoo.training.pictures import list_pictures
from model_zoo.training.views import ViewPolicy
from tests.model_zoo.training.toys import SIDE, write_disks

pytestmark = pytest.mark.unit
WHITE, GREY = 255, 90


def square_piece(side: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """A white square on black, cut out with a rim of black around it."""
    image = np.zeros((40, 50, 3), dtype=np.uint8)
    region = np.zeros((40, 50), dtype=bool)
    region[5 : 5 + side, 8 : 8 + side] = True
    image[region] = WHITE
    return cut_out(image, region)


def test_a_piece_is_the_bounding_box_of_its_region() -> None:
    piece, inside = square_piece()
    assert piece.shape == (20, 20, 3)
    assert inside.all()
    assert (piece == WHITE).all()


@pytest.mark.parametrize("seed", range(8))
def test_what_is_covered_shows_the_piece_and_the_rest_the_view(seed: int) -> None:
    view = np.full((64, 96, 3), GREY, dtype=np.uint8)
    piece, inside = square_piece()
    mixed, covered = paste(view, piece, inside, PastePolicy(seam=(0.3, 0.4)), np.random.default_rng(seed))
    assert covered.shape == view.shape[:2]
    assert 0.02 < covered.mean() < 0.7
    rows, cols = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    inner = np.zeros_like(covered)
    inner[rows[0] + 2 : rows[-1] - 1, cols[0] + 2 : cols[-1] - 1] = True
    assert (mixed[inner] == WHITE).all()
    assert (mixed[~covered] == GREY).mean() > 0.95
    assert (view == GREY).all(), "the view itself stays as it was"


def test_only_the_region_is_pasted_and_not_its_box() -> None:
    view = np.full((64, 96, 3), GREY, dtype=np.uint8)
    rows, cols = np.mgrid[:40, :40]
    disk = np.hypot(rows - 19.5, cols - 19.5) < 20
    image = np.where(disk[..., None], WHITE, 0).astype(np.uint8).repeat(3, axis=2)
    mixed, covered = paste(view, *cut_out(image, disk), PastePolicy(), np.random.default_rng(1))
    box = covered.any(axis=1).sum() * covered.any(axis=0).sum()
    assert covered.sum() / box == pytest.approx(np.pi / 4, abs=0.05)
    assert mixed[~covered].min() > GREY / 4, (
        "the black around the disk stays behind, but for the blurred edge"
    )
    assert (mixed[~covered] == GREY).mean() > 0.9


def test_a_piece_is_neither_blown_up_nor_larger_than_the_view() -> None:
    view = np.full((64, 64, 3), GREY, dtype=np.uint8)
    tiny, inside = np.full((3, 3, 3), WHITE, dtype=np.uint8), np.ones((3, 3), dtype=bool)
    wide, all_of_it = np.full((30, 400, 3), WHITE, dtype=np.uint8), np.ones((30, 400), dtype=bool)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        assert paste(view, tiny, inside, PastePolicy(enlarged=2.0), rng)[1].sum() <= 36
        covered = paste(view, wide, all_of_it, PastePolicy(), rng)[1]
        assert covered.any(axis=0).sum() <= 0.8 * 64 + 1


def maker(folder: Path, chance: float, seed: int = 0) -> BatchMaker:
    return BatchMaker(
        [(picture, 1.0) for picture in list_pictures(folder)],
        {},
        views=ViewPolicy(side=SIDE),
        policy=BatchPolicy(views=8, objects=2, unlabelled=0.0, paste=PastePolicy(chance=chance)),
        seed=seed,
    )


def test_the_pasted_object_is_asked_for_and_what_it_hides_is_not_of_the_other(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "disks")
    batch = maker(folder, chance=1.0).make(0)
    first, second = batch.truth[::2], batch.truth[1::2]
    different = (first != second).any(axis=(1, 2))
    assert different.any(), "in some views the other disk is still to be seen"
    assert not (first & second)[different].any()
    assert batch.valid.all()
    for image, truth in zip(batch.images, first, strict=True):
        assert image[truth].mean() > image[~truth & ~second.any(axis=0)].mean() + 30


def test_pasting_is_a_matter_of_its_chance(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "disks")
    never, always = maker(folder, 0.0).make(0), maker(folder, 1.0).make(0)
    assert np.array_equal(never.truth[::2], never.truth[1::2]), "a photograph of one disk has one object"
    assert not np.array_equal(never.images, always.images)
