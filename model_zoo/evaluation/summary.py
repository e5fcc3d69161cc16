"""The figures of an evaluation by clicks: NoC, NoF, IoU after k clicks, seconds, contradicted clicks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_zoo.errors import BadInput
from model_zoo.evaluation.noc import TOLERANCE, SampleResult, iou_after, never_reached, noc

IOU_AT = (1, 2, 3, 5, 10, 20)

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Summary:
    """Figures of one segmenter on one list of samples.

    figures: noc80, noc85, noc90 (mean clicks), nof85, nof90 (samples that never got there), each a mean over the
    runs; None above the target at which clicking stopped. spread: their standard deviations over the runs, and
    those of ``iou_at``; None with a single run. iou_at: mean IoU after k clicks, None beyond the largest number
    of clicks; a sample that was finished earlier keeps its last IoU. curve: the same for k = 1, 2, ... clicks.
    violations and clicks are totals over all runs. Seconds are (median, 95th percentile).
    """

    samples: int
    figures: Figures
    iou_at: Figures
    spread: dict[str, Figures] | None
    curve: tuple[float, ...]
    violations: int
    clicks: int
    seconds_per_click: tuple[float, float]
    seconds_per_encode: tuple[float, float]

    def as_json(self) -> dict[str, Any]:
        """The figures as `clickpick evaluate clicks` prints them; the curve is left out."""
        spread: dict[str, Any] | None = None
        if self.spread is not None:
            ious = _rounded(self.spread["iou_at"])
            spread = {**_rounded(self.spread["figures"]), "iou_at": ious}
        return {
            "samples": self.samples,
            **_rounded(self.figures),
            "iou_at": _rounded(self.iou_at),
            "spread": spread,
            "click_violations": self.violations,
            "clicks": self.clicks,
            "seconds_per_click": dict(zip(("p50", "p95"), self.seconds_per_click, strict=True)),
            "seconds_per_encode": dict(zip(("p50", "p95"), self.seconds_per_encode, strict=True)),
        }


def summarise(runs: Sequence[Sequence[SampleResult]], target: float, max_clicks: int) -> Summary:
    """Sum up the runs (one a seed of the clicker), each the results of the same samples; BadInput if empty."""
    results = [result for run in runs for result in run]
    if not results or len({len(run) for run in runs}) != 1:
        raise BadInput(f"runs have {[len(run) for run in runs]} results; expected equally many, at least one")
    figures = [_figures(run, target, max_clicks) for run in runs]
    ious = [_iou_at(run, max_clicks) for run in runs]
    spread = {"figures": _over(np.std, figures), "iou_at": _over(np.std, ious)} if len(runs) > 1 else None
    return Summary(
        samples=len(runs[0]),
        figures=_over(np.mean, figures),
        iou_at=_over(np.mean, ious),
        spread=spread,
        curve=tuple(_mean_iou(results, clicks) for clicks in range(1, max_clicks + 1)),
        violations=sum(result.violations for result in results),
        clicks=sum(len(result.clicks) for result in results),
        seconds_per_click=_percentiles([second for result in results for second in result.seconds]),
        seconds_per_encode=_percentiles([result.encode_seconds for result in runs[0]]),
    )


def _figures(run: Sequence[SampleResult], target: float, max_clicks: int) -> Figures:
    found: Figures = {}
    for percent in (80, 85, 90):
        known = percent / 100 <= target + TOLERANCE
        counts = [noc(result.ious, percent / 100, max_clicks) for result in run]
        found[f"noc{percent}"] = float(np.mean(counts)) if known else None
    for percent in (85, 90):
        known = percent / 100 <= target + TOLERANCE
        failures = sum(never_reached(result.ious, percent / 100) for result in run)
        found[f"nof{percent}"] = float(failures) if known else None
    return found


def _iou_at(run: Sequence[SampleResult], max_clicks: int) -> Figures:
    return {str(clicks): _mean_iou(run, clicks) if clicks <= max_clicks else None for clicks in IOU_AT}


def _mean_iou(results: Sequence[SampleResult], clicks: int) -> float:
    return float(np.mean([iou_after(result.ious, clicks) for result in results]))


def _over(statistic: Callable[[list[float]], np.floating], runs: Sequence[Figures]) -> Figures:
    """A statistic of each figure over the runs; None where the figure is None."""
    combined: Figures = {}
    for name in runs[0]:
        values = [value for value in (run[name] for run in runs) if value is not None]
        combined[name] = float(statistic(values)) if values else None
    return combined


def _percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    if not seconds:
        return 0.0, 0.0
    median, tail = np.percentile(seconds, (50, 95))
    return round(float(median), 5), round(float(tail), 5)


def _rounded(figures: Figures) -> dict[str, float | int | None]:
    """Four digits; whole numbers as such."""
    return {
        name: value if value is None else int(value) if value.is_integer() else round(value, 4)
        for name, value in figures.items()
    }
