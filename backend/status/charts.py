"""Charts as SVG, drawn on the server: coordinates here, colours in the page's style sheet by class names."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from backend.status.forecast import Forecast, Point

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 44, 16, 16, 36


class _Scale:
    """Labels and mIoU to places in the picture."""

    def __init__(self, labels: Sequence[int], values: Sequence[float]) -> None:
        self.first, self.last = min(labels), max(*labels, min(labels) + 1)
        step = 0.1 if max(values) - min(values) <= 0.5 else 0.2
        self.low = max(0.0, math.floor(min(values) / step - 0.2) * step)
        self.high = min(1.0, math.ceil(max(values) / step + 0.2) * step)
        if self.high - self.low < 3 * step:  # a flat curve is shown as one
            self.low = max(0.0, self.high - 3 * step)
        count = round((self.high - self.low) / step)
        self.ticks = [self.low + step * number for number in range(count + 1)]

    def x(self, labels: float) -> float:
        share = (labels - self.first) / (self.last - self.first)
        return round(LEFT + 8 + share * (WIDTH - LEFT - RIGHT - 16), 1)

    def y(self, value: float) -> float:
        share = (min(self.high, max(self.low, value)) - self.low) / (self.high - self.low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def learning_curve(points: Sequence[Point], ahead: Forecast | None) -> Markup:
    """mIoU over labels: each version a dot, the next one predicted with its interval. "" without points."""
    if not points:
        return Markup("")
    labels = [point.labels for point in points] + ([ahead.labels] if ahead else [])
    values = [point.miou for point in points] + ([ahead.low, ahead.high] if ahead else [])
    scale = _Scale(labels, values)
    parts = [*_grid(scale), *_label_axis(scale, labels)]
    if ahead is not None:
        parts += _ahead(scale, points[-1], ahead)
    path = " ".join(f"{scale.x(point.labels)},{scale.y(point.miou)}" for point in points)
    parts.append(Markup('<polyline class="line" points="{}"/>').format(path))
    parts += [_dot(scale, point, newest=point is points[-1]) for point in points]
    return _svg(WIDTH, HEIGHT, _said(points, ahead), parts)


def _grid(scale: _Scale) -> list[Markup]:
    lines = []
    for value in scale.ticks:
        y = scale.y(value)
        lines.append(
            Markup('<line class="gridline" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                LEFT, WIDTH - RIGHT, y, y
            )
        )
        text = Markup('<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>')
        lines.append(text.format(LEFT - 8, y + 4, round(100 * value)))
    return lines


def _label_axis(scale: _Scale, labels: Sequence[int]) -> list[Markup]:
    """At most six numbers of labels, far enough from each other to be read."""
    shown: list[int] = []
    for count in sorted(set(labels), reverse=True):
        if not shown or scale.x(shown[-1]) - scale.x(count) >= 90:
            shown.append(count)
    text = Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>')
    return [text.format(scale.x(count), HEIGHT - BOTTOM + 22, f"{count:,}") for count in shown]


def _ahead(scale: _Scale, last: Point, ahead: Forecast) -> list[Markup]:
    x, y, low, high = (
        scale.x(ahead.labels), scale.y(ahead.miou), scale.y(ahead.low), scale.y(ahead.high)
    )  # fmt: skip
    dashed = Markup('<line class="ahead" x1="{}" y1="{}" x2="{}" y2="{}"/>')
    title = Markup('<circle class="next" cx="{}" cy="{}" r="5"><title>{}</title></circle>')
    said = (
        f"expected at {ahead.labels:,} labels: {_percent(ahead.miou)}, between {_percent(ahead.low)} and "
        f"{_percent(ahead.high)}"
    )
    whisker = Markup('<line class="whisker" x1="{}" y1="{}" x2="{}" y2="{}"/>')
    return [
        whisker.format(x, low, x, high),
        whisker.format(x - 5, low, x + 5, low),
        whisker.format(x - 5, high, x + 5, high),
        dashed.format(scale.x(last.labels), scale.y(last.miou), x, y),
        title.format(x, y, said),
    ]


def _dot(scale: _Scale, point: Point, *, newest: bool) -> Markup:
    said = f"version {point.version}: {_percent(point.miou)} mIoU at {point.labels:,} labels"
    dot = Markup('<circle class="{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>')
    name, radius = ("dot newest", 5) if newest else ("dot", 3.5)
    return dot.format(name, scale.x(point.labels), scale.y(point.miou), radius, said)


def interval_bar(value: float, low: float | None, high: float | None) -> Markup:
    """An IoU from 0 to 1 as a dot on a line, with its interval where there is one."""
    x = 2 + 96 * value
    parts = [Markup('<line class="rail" x1="2" x2="98" y1="7" y2="7"/>')]
    said = f"IoU {_percent(value)}"
    if low is not None and high is not None:
        bar = Markup('<rect class="range" x="{}" y="4" width="{}" height="6" rx="3"/>')
        parts.append(bar.format(round(2 + 96 * low, 1), round(max(1.0, 96 * (high - low)), 1)))
        said += f", between {_percent(low)} and {_percent(high)}"
    parts.append(Markup('<circle class="dot newest" cx="{}" cy="7" r="4"/>').format(round(x, 1)))
    return _svg(100, 14, said, parts)


def count_bar(share: float) -> Markup:
    """A bar from 0 to 1 of the widest."""
    width = round(max(1.5, 100 * share), 1) if share else 0
    return Markup('<svg class="count" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
                  '<rect class="bar" width="{}" height="8" rx="1"/></svg>').format(width)  # fmt: skip


def _svg(width: int, height: int, said: str, parts: Sequence[Markup]) -> Markup:
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(width, height, said)
    return head + Markup("").join(parts) + Markup("</svg>")


def _said(points: Sequence[Point], ahead: Forecast | None) -> str:
    first, last = points[0], points[-1]
    said = f"Learning curve over {len(points)} versions: "
    said += (
        f"{_percent(first.miou)} mIoU at {first.labels:,} labels, {_percent(last.miou)} at {last.labels:,}"
    )
    if ahead is not None:
        said += f"; expected {_percent(ahead.miou)} at {ahead.labels:,}"
    return said


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
