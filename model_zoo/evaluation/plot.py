"""The picture of an evaluation by clicks: mean IoU after k clicks, one curve a segmenter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from model_zoo.errors import BadInput, ModelZooError

SUFFIXES = (".pdf", ".png", ".svg")
MARKERS = "osD^vP*X<>"


def check_plot(path: Path) -> None:
    """Fail before anything is measured: BadInput for a path of another kind, ModelZooError without matplotlib."""
    if path.suffix.lower() not in SUFFIXES:
        raise BadInput(
            f"a plot cannot be written to {path}; expected a name that ends in {', '.join(SUFFIXES)}"
        )
    try:
        import matplotlib  # noqa: F401, PLC0415 - an optional extra
    except ImportError as error:
        raise ModelZooError(
            "plots need matplotlib, which is not installed; run: pip install matplotlib "
            "(it is in ClickPick's extra 'plot')"
        ) from error


def draw_curves(curves: Mapping[str, Sequence[float]], path: Path, *, target: float | None = None) -> None:
    """Write a picture of mean IoU (in [0, 1]) after 1, 2, ... clicks by name; the kind follows the suffix.

    A dotted line marks ``target``. Raises as ``check_plot``.
    """
    check_plot(path)
    from matplotlib.figure import Figure  # noqa: PLC0415 - without pyplot, which keeps every figure

    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, values) in enumerate(curves.items()):
        clicks = range(1, len(values) + 1)
        axes.plot(clicks, values, marker=MARKERS[number % len(MARKERS)], markersize=4, label=name)
    if target is not None:
        axes.axhline(target, color="grey", linestyle=":", linewidth=1)
    longest = max(map(len, curves.values()), default=1)
    axes.set_xticks(range(1, longest + 1, max(1, longest // 10)))
    axes.set_xlabel("clicks")
    axes.set_ylabel("mean IoU")
    axes.set_ylim(top=1.0)
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(loc="best")
    figure.savefig(path, dpi=150)
