from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_zoo.errors import BadInput
from model_zoo.training.held_out import (
    LARGEST,
    SMALLEST,
    HeldOutRegion,
    draw_regions,
    keep_aside,
    score_regions,
)
from model_zoo.training.pictures import Picture
from model_zoo.training.region_tree import build_tree
from model_zoo.training.tree_cache import Grown
from tests.model_zoo.evaluation.fakes import Growing, bar

pytestmark = pytest.mark.unit


def grown(folder: Path, count: int) -> list[Grown]:
    features = np.random.default_rng(0).normal(size=(8, 8, 2)).astype(np.float32)
    tree, found = build_tree(features), []
    for number in range(count):
        path = folder / f"{number}.png"
        Image.fromarray(np.zeros((32, 40, 3), dtype=np.uint8)).save(path)
        found.append(Grown(Picture(str(number), path), tree))
    return found


def names(chosen: list[Grown]) -> set[str]:
    return {one.picture.name for one in chosen}


def test_a_tenth_is_kept_aside_by_name(tmp_path: Path) -> None:
    many = grown(tmp_path, 100)
    learnt, kept = keep_aside(many)
    assert names(learnt) | names(kept) == names(many)
    assert not names(learnt) & names(kept)
    assert 3 <= len(kept) <= 20
    assert names(keep_aside(many[::-1])[1]) == names(kept)
    assert names(keep_aside(many[:50])[1]) == names(kept) & names(many[:50])


def test_one_at_least_is_on_each_side(tmp_path: Path) -> None:
    few = grown(tmp_path, 2)
    for share in (0.0, 1.0):
        learnt, kept = keep_aside(few, share)
        assert (len(learnt), len(kept)) == (1, 1)
    with pytest.raises(BadInput, match="got 1 readable images; expected at least 2"):
        keep_aside(few[:1])


def test_regions_are_different_of_a_fair_size_and_the_same_each_time(tmp_path: Path) -> None:
    kept = grown(tmp_path, 3)
    regions = draw_regions(kept, 12)
    assert 3 < len(regions) <= 12
    assert len({(region.picture.name, region.truth.tobytes()) for region in regions}) == len(regions)
    for region in regions:
        assert region.truth.shape == (32, 40)
        assert SMALLEST / 2 < region.truth.mean() < LARGEST + 0.1
    assert [region.picture.name for region in regions] == sorted(region.picture.name for region in regions)
    again = draw_regions(kept, 12)
    assert all(np.array_equal(a.truth, b.truth) for a, b in zip(regions, again, strict=True))


def test_scores_are_means_over_the_regions(tmp_path: Path) -> None:
    image, truth = bar(10)
    Image.fromarray(image).save(tmp_path / "bar.png")
    picture = Picture("bar", tmp_path / "bar.png")
    told: list[int] = []
    scores = score_regions(Growing(truth), [HeldOutRegion(picture, truth)] * 2, told.append)
    assert (scores.regions, scores.noc85, scores.noc90, scores.iou_at_1) == (2, 9, 9, 0.1)
    assert told == [1, 2]
