"""Maps and clicks of a batch say the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_zoo.prompt import Click
from model_zoo.segmenters.click_maps import INSIDE, NEGATIVE, POSITIVE, PREVIOUS, render
from model_zoo.training.batches import Batch
from model_zoo.training.click_simulation import ClickPolicy
from model_zoo.training.prompts import correct, first_prompts
from tests.model_zoo.training.toys import SIDE, disk_maker, write_disks

pytestmark = pytest.mark.unit
CLICKS = ClickPolicy(single=0.0, boxes=0.0, strokes=0.0)


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return disk_maker(write_disks(tmp_path / "disks"), views=3).make(0)


def test_clicks_are_drawn_where_they_lie(batch: Batch) -> None:
    prompts = first_prompts(batch, CLICKS, np.random.default_rng(0))
    assert prompts.maps.shape == (6, 4, SIDE, SIDE)
    assert len(prompts.clicks) == 6
    assert max(len(clicks) for clicks in prompts.clicks) > 1
    for maps, clicks, truth in zip(prompts.maps, prompts.clicks, batch.truth, strict=True):
        assert np.array_equal(maps, render(SIDE, SIDE, clicks=clicks))
        assert all(truth[click.pixel(SIDE, SIDE)] == click.positive for click in clicks)


def test_a_stroke_is_its_first_point_and_a_box_no_click(batch: Batch) -> None:
    rng = np.random.default_rng(1)
    strokes = first_prompts(batch, ClickPolicy(single=1.0, boxes=0.0, strokes=1.0), rng)
    for maps, clicks, truth in zip(strokes.maps, strokes.clicks, batch.truth, strict=True):
        (click,) = clicks
        assert truth[click.pixel(SIDE, SIDE)]
        assert maps[POSITIVE][click.pixel(SIDE, SIDE)] == 1.0
    boxes = first_prompts(batch, ClickPolicy(boxes=1.0, strokes=0.0), rng)
    without = [n for n, clicks in enumerate(boxes.clicks) if not clicks]
    assert 0 < len(without) < 6
    assert all(maps[INSIDE].any() for maps in boxes.maps)
    assert not boxes.maps[without][:, (POSITIVE, NEGATIVE)].any()


def test_a_correction_is_one_click_more_on_an_error_and_the_wrong_mask(batch: Batch) -> None:
    rng = np.random.default_rng(2)
    prompts = first_prompts(batch, CLICKS, rng)
    before = [list(clicks) for clicks in prompts.clicks]
    wrong = np.zeros(batch.truth.shape, dtype=np.float32)
    wrong[0] = batch.truth[0]
    correct(prompts, wrong, batch, rng)
    assert prompts.clicks[0] == before[0]
    for clicks, former, truth in list(zip(prompts.clicks, before, batch.truth, strict=True))[1:]:
        assert clicks[:-1] == former
        assert clicks[-1].positive
        assert truth[clicks[-1].pixel(SIDE, SIDE)]
    assert np.array_equal(prompts.maps[:, PREVIOUS], wrong)
    drawn = render(SIDE, SIDE, clicks=prompts.clicks[1], previous=wrong[1])
    assert np.array_equal(prompts.maps[1], drawn)
    assert isinstance(prompts.clicks[1][-1], Click)
