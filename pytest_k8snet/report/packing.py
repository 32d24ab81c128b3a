"""Observations, packed and unpacked. Pure.

What is the same at every cell, or on every Node, is said once; equal batches, which
several rules judge, are kept once. Nothing is lost but the digits of times after the
third.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pytest_k8snet.model import (
    Actor,
    Ask,
    Family,
    Kind,
    Observation,
    Op,
    Outcome,
    Probe,
    Protocol,
    Role,
    Target,
)
from pytest_k8snet.report.schema import AskDocument, Batch, ByPlace, Grid

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    from pytest_k8snet.report.schema import Column, Number, Report

TEXTS = ("phase", "detail", "dialled", "answered_by", "peer", "local")
LISTS = ("source_addresses", "values", "expected", "may_answer")
TIMES: dict[str, Callable[[Observation], Number]] = {
    "milliseconds": lambda o: rounded(o.seconds * 1000),
    "after": lambda o: None if o.after is None else rounded(o.after),
}
SAID: dict[str, Callable[[Observation], str | tuple[str, ...]]] = {
    "outcome": lambda o: str(o.outcome),
    **{name: attrgetter(name) for name in (*TEXTS, *LISTS)},
}
EMPTY: dict[str, Any] = (
    {"after": None} | dict.fromkeys(TEXTS, "") | dict.fromkeys(LISTS, ())
)
"""What a column that is left out has in every row."""


def rounded(number: float) -> float:
    """Keep three significant digits."""
    kept = float(f"{number:.3g}")
    return int(kept) if kept.is_integer() else kept


@dataclass
class Packer:
    """Collects what several checks saw; its lists are those of the report."""

    places: list[str] = field(default_factory=list)
    texts: list[str | list[str]] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)
    asks: list[AskDocument] = field(default_factory=list)
    layouts: list[list[str]] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    _numbers: dict[Hashable, int] = field(default_factory=dict)

    def pack(self, seen: Sequence[Observation]) -> list[int]:
        """Pack what one check saw, and give the numbers of its batches, in order."""
        return [
            # What one probe saw is one object, however many checks judge it.
            self._number(("batch", *map(id, rows)), partial(self._batch, rows))
            for rows in batched(seen)
        ]

    def _number(self, key: Hashable, add: Callable[[], int]) -> int:
        if key not in self._numbers:
            self._numbers[key] = add()
        return self._numbers[key]

    def _place(self, name: str) -> int:
        return self._number(("place", name), partial(_added, self.places, name))

    def _text(self, value: str | tuple[str, ...]) -> int:
        plain = value if isinstance(value, str) else list(value)
        return self._number(("text", value), partial(_added, self.texts, plain))

    def _batch(self, rows: Sequence[Observation]) -> int:
        first = rows[0].probe
        ask = _ask_document(first)
        sources = [self._place(o.probe.source.node) for o in rows]
        targets = [self._place(target_place(o.probe)) for o in rows]
        ends = tuple(dict.fromkeys(zip(sources, targets, strict=True)))
        grid = Grid(source=[a for a, _ in ends], target=[b for _, b in ends])
        columns = dict(self._columns(rows))
        layout = tuple(columns)
        batch = Batch(
            ask=self._number(first.ask, partial(_added, self.asks, ask)),
            grid=self._number(("grid", ends), partial(_added, self.grids, grid)),
            protocol=first.protocol and str(first.protocol),
            family=first.family and str(first.family),
            layout=self._number(layout, partial(_added, self.layouts, list(layout))),
            columns=[shortest(c, sources, targets) for c in columns.values()],
        )
        return _added(self.batches, batch)

    def _columns(
        self, rows: Sequence[Observation]
    ) -> Iterator[tuple[str, list[Number]]]:
        for name, said in SAID.items():
            texts = [said(one) for one in rows]
            if name not in EMPTY or any(texts):
                numbers = {one: self._text(one) for one in dict.fromkeys(texts)}
                yield name, [numbers[one] for one in texts]
        for name, took in TIMES.items():
            times = [took(one) for one in rows]
            if name not in EMPTY or any(one is not None for one in times):
                yield name, times


def _added(items: list[Any], item: object) -> int:
    items.append(item)
    return len(items) - 1


def batched(seen: Sequence[Observation]) -> Iterator[list[Observation]]:
    """Split what was seen wherever another question begins, or the same one again."""
    rows: list[Observation] = []
    kind: object = None
    here: set[object] = set()
    for one in seen:
        probe = one.probe
        asked = (probe.ask, probe.protocol, probe.family)
        cell = (probe.source, probe.target, probe.number)
        if rows and (asked != kind or cell in here):
            yield rows
            rows, here = [], set()
        kind = asked
        rows.append(one)
        here.add(cell)
    if rows:
        yield rows


def _ask_document(probe: Probe) -> AskDocument:
    ask, target = probe.ask, probe.target
    replica = target.kind is Kind.DNS_SERVER
    return AskDocument(
        op=str(ask.op),
        source=str(ask.source),
        container=ask.container,
        kind=str(target.kind),
        name="" if replica else target.name,
        port=target.port,
        count=ask.count,
        timeout=ask.timeout,
        blocked=ask.blocked,
        settings=dict(ask.settings),
    )


def target_place(probe: Probe) -> str:
    """Give the Node, or the address that stands for a replica of the cluster DNS."""
    target = probe.target
    return target.name if target.kind is Kind.DNS_SERVER else target.node


def shortest(
    values: Sequence[Number], sources: Sequence[int], targets: Sequence[int]
) -> Column:
    """Choose the way to say a column that takes the fewest entries."""
    kinds = len(set(values))
    if kinds == 1:
        return values[0]
    if kinds > len(values) / 2:
        return list(values)
    ways = {"all": [0] * len(values), "source": sources, "target": targets}
    best: Column = list(values)
    fewest = len(values)
    for name, keys in ways.items():
        usual = _usual(values, keys)
        but = {
            row: value
            for row, (value, key) in enumerate(zip(values, keys, strict=True))
            if value != usual[key]
        }
        if (entries := len(usual) + 2 * len(but)) < fewest:
            said: Any = usual[0] if name == "all" else list(usual.values())
            best, fewest = ByPlace(**{name: said}, but=but), entries
    return best


def _usual(values: Sequence[Number], keys: Sequence[int]) -> dict[int, Number]:
    """Give the most frequent value for each key, keys in the order of appearance."""
    groups: dict[int, Counter[Number]] = defaultdict(Counter)
    for value, key in zip(values, keys, strict=True):
        groups[key][value] += 1
    return {key: counts.most_common(1)[0][0] for key, counts in groups.items()}


def ranges(rows: Iterable[int]) -> list[tuple[int, int]]:
    """Write row numbers as ranges, both ends included."""
    ordered = sorted(rows)
    ends = [a for a, b in pairwise(ordered) if b > a + 1] + ordered[-1:]
    starts = ordered[:1] + [b for a, b in pairwise(ordered) if b > a + 1]
    return list(zip(starts, ends, strict=True))


# --------------------------------------------------------------------------- unpacking


def unpack(report: Report) -> list[list[Observation]]:
    """Give the observations of every batch, as they were but for times' digits."""
    texts = [tuple(t) if isinstance(t, list) else t for t in report.texts]
    asks = [_ask(document) for document in report.asks]
    return [
        _observations(batch, report, texts, asks[batch.ask]) for batch in report.batches
    ]


