from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from model_zoo.errors import BadInput
from model_zoo.evaluation.clicker import HumanClicker, center_click
from model_zoo.evaluation.noc import (
    click_through,
    contradictions,
    encode,
    evaluate_sample,
    iou_after,
    never_reached,
    noc,
    repaired,
)
from model_zoo.prompt import Click
from model_zoo.registry import create_segmenter
from model_zoo.segmenters.base import Mask
from tests.model_zoo.evaluation.fakes import Growing, Remembering, Stubborn, bar

pytestmark = pytest.mark.unit

LATE = (0.5,) * 19 + (0.9,)
NEVER = (0.5,) * 20


@pytest.mark.parametrize(
    ("ious", "target", "clicks", "failed"),
    [
        ((0.95,), 0.9, 1, False),
        ((0.5, 0.86, 0.91), 0.8, 2, False),
        ((0.5, 0.86, 0.91), 0.85, 2, False),
        ((0.5, 0.86, 0.91), 0.9, 3, False),
        ((0.5, 0.9 - 1e-12), 0.9, 2, False),
        ((0.5, 0.9 - 1e-6), 0.9, 20, True),
        ((0.92, 0.3), 0.9, 1, False),
        (LATE, 0.9, 20, False),
        (NEVER, 0.9, 20, True),
        ((), 0.9, 20, True),
    ],
)
def test_number_of_clicks_and_strict_failures(
    ious: Sequence[float], target: float, clicks: int, failed: bool
) -> None:
    assert noc(ious, target) == clicks
    assert never_reached(ious, target) == failed


def test_number_of_clicks_is_bounded_by_the_clicks_allowed() -> None:
    assert noc((0.1, 0.2, 0.95), 0.9, max_clicks=2) == 2
    assert noc((0.1, 0.2), 0.9, max_clicks=5) == 5


def test_a_finished_object_keeps_its_last_iou() -> None:
    assert [iou_after((0.5, 0.95), clicks) for clicks in (0, 1, 2, 3, 20)] == [0.0, 0.5, 0.95, 0.95, 0.95]
    assert iou_after((), 3) == 0.0


def test_clicking_stops_at_the_target() -> None:
    image, truth = bar(10)
    result = evaluate_sample(Growing(truth), image, truth, name="bar", target=0.8)
    np.testing.assert_allclose(result.ious, np.arange(1, 9) / 10)
    assert result.name == "bar"
    assert len(result.clicks) == len(result.seconds) == 8
    assert result.clicks[0] == center_click(np.zeros(truth.shape, bool), truth, ())
    assert all(click.positive for click in result.clicks)
    assert result.encode_seconds > 0


def test_success_exactly_at_the_last_click_is_no_failure() -> None:
    image, truth = bar(20)
    result = evaluate_sample(Growing(truth), image, truth, target=1.0, max_clicks=20)
    assert len(result.ious) == 20
    assert noc(result.ious, 1.0) == 20
    assert not never_reached(result.ious, 1.0)


def test_clicking_stops_when_the_clicks_are_used_up() -> None:
    image, truth = bar(10)
    result = evaluate_sample(Growing(truth), image, truth, max_clicks=3)
    np.testing.assert_allclose(result.ious, [0.1, 0.2, 0.3])


def test_clicking_stops_when_nothing_is_left_to_click() -> None:
    image, truth = bar(4)
    truth[:] = 0
    truth[4, 4:6] = 1
    result = evaluate_sample(Stubborn(truth), image, truth)
    assert result.ious == (0.0, 0.0)
    assert noc(result.ious, 0.9) == 20


def test_each_answer_is_held_against_all_clicks_so_far() -> None:
    image, truth = bar(10)
    assert evaluate_sample(Stubborn(truth), image, truth, max_clicks=4).violations == 1 + 2 + 3 + 4
    # One column a click grows from the left: clicks in the middle of what is missing are met only later.
    result = evaluate_sample(Growing(truth), image, truth)
    shown = [truth == 1 for _ in result.clicks]
    for number, region in enumerate(shown, start=1):
        region[:, 2 + number :] = False
    expected = sum(contradictions(region, result.clicks[:n]) for n, region in enumerate(shown, start=1))
    assert result.violations == expected > 0


def test_of_two_clicks_at_a_pixel_the_later_counts() -> None:
    region = np.zeros((4, 4), dtype=bool)
    assert contradictions(region, [Click(1.2, 1.2, True), Click(1.8, 1.8, False)]) == 0
    assert contradictions(region, [Click(1.8, 1.8, False), Click(1.2, 1.2, True)]) == 1
    assert contradictions(region, [Click(4.0, 4.0, True), Click(0.0, 0.0, True)]) == 2


def test_a_stateful_segmenter_gets_its_state_back_with_the_next_click() -> None:
    image, truth = bar(10)
    result = evaluate_sample(Remembering(truth), image, truth, target=0.5)
    np.testing.assert_allclose(result.ious, [0.1, 0.2, 0.3, 0.4, 0.5])


def test_on_click_sees_clicks_answer_and_iou() -> None:
    image, truth = bar(10)
    seen: list[tuple[int, int, float]] = []

    def note(clicks: tuple[Click, ...], mask: Mask, value: float) -> None:
        seen.append((len(clicks), int((mask.logits > 0).sum()), value))

    evaluate_sample(Growing(truth, columns=2), image, truth, target=0.4, on_click=note)
    assert seen == [(1, 10, pytest.approx(0.2)), (2, 20, pytest.approx(0.4))]


def test_the_clicker_is_exchangeable() -> None:
    image, truth = bar(30)
    human = evaluate_sample(Growing(truth), image, truth, clicker=HumanClicker(0, "bar"), max_clicks=5)
    center = evaluate_sample(Growing(truth), image, truth, max_clicks=5)
    assert human.ious == center.ious
    assert human.clicks != center.clicks


def test_an_image_is_encoded_once_for_several_runs() -> None:
    image, truth = bar(10)
    segmenter = Growing(truth)
    embedding, _ = encode(segmenter, image)
    runs = [click_through(segmenter, embedding, truth, target=0.5) for _ in range(3)]
    assert segmenter.encoded == 1
    assert [run.ious for run in runs] == [runs[0].ious] * 3


def test_sizes_must_agree() -> None:
    image, truth = bar(10)
    with pytest.raises(BadInput, match=r"\(8, 14\) and the image \(9, 14\)"):
        evaluate_sample(Growing(truth), image, truth[:-1])


def test_repair_contradicts_no_click_and_is_not_done_twice() -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 255, size=(48, 64, 3), dtype=np.uint8)
    truth = np.zeros((48, 64), dtype=np.uint8)
    truth[10:30, 20:50] = 1
    raw = evaluate_sample(Stubborn(truth), image, truth, max_clicks=5)
    assert raw.violations > 0
    assert evaluate_sample(Stubborn(truth), image, truth, max_clicks=5, repair="gp").violations == 0
    head = repaired(Stubborn(truth), "gp")
    assert head.name == "stubborn+gp"
    assert repaired(head, "gp") is head
    assert repaired(head, "none") is head


@pytest.mark.weights
def test_the_registered_repair_contradicts_no_click() -> None:
    generator = np.random.default_rng(1)
    image = generator.integers(0, 255, size=(60, 80, 3), dtype=np.uint8)
    truth = np.zeros((60, 80), dtype=np.uint8)
    truth[10:40, 20:60] = 1
    result = evaluate_sample(create_segmenter("gp-lite0+gp"), image, truth, max_clicks=8)
    assert result.violations == 0
