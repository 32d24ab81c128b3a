"""Times as inline SVG: rows of boxes, of dots, and one bar. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING

from pytest_k8snet.report.compare import latencies, showing
from pytest_k8snet.report.figures import took

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_k8snet.report.recording import Recording

WIDTH = 420
"""Pixels between the ends of an axis."""
FEWEST = 4
MOST_DOTS = 200


@dataclass(frozen=True)
class Row:
    """One row of a plot; places are in pixels from the start of the axis.

    Attributes:
        name: what it is about.
        said: its figures in words.
        box: quarter, median and three quarters; () where dots say more.
        ends: the least and the most.
        dots: every time.

    """

    name: str
    said: str
    ends: tuple[float, float]
    box: tuple[float, ...] = ()
    dots: tuple[float, ...] = ()


@dataclass(frozen=True)
class Plot:
    """Rows above one axis; its ticks are (pixels, what they stand for)."""

    title: str
    about: str
    rows: tuple[Row, ...]
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Scale:
    """A logarithmic axis: answers take from tenths of milliseconds to seconds."""

    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Scale:
        """Reach from one power of ten to another."""
        low, high = max(min(values), 1e-4), max(*values, 1e-3)
        return cls(math.floor(math.log10(low)), math.ceil(math.log10(high)))

    def at(self, seconds: float) -> float:
        """Give the place of a time."""
        part = (math.log10(max(seconds, 1e-9)) - self.least) / (self.most - self.least)
        return round(WIDTH * min(max(part, 0.0), 1.0), 1)

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Mark the powers of ten."""
        powers = range(int(self.least), int(self.most) + 1)
        return tuple((self.at(10.0**p), took(10.0**p)) for p in powers)


def plots(recording: Recording) -> list[Plot]:
    """Draw what took how long; what was not measured is left out."""
    made = [
        _plot(
            "Time to an answer",
            "Over each path, in a run that asks everything at once: half of the "
            "answers came within the box, its mark is the median.",
            dict(sorted(latencies(recording).items())),
        ),
        _plot(
            "Time until a change shows",
            "From the change to the first of the right answers in a row, each cell "
            "a dot.",
            dict(sorted(showing(recording).items())),
            dots=True,
        ),
        _plot(
            "Phases of the run",
            "One after the other; to settle is to wait until every Service and name "
            "answers.",
            {k: [v] for k, v in recording.report.figures.phases.items()},
            dots=True,
        ),
    ]
    return [plot for plot in made if plot is not None]


def _plot(
    title: str, about: str, times: dict[str, list[float]], *, dots: bool = False
) -> Plot | None:
    told = {name: values for name, values in times.items() if values}
    if not told:
        return None
    scale = Scale.of([value for values in told.values() for value in values])
    rows = tuple(_row(n, v, scale, dots=dots) for n, v in told.items())
    return Plot(title, about, rows, scale.ticks)


def _row(name: str, times: list[float], scale: Scale, *, dots: bool) -> Row:
    middle, most = median(times), max(times)
    ends = scale.at(min(times)), scale.at(most)
    if len(times) == 1:
        return Row(name, took(most), ends, dots=(ends[0],))
    said = f"median {took(middle)}, slowest {took(most)}, {len(times)} times"
    if dots or len(times) < FEWEST:
        shown = sorted({scale.at(t) for t in times})[:MOST_DOTS]
        return Row(name, said, ends, dots=tuple(shown))
    return Row(name, said, ends, box=tuple(map(scale.at, quantiles(times, n=4))))
