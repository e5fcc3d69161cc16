from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_zoo.errors import BadInput
from model_zoo.training.batches import Batch, BatchMaker, BatchPolicy
from model_zoo.training.pasting import PastePolicy
from model_zoo.training.pictures import Picture, TreeRegions, list_pictures
from model_zoo.training.region_tree import build_tree
from model_zoo.training.self_labels import SelfRegions
from model_zoo.training.views import ViewPolicy
from tests.model_zoo.training.toys import SIDE, disk_maker, write_disks

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_disks(tmp_path / "disks")


def same(one: Batch, two: Batch) -> bool:
    pairs = ((one.images, two.images), (one.truth, two.truth), (one.valid, two.valid))
    return all(np.array_equal(a, b) for a, b in pairs)


def test_shapes_and_sizes(folder: Path) -> None:
    batch = disk_maker(folder).make(0)
    assert batch.images.shape == (2, SIDE, SIDE, 3)
    assert batch.truth.shape == batch.valid.shape == (4, SIDE, SIDE)
    assert not (batch.truth & ~batch.valid).any()
    shares = batch.truth.mean(axis=(1, 2))
    assert ((shares > 0.002) & (shares < 0.95)).all()


def test_a_number_and_a_seed_make_a_batch_whatever_came_before(folder: Path) -> None:
    one, two = disk_maker(folder), disk_maker(folder)
    for number in (5, 0, 1):
        one.make(number)
    assert same(one.make(2), two.make(2))
    assert not same(two.make(2), two.make(3))
    assert not same(two.make(2), disk_maker(folder, seed=1).make(2))


def test_the_stream_is_the_numbers_in_order_with_their_stride(folder: Path) -> None:
    maker = disk_maker(folder)
    stream = maker.stream(1, stride=2)
    for number in (1, 3, 5, 7, 9):
        assert same(next(stream), maker.make(number))
    stream.close()


