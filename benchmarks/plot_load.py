"""Pictures of `benchmarks.load`: python -m benchmarks.plot_load LATENCY.png MEMORY.png FILE...; files of JSON lines.

The first picture has the percentiles of warm clicks of every line, the second resident memory over time.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

PARTS = ("p50_ms", "p95_ms", "p99_ms")


def name_of(line: dict[str, Any]) -> str:
    quicker = f", think times / {line['acceleration']:g}" if line["acceleration"] != 1 else ""
    return ("while rounds run" if line["during_rounds"] else "clicks only") + quicker


def latency(lines: list[dict[str, Any]], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(6.4, 3.2), dpi=100)
    width = 0.8 / len(lines)
    for number, line in enumerate(lines):
        places = [place + number * width for place in range(len(PARTS))]
        bars = axes.bar(places, [line["warm"][part] for part in PARTS], width, label=name_of(line))
        axes.bar_label(bars, fmt="%.0f", fontsize=8)
    axes.set_xticks([place + 0.4 - width / 2 for place in range(len(PARTS))], ["p50", "p95", "p99"])
    axes.set_ylabel("warm click, ms")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


def memory(lines: list[dict[str, Any]], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(6.4, 3.2), dpi=100)
    for line in lines:
        seconds, megabytes = zip(*line["rss_over_time"], strict=True)
        axes.plot([second / 60 for second in seconds], megabytes, label=name_of(line))
    axes.set_xlabel("minutes")
    axes.set_ylabel("resident memory, MB")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("latency", type=Path)
    parser.add_argument("memory", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    chosen = parser.parse_args()
    found = [json.loads(line) for file in chosen.files for line in file.read_text().splitlines()]
    loads = [line for line in found if line["benchmark"] == "load"]
    latency(loads, chosen.latency)
    memory(loads, chosen.memory)