def _observations(
    batch: Batch,
    report: Report,
    texts: Sequence[str | tuple[str, ...]],
    ask: Ask,
) -> list[Observation]:
    grid = report.grids[batch.grid]
    sources = [one for one in grid.source for _ in range(ask.count)]
    targets = [one for one in grid.target for _ in range(ask.count)]
    columns: dict[str, list[Any]] = {
        name: [empty] * len(sources) for name, empty in EMPTY.items()
    }
    for name, column in zip(report.layouts[batch.layout], batch.columns, strict=True):
        values = _spread(column, sources, targets)
        columns[name] = [texts[int(v or 0)] for v in values] if name in SAID else values
    columns["outcome"] = [Outcome(word) for word in columns["outcome"]]
    columns["seconds"] = [ms / 1000 for ms in columns.pop("milliseconds")]
    ends = zip(sources, targets, strict=True)
    probes = _probes(ask, batch, ends, report.places)
    return [
        Observation(probe, **dict(zip(columns, row, strict=True)))
        for probe, *row in zip(probes, *columns.values(), strict=True)
    ]


def _spread(
    column: Column, sources: Sequence[int], targets: Sequence[int]
) -> list[Number]:
    """Give a column's value in every row."""
    if isinstance(column, list):
        return column
    if not isinstance(column, ByPlace):
        return [column] * len(sources)
    if column.source is not None:
        values = _by_place(column.source, sources)
    elif column.target is not None:
        values = _by_place(column.target, targets)
    else:
        values = [column.all] * len(sources)
    for row, value in column.but.items():
        values[row] = value
    return values


def _by_place(values: Sequence[Number], keys: Sequence[int]) -> list[Number]:
    of = dict(zip(dict.fromkeys(keys), values, strict=True))
    return [of[key] for key in keys]


def _ask(document: AskDocument) -> Ask:
    return Ask(
        Role(document.source),
        Op(document.op),
        Target(Kind(document.kind), document.name, document.port),
        container=document.container,
        # Never called: the observations say it. It tells apart what expected
        # different things, and is otherwise the same.
        expect=lambda _scene, _probe: (),
        settings=tuple(sorted(document.settings.items())),
        count=document.count,
        timeout=document.timeout,
        blocked=document.blocked,
    )


def _probes(
    ask: Ask, batch: Batch, ends: Iterable[tuple[int, int]], places: Sequence[str]
) -> Iterator[Probe]:
    kind, name, port = ask.to.kind, ask.to.name, ask.to.port
    protocol = Protocol(batch.protocol) if batch.protocol else None
    family = Family(batch.family) if batch.family else None
    actors = [Actor(ask.source, place, ask.container) for place in places]
    if kind is Kind.DNS_SERVER:
        targets = [Target(kind, place, port) for place in places]
    else:
        targets = [Target(kind, name, port, place) for place in places]
    for row, (source, target) in enumerate(ends):
        number = row % ask.count
        yield Probe(ask, actors[source], targets[target], protocol, family, number)
