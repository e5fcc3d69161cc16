from __future__ import annotations

import numpy as np
import pytest

from model_zoo.errors import BadInput
from model_zoo.evaluation.noc import SampleResult
from model_zoo.evaluation.summary import summarise
from model_zoo.prompt import Click

pytestmark = pytest.mark.unit


def result(*ious: float, violations: int = 0, seconds: float = 0.5, encode: float = 2.0) -> SampleResult:
    clicks = tuple(Click(0.5, 0.5) for _ in ious)
    return SampleResult("s", ious, violations, (seconds,) * len(ious), encode, clicks)


FAST, SLOW, NEVER = result(0.82, 0.87, 0.93), result(0.3, *(0.85,) * 18, 0.9), result(*(0.7,) * 20)


def test_figures_of_one_run() -> None:
    summary = summarise([[FAST, SLOW, NEVER]], 0.9, 20)
    assert summary.samples == 3
    assert summary.figures == {
        "noc80": pytest.approx((1 + 2 + 20) / 3),
        "noc85": pytest.approx((2 + 2 + 20) / 3),
        "noc90": pytest.approx((3 + 20 + 20) / 3),
        "nof85": 1,
        "nof90": 1,
    }
    assert summary.iou_at["1"] == pytest.approx((0.82 + 0.3 + 0.7) / 3)
    assert summary.iou_at["20"] == pytest.approx((0.93 + 0.9 + 0.7) / 3)
    assert list(summary.iou_at) == ["1", "2", "3", "5", "10", "20"]
    assert len(summary.curve) == 20
    assert summary.curve[4] == pytest.approx((0.93 + 0.85 + 0.7) / 3) == summary.iou_at["5"]
    assert summary.spread is None
    assert summary.clicks == 43


def test_nothing_is_said_beyond_the_target_or_the_clicks_made() -> None:
    summary = summarise([[result(0.82, 0.87)]], 0.85, 5)
    assert summary.figures == {"noc80": 1, "noc85": 2, "noc90": None, "nof85": 0, "nof90": None}
    assert (summary.iou_at["5"], summary.iou_at["10"]) == (0.87, None)
    assert len(summary.curve) == 5


def test_several_runs_give_mean_and_spread() -> None:
    summary = summarise([[result(0.95), NEVER], [result(0.5, 0.5, 0.95), result(0.91)]], 0.9, 20)
    assert summary.figures["noc90"] == np.mean([10.5, 2.0])
    assert summary.figures["nof90"] == 0.5
    assert summary.spread is not None
    assert summary.spread["figures"]["noc90"] == pytest.approx(np.std([10.5, 2.0]))
    assert summary.spread["iou_at"]["1"] == pytest.approx(np.std([0.825, 0.705]))
    assert (summary.samples, summary.clicks) == (2, 25)


def test_contradicted_clicks_and_seconds() -> None:
    quick, slow = (
        result(0.5, 0.95, violations=1, seconds=0.1, encode=1.0),
        result(0.95, violations=2, encode=3.0),
    )
    summary = summarise([[quick, slow]], 0.9, 20)
    assert summary.violations == 3
    assert summary.seconds_per_click == (0.1, pytest.approx(0.46))
    assert summary.seconds_per_encode[0] == 2.0


def test_as_json_has_whole_numbers_as_such_and_four_digits_else() -> None:
    shown = summarise([[FAST, SLOW, NEVER]], 0.9, 20).as_json()
    assert repr(shown["noc85"]) == "8"
    assert shown["noc90"] == 14.3333
    assert shown["iou_at"]["1"] == 0.6067
    assert shown["seconds_per_click"] == {"p50": 0.5, "p95": 0.5}
    spread = summarise([[FAST], [SLOW]], 0.9, 20).as_json()["spread"]
    assert spread["noc90"] == 8.5
    assert spread["iou_at"]["1"] == 0.26


@pytest.mark.parametrize("runs", [[], [[]], [[FAST], [FAST, SLOW]]])
def test_runs_must_have_equally_many_results(runs: list[list[SampleResult]]) -> None:
    with pytest.raises(BadInput, match="expected equally many, at least one"):
        summarise(runs, 0.9, 20)
