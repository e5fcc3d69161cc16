"""Table and picture of `benchmarks.label_efficiency`: python -m benchmarks.plot_label_efficiency PICTURE KEYS FILE...

KEYS: a line of `benchmarks.key_times`. Prints, as Markdown, when each way first reaches --share of what the learner
reaches with every pixel labelled.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks.human_time import LOOK, ToolTimes, seconds

mpl.use("Agg")
from matplotlib import pyplot as plt

NAMES = {
    "clicks": "masks by clicks",
    "pixelpick": "PixelPick's protocol",
    "clickpick": "ClickPick",
}
LOOKS = (LOOK, LOOK / 2, LOOK * 2)


def curves(lines: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The figures of each way, in the order in which they were made."""
    return {way: [line for line in lines if line["way"] == way] for way in NAMES}


def table(lines: list[dict[str, Any]], tool: ToolTimes, goal: float) -> str:
    """The first figure of each way that reaches the goal, and its hours with shorter and longer looks."""
    rows = [
        "| way | tasks | pixels | masks | mIoU | hours of work | looks half / double as long |",
        "|---|---|---|---|---|---|---|",
    ]
    for way, found in curves(lines).items():
        first = next((line for line in found if line["miou"] >= goal), None)
        if first is None:
            best = max((line["miou"] for line in found), default=0.0)
            rows.append(f"| {NAMES[way]} | not reached; {best:.1f} at best | | | | | |")
            continue
        hours, half, double = (seconds(first["counts"], tool, look=look) / 3600 for look in LOOKS)
        rows.append(
            f"| {NAMES[way]} | {first['tasks']} | {first['pixels'] or ''} | {first['masks'] or ''} | "
            f"{first['miou']:.1f} | {hours:.2f} | {half:.2f} / {double:.2f} |"
        )
    return "\n".join(rows)


def draw(lines: list[dict[str, Any]], tool: ToolTimes, levels: tuple[float, float], path: Path) -> None:
    full, goal = levels
    figure, axes = plt.subplots(figsize=(6.4, 3.6), dpi=100)
    for way, found in curves(lines).items():
        hours = [seconds(line["counts"], tool) / 3600 for line in found]
        axes.plot(hours, [line["miou"] for line in found], marker="o", markersize=3, label=NAMES[way])
    axes.axhline(full, color="0.4", linewidth=0.8, label="every pixel labelled")
    axes.axhline(goal, color="0.4", linewidth=0.8, linestyle="--", label=f"{goal / full:.0%} of it")
    axes.set_xscale("log")
    axes.set_xlabel("hours of a person's work")
    axes.set_ylabel("mIoU on validation images, %")
    axes.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("keys", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--share", type=float, default=0.9)
    chosen = parser.parse_args()
    read = [json.loads(line) for file in chosen.files for line in file.read_text().splitlines()]
    figures = [line for line in read if line["benchmark"] == "label efficiency"]
    everything = next(line["miou"] for line in figures if line["way"] == "full")
    aim = chosen.share * everything
    times = ToolTimes(**json.loads(chosen.keys.read_text())["seconds"])
    draw(figures, times, (everything, aim), chosen.picture)
    sys.stdout.write(
        f"every pixel labelled: {everything:.1f}; aim {aim:.1f}\n\n{table(figures, times, aim)}\n"
    )
