"""Charts of numbers by day: bars and lines for an SVG template of WIDTH by HEIGHT.

The SVG has no text, so it can be stretched to any width and mirrored for right-to-left languages. Its labels are HTML beside
it. Its colours are CSS classes, so it works with a strict Content Security Policy and the admin's dark theme.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

WIDTH, HEIGHT = 1000, 200
_MAX_BAR_WIDTH = 60
_STEPS = (1, 2, 4, 6, 8, 10)


@dataclass(frozen=True)
class Series:
    """The numbers of one kind. name: its CSS class. values: for each day, None if unknown. texts: values in words."""

    name: str
    label: str
    values: Sequence[float | None]
    texts: Sequence[str] = ()


@dataclass(frozen=True)
class Bar:
    """A segment of a day's stacked bar. path: a rectangle."""

    name: str
    path: str


@dataclass(frozen=True)
class Line:
    """Consecutive days with known values. points: of a polyline. x, y: of a single day, which is a dot."""

    name: str
    points: str
    x: str = ""
    y: str = ""


@dataclass(frozen=True)
class Column:
    """A day. title: the tooltip of its whole column. bars: the segments of its stacked bar."""

    x: str
    width: str
    title: str
    bars: list[Bar] = field(default_factory=list)


@dataclass(frozen=True)
class Chart:
    """A chart with its legend, labels and table. ticks: from top to bottom."""

    name: str
    title: str
    note: str
    series: list[Series]
    columns: list[Column]
    lines: list[Line]
    ticks: list[str]
    days: list[str]
    rows: list[tuple[str, list[str]]]

    @property
    def ends(self) -> list[str]:
        """The labels of the horizontal axis: the first day, one in the middle, and the last."""
        return [self.days[0], self.days[len(self.days) // 2], self.days[-1]] if len(self.days) > 2 else self.days

    @property
    def is_empty(self) -> bool:
        """Whether all values are zero or unknown."""
        return not any(value for series in self.series for value in series.values)


def make_chart(
    name: str,
    title: str,
    days: Sequence[str],
    series: list[Series],
    format: Callable[[float], str],
    *,
    lines: bool = False,
    least: float = 0,
    note: str = "",
) -> Chart:
    """Return a chart of stacked bars, or of lines. format: returns a number as text. least: lowest top of the scale."""
    top = ceiling(max(least, _highest(series, lines=lines)))
    texts = [[_text(one, index, format) for one in series] for index in range(len(days))]
    width = WIDTH / len(days)
    columns = [
        Column(
            _number(index * width),
            _number(width),
            ", ".join([day, *(f"{one.label}: {text}" for one, text in zip(series, texts[index], strict=True))]),
            [] if lines else _stack(series, index, width, top),
        )
        for index, day in enumerate(days)
    ]
    line_list = [line for one in series for line in _lines(one, width, top)] if lines else []
    ticks = [format(top), format(top / 2), format(0)]
    return Chart(name, title, note, series, columns, line_list, ticks, list(days), list(zip(days, texts, strict=True)))


def ceiling(highest: float) -> float:
    """Return a round number at or above this one whose half is round, too; 2 for 0."""
    if highest <= 0:
        return 2
    power = 10.0 ** math.floor(math.log10(highest))
    # Rounded, since 3 * 0.1 is 0.30000000000000004.
    return next(round(step * power, 10) for step in _STEPS if step * power >= highest * (1 - 1e-9))


def _highest(series: list[Series], *, lines: bool) -> float:
    per_day = zip(*(one.values for one in series), strict=True)
    together: Any = max if lines else sum
    return max((together(value or 0 for value in values) for values in per_day), default=0)


def _text(series: Series, index: int, format: Callable[[float], str]) -> str:
    if series.texts:
        return series.texts[index]
    value = series.values[index]
    return "–" if value is None else format(value)


def _stack(series: list[Series], index: int, width: float, top: float) -> list[Bar]:
    gap = max(width / 5, width - _MAX_BAR_WIDTH)
    bars, bottom = [], float(HEIGHT)
    for one in series:
        if value := one.values[index]:
            height = value / top * HEIGHT
            bottom -= height
            x, bar_width = index * width + gap / 2, width - gap
            bars.append(
                Bar(
                    one.name,
                    f"M{_number(x)} {_number(bottom)}h{_number(bar_width)}v{_number(height)}h{_number(-bar_width)}z",
                )
            )
    return bars


def _lines(series: Series, width: float, top: float) -> list[Line]:
    runs: list[list[tuple[str, str]]] = [[]]
    for index, value in enumerate(series.values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((_number((index + 0.5) * width), _number(HEIGHT - value / top * HEIGHT)))
    return [
        Line(series.name, " ".join(f"{x},{y}" for x, y in run), *(run[0] if len(run) == 1 else ()))
        for run in runs
        if run
    ]


def _number(value: float) -> str:
    # Not localized: in German it would be 1,5, which is invalid in SVG.
    return f"{value:.2f}".rstrip("0").rstrip(".")
