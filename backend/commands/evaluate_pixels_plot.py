"""The picture of a simulation: mIoU over labelled pixels an image, mean and spread over the seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from backend.learning.simulate import BudgetResult
from model_zoo.evaluation.plot import check_plot


def draw_budgets(results: Sequence[BudgetResult], label: str, path: Path) -> None:
    """Write the picture; its kind follows the suffix, and ``check_plot`` says what may be wrong with it.

    The line is the mean over the seeds, the band one standard deviation to either side. Where epochs were measured,
    a dashed line shows the best ones.
    """
    check_plot(path)
    from matplotlib.figure import Figure  # noqa: PLC0415 - without pyplot, which keeps every figure
    from matplotlib.ticker import PercentFormatter  # noqa: PLC0415

    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    axes = figure.add_subplot()
    budgets = sorted({result.budget for result in results})
    runs = [[result.miou for result in results if result.budget == budget] for budget in budgets]
    mean, spread = (np.array([statistic(run) for run in runs]) for statistic in (np.mean, np.std))
    seeds = len(runs[0])
    (line,) = axes.plot(budgets, mean, marker="o", markersize=4, label=f"{label} (seeds: {seeds})")
    if seeds > 1:
        axes.fill_between(
            budgets, mean - spread, mean + spread, color=line.get_color(), alpha=0.2, linewidth=0
        )
    best = [[r.miou_best for r in results if r.budget == b and r.miou_best is not None] for b in budgets]
    if all(best):
        means = [float(np.mean(run)) for run in best]
        axes.plot(
            budgets, means, linestyle="--", color=line.get_color(), label="best epoch on the test images"
        )
    axes.set_xlabel("labelled pixels an image")
    axes.set_ylabel("mean IoU")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150)
