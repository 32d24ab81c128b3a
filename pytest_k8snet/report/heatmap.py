"""Who reaches whom, Node by Node, as inline SVG. Pure.

Readable at 3 and at 100 Nodes: what is wrong comes first on both axes, then zones are
together; what is alike in a row is one shape, so that a healthy matrix stays small.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_k8snet.model import Word
from pytest_k8snet.report.document import JUDGED
from pytest_k8snet.report.figures import took
from pytest_k8snet.report.packing import rounded
from pytest_k8snet.result import describe, shape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_k8snet.report.recording import Cell, Recording
    from pytest_k8snet.result import Result

WORDS = {"x": "wrong", "?": "not judged", "o": "conforms"}
"""What a cell can be, the worst first, by the letter that stands for it."""
NOTHING = " "
FEW = 24
"""Nodes up to which every cell is drawn by itself, and every row has its name."""
MOST_DETAILS = 40
OUTSIDE = "outside"
NODE_TO_NODE = frozenset({"rule2", "rule3", "policy"})
"""Areas in which a cell's target is where its packets go, and no mere name."""


@dataclass(frozen=True)
class Entry:
    """What is shown of one source and target, over everything asked between them."""

    state: str
    seconds: float
    wrong: str


@dataclass(frozen=True)
class HeatMap:
    """A matrix.

    Attributes:
        title: protocol and family.
        caption: what there is to see, in words.
        rows, columns: names of places, in the order of drawing.
        entries: by (row, column) names; where nothing was asked there is none.
        worst: the letter of the worst cell.

    """

    title: str
    caption: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    entries: Mapping[tuple[str, str], Entry]

    @property
    def worst(self) -> str:
        """Give the state of the worst cell."""
        states = {entry.state for entry in self.entries.values()}
        return next(letter for letter in WORDS if letter in states)

    @property
    def size(self) -> int:
        """Give the pixels of a cell: smaller where there are many."""
        most = max(len(self.rows), len(self.columns))
        return 30 if most <= 8 else 18 if most <= FEW else 5  # noqa: PLR2004

    @property
    def named(self) -> bool:
        """Whether rows and columns have their names beside them."""
        return max(len(self.rows), len(self.columns)) <= FEW

    @property
    def paths(self) -> dict[str, str]:
        """Give the SVG path of all cells of each state, in units of a cell."""
        drawn: dict[str, list[str]] = defaultdict(list)
        for y, row in enumerate(self.rows):
            for x, width, state in _runs(self._states(row), merged=not self.named):
                drawn[state].append(f"M{x} {y}h{width}v1h-{width}z")
        return {WORDS[s]: "".join(drawn[s]) for s in reversed(WORDS) if s in drawn}

    def _states(self, row: str) -> str:
        found = (self.entries.get((row, column)) for column in self.columns)
        return "".join(entry.state if entry else NOTHING for entry in found)

    @property
    def data(self) -> str:
        """Give what is told of the cell under the pointer, as JSON."""
        places = ((row, column) for row in self.rows for column in self.columns)
        found = [self.entries.get(place) for place in places]
        wrong = {str(i): e.wrong for i, e in enumerate(found) if e and e.wrong}
        made = {
            "rows": self.rows,
            "columns": self.columns,
            "states": "".join(e.state if e else NOTHING for e in found),
            "ms": [rounded(e.seconds * 1000) if e else 0 for e in found],
            "wrong": dict(list(wrong.items())[:MOST_DETAILS]),
        }
        # Inside a script element, which only "</" could end.
        return json.dumps(made, separators=(",", ":")).replace("</", "<\\/")


def _runs(states: str, *, merged: bool) -> Iterator[tuple[int, int, str]]:
    """Give (start, length, state) of what is drawn in a row."""
    start = 0
    for x in range(1, len(states) + 1):
        if x < len(states) and merged and states[x] == states[start]:
            continue
        if states[start] != NOTHING:
            yield start, x - start, states[start]
        start = x


def heat_maps(results: Sequence[Result], recording: Recording) -> list[HeatMap]:
    """Draw a rule: a matrix for each protocol and family, its paths together."""
    groups: dict[str, list[Result]] = defaultdict(list)
    for one in results:
        if one.seen and one.word is not Word.NOT_APPLICABLE:
            axes = (one.check.protocol, one.check.family)
            groups[" ".join(a for a in axes if a)].append(one)
    return [_heat_map(title, found, recording) for title, found in groups.items()]


def overview(recording: Recording) -> HeatMap | None:
    """Draw everything that was asked between Nodes in one matrix; None without any."""
    nodes = {n.name for n in recording.report.environment.nodes}
    between = [
        r
        for r in recording.results
        if r.check.rule.mark in NODE_TO_NODE
        and r.word in JUDGED
        and all(set(c.places) <= nodes for c in recording.cells[r.check.id])
    ]
    return _heat_map("Between all Nodes", between, recording) if between else None


def _heat_map(title: str, results: list[Result], recording: Recording) -> HeatMap:
    entries: dict[tuple[str, str], Entry] = {}
    cells = [c for r in results for c in recording.cells[r.check.id]]
    # What each Node asks about itself, or about no place, is a strip of Nodes.
    strip = all(c.places[1] in {c.places[0], ""} for c in cells)
    for cell in cells:
        source, target = (place or OUTSIDE for place in cell.places)
        place = ("every Node", source) if strip else (source, target)
        entries[place] = _together(entries.get(place), cell)
    bad = Counter(
        name for ends, e in entries.items() if e.state != "o" for name in set(ends)
    )
    zones = {n.name: n.zone for n in recording.report.environment.nodes}
    rows, columns = (
        tuple(sorted(names, key=lambda n: (-bad[n], zones.get(n, ""), n)))
        for names in map(set, zip(*entries, strict=True))
    )
    return HeatMap(title, _caption(results, cells), rows, columns, entries)


def _together(before: Entry | None, cell: Cell) -> Entry:
    state = {True: "o", False: "x", None: "?"}[cell.conforms]
    wrong = describe(cell.shown) if cell.conforms is False else ""
    if before is None:
        return Entry(state, cell.seconds, wrong)
    worst = next(letter for letter in WORDS if letter in {state, before.state})
    return Entry(worst, max(before.seconds, cell.seconds), before.wrong or wrong)


def _caption(results: Sequence[Result], cells: Sequence[Cell]) -> str:
    wrong = [o for r in results for o in r.verdict.violations]
    slowest = took(max(c.seconds for c in cells))
    if not wrong:
        good = sum(c.conforms is True for c in cells)
        return f"{good} of {len(cells)} cells conform, the slowest within {slowest}"
    bad = sum(c.conforms is False for c in cells)
    return f"{bad} of {len(cells)} cells are wrong: {shape(wrong)}"