def test_the_image_shows_what_the_truth_says(folder: Path) -> None:
    batch = disk_maker(folder).make(1)
    for number, truth in enumerate(batch.truth):
        image = batch.images[number // 2].astype(float).mean(axis=2)
        assert image[truth].mean() > image[~truth].mean() + 30


def test_a_small_cache_changes_nothing(folder: Path) -> None:
    pictures = [(picture, 1.0) for picture in list_pictures(folder)]

    def maker(room: int) -> BatchMaker:
        views, policy = ViewPolicy(side=SIDE), BatchPolicy(views=2, objects=1)
        return BatchMaker(pictures, {}, views=views, policy=policy, seed=0, cache_bytes=room)

    cramped = maker(1)
    assert [same(cramped.make(n), maker(1 << 30).make(n)) for n in range(3)] == [True] * 3
    assert not cramped._loaded


def test_weights_choose_among_the_photographs(folder: Path) -> None:
    first, *others = list_pictures(folder)
    maker = BatchMaker(
        [(first, 1.0), *((picture, 0.0) for picture in others)],
        {},
        views=ViewPolicy(side=SIDE),
        policy=BatchPolicy(views=8, objects=1),
        seed=0,
    )
    maker.make(0)
    assert set(maker._loaded) == {0}


def test_without_supervision_trees_alone_are_drawn_from(folder: Path) -> None:
    first, *_ = list_pictures(folder)
    features = np.random.default_rng(0).normal(size=(8, 8, 2)).astype(np.float32)
    tree = build_tree(features)
    maker = BatchMaker(
        [(first, 1.0)],
        {str(first.image): tree},
        views=ViewPolicy(side=SIDE, whole=1.0, trimmed=0.0, mirrored=0.0),
        policy=BatchPolicy(views=6, objects=1, paste=PastePolicy(chance=0.0)),
        seed=0,
        supervised=False,
    )
    regions = TreeRegions(tree, SIDE, SIDE)
    nodes = [regions.region(node) for node in range(tree.root + 1)]
    batch = maker.make(0)
    for truth, valid in zip(batch.truth, batch.valid, strict=True):
        assert any(np.array_equal(node[valid], truth[valid]) for node in nodes)
    assert len({one.tobytes() for one in batch.truth}) > 1


def whole(**policy: float) -> dict[str, object]:
    """Views of whole photographs as they are."""
    views = ViewPolicy(side=SIDE, whole=1.0, trimmed=0.0, mirrored=0.0)
    drawn = BatchPolicy(views=25, objects=2, paste=PastePolicy(chance=0.0), **policy)  # type: ignore[arg-type]
    return {"views": views, "policy": drawn, "seed": 0}


def corner(doubted: int = 0) -> SelfRegions:
    """One answer, the upper left quarter; the last rows of the photograph are in doubt."""
    mask, doubts = np.zeros((2, SIDE, SIDE), dtype=np.bool_)
    mask[: SIDE // 2, : SIDE // 2] = True
    doubts[SIDE - doubted :] = True
    return SelfRegions(SIDE, SIDE, np.packbits(mask)[None], np.packbits(doubts)[None])


@pytest.mark.parametrize(("unlabelled", "least", "most"), [(0.0, 1.0, 1.0), (0.4, 0.52, 0.68)])
def test_a_models_own_answers_and_tree_regions_share_the_draws(
    folder: Path, unlabelled: float, least: float, most: float
) -> None:
    first, *_ = list_pictures(folder)
    key = str(first.image)
    tree = build_tree(np.random.default_rng(0).normal(size=(8, 8, 2)).astype(np.float32))
    maker = BatchMaker(
        [(first, 1.0)],
        {key: tree},
        supervised=False,
        answers={key: corner()},
        **whole(unlabelled=unlabelled),  # type: ignore[arg-type]
    )
    batches = [maker.make(number) for number in range(8)]
    expected = corner().draw(np.random.default_rng(0))[0]
    own = [np.array_equal(truth, expected) for batch in batches for truth in batch.truth]
    assert least <= np.mean(own) <= most


def test_without_answers_a_photograph_uses_its_tree_and_with_masks_its_masks(folder: Path) -> None:
    first, second, _ = list_pictures(folder)
    tree = build_tree(np.random.default_rng(0).normal(size=(8, 8, 2)).astype(np.float32))
    expected = corner().draw(np.random.default_rng(0))[0]
    answers = {str(first.image): corner()}
    trees = {str(second.image): tree}

    def objects(pictures: list[tuple[Picture, float]], supervised: bool) -> list[bool]:
        maker = BatchMaker(
            pictures,
            trees,
            supervised=supervised,
            answers=answers,
            **whole(unlabelled=0.0),  # type: ignore[arg-type]
        )
        return [np.array_equal(truth, expected) for truth in maker.make(0).truth]

    assert all(objects([(first, 1.0)], supervised=False))
    assert not any(objects([(second, 1.0)], supervised=False))
    assert not any(objects([(first, 1.0)], supervised=True))


def test_what_a_model_was_in_doubt_of_is_not_learnt(folder: Path) -> None:
    first, *_ = list_pictures(folder)
    answers = {str(first.image): corner(doubted=16)}
    maker = BatchMaker(
        [(first, 1.0)],
        {},
        supervised=False,
        answers=answers,
        **whole(unlabelled=0.4),  # type: ignore[arg-type]
    )
    for valid in maker.make(0).valid:
        assert valid[:-16].all()
        assert not valid[-16:].any()


def test_photographs_without_anything_to_learn_are_an_error(folder: Path) -> None:
    pictures = [(picture, 1.0) for picture in list_pictures(folder)]
    views, policy = ViewPolicy(side=SIDE), BatchPolicy()
    maker = BatchMaker(pictures, {}, views=views, policy=policy, seed=0, supervised=False)
    with pytest.raises(BadInput, match="check the masks"):
        maker.make(0)


def test_objects_that_a_view_cuts_off_are_left_out(tmp_path: Path) -> None:
    labels = np.zeros((SIDE, 2 * SIDE), dtype=np.uint8)
    labels[20:40, 10:40] = 1
    labels[8:56, 50:120] = 2
    grey = 100 * labels
    grey[8:56, 85:120] = 250  # the right half of the larger one is brighter
    for folder, pixels in (("images", np.stack([grey] * 3, axis=2)), ("regions", labels)):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "a.png")
    pictures = [(picture, 1.0) for picture in list_pictures(tmp_path)]
    views = ViewPolicy(side=SIDE, whole=0.0, brightness=0.0, contrast=0.0, colour=0.0)
    maker = BatchMaker(pictures, {}, views=views, policy=BatchPolicy(views=8, objects=3), seed=0)
    whole = 0
    for number in range(12):
        batch = maker.make(number)
        for sample, truth in enumerate(batch.truth):
            shown = batch.images[sample // 3][..., 0][truth]
            if shown.min() > 150:  # the larger one alone
                whole += 1
                assert shown.max() > 240, "its left half without its right one"
    assert whole > 10


def test_long_photographs_are_stretched_rather_than_refused(tmp_path: Path) -> None:
    labels = np.zeros((60, 260), dtype=np.uint8)
    labels[15:45, 20:240] = 1
    for folder, pixels in (("images", np.stack([100 * labels] * 3, axis=2)), ("masks", labels)):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "a.png")
    pictures = [(picture, 1.0) for picture in list_pictures(tmp_path)]
    views, policy = ViewPolicy(side=160, square=0.0), BatchPolicy(views=1, objects=1)
    maker = BatchMaker(pictures, {}, views=views, policy=policy, seed=0)
    batches = [maker.make(number) for number in range(8)]
    assert {batch.truth.shape[1:] for batch in batches} == {(128, 192), (192, 128)}
    assert all(batch.truth.any() for batch in batches)


def test_an_object_that_vanishes_in_its_view_is_not_learnt_from(tmp_path: Path) -> None:
    labels = np.zeros((SIDE * 10, SIDE * 10), dtype=np.uint8)
    labels[:, 3:5] = 1
    for folder, pixels in (("images", np.stack([labels] * 3, axis=2)), ("masks", labels)):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "a.png")
    pictures = [(picture, 1.0) for picture in list_pictures(tmp_path)]
    views = ViewPolicy(side=SIDE, whole=1.0, trimmed=0.0)
    with pytest.raises(BadInput, match="no object of a usable size"):
        BatchMaker(pictures, {}, views=views, policy=BatchPolicy(views=1), seed=0).make(0)
