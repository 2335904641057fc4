"""Pictures of numbers by day, as what an SVG of a template needs: bars and lines in a plane of WIDTH by HEIGHT.

There is no text inside a picture, so that it may be stretched to any width and mirrored where text runs from right to left;
its labels are HTML beside it. No style either: classes carry the colours, so that a strict policy (CSP) and
the admin's dark theme both hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

WIDTH, HEIGHT = 1000, 200
_WIDEST = 60
_STEPS = (1, 2, 4, 6, 8, 10)


@dataclass(frozen=True)
class Series:
    """One kind of number. name: its class, in English. values: for each day, None for what is not known."""

    name: str
    label: str
    values: Sequence[float | None]
    texts: Sequence[str] = ()


@dataclass(frozen=True)
class Bar:
    """A piece of a day's bar. path: a rectangle; as one value, since 90 days have a thousand of them."""

    name: str
    path: str


@dataclass(frozen=True)
class Line:
    """A run of days whose number is known. points: of a polyline; a single day is a dot."""

    name: str
    points: str
    x: str = ""
    y: str = ""


@dataclass(frozen=True)
class Column:
    """A day: its stripe from top to bottom, which a pointer rests on, what it says then, and its piece of each bar."""

    x: str
    width: str
    title: str
    bars: list[Bar] = field(default_factory=list)


@dataclass(frozen=True)
class Chart:
    """A picture with its legend, its labels and the table behind it. ticks: from top to bottom."""

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
        """The first day, one in the middle and the last: what is written below."""
        return [self.days[0], self.days[len(self.days) // 2], self.days[-1]] if len(self.days) > 2 else self.days

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to see."""
        return not any(value for series in self.series for value in series.values)


def chart(
    name: str,
    title: str,
    days: Sequence[str],
    series: list[Series],
    write: Callable[[float], str],
    *,
    lines: bool = False,
    least: float = 0,
    note: str = "",
) -> Chart:
    """Return bars that stand on each other, or lines. write: a number as people read it. least: height of the picture."""
    top = ceiling(max(least, _highest(series, lines=lines)))
    texts = [[_text(one, index, write) for one in series] for index in range(len(days))]
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
    drawn = [line for one in series for line in _runs(one, width, top)] if lines else []
    ticks = [write(top), write(top / 2), write(0)]
    return Chart(name, title, note, series, columns, drawn, ticks, list(days), list(zip(days, texts, strict=True)))


def ceiling(highest: float) -> float:
    """Return a round number that is not below this one, and whose half is round, too; 2 for nothing."""
    if highest <= 0:
        return 2
    power = 10.0 ** math.floor(math.log10(highest))
    # Floating point makes 0.3 of 3 * 0.1.
    return next(round(step * power, 10) for step in _STEPS if step * power >= highest * (1 - 1e-9))


def _highest(series: list[Series], *, lines: bool) -> float:
    per_day = zip(*(one.values for one in series), strict=True)
    together: Any = max if lines else sum
    return max((together(value or 0 for value in values) for values in per_day), default=0)


def _text(series: Series, index: int, write: Callable[[float], str]) -> str:
    if series.texts:
        return series.texts[index]
    value = series.values[index]
    return "–" if value is None else write(value)


def _stack(series: list[Series], index: int, width: float, top: float) -> list[Bar]:
    gap = max(width / 5, width - _WIDEST)
    bars, foot = [], float(HEIGHT)
    for one in series:
        if value := one.values[index]:
            tall = value / top * HEIGHT
            foot -= tall
            x, wide = index * width + gap / 2, width - gap
            bars.append(
                Bar(one.name, f"M{_number(x)} {_number(foot)}h{_number(wide)}v{_number(tall)}h{_number(-wide)}z")
            )
    return bars


def _runs(series: Series, width: float, top: float) -> list[Line]:
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
    # As SVG wants it, whatever the language: localize() would write 1,5.
    return f"{value:.2f}".rstrip("0").rstrip(".")
