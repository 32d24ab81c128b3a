"""What the terminal shows of a watch: a line while it goes on, then tables. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from typing import TYPE_CHECKING

from pytest_k8snet.model import Word
from pytest_k8snet.outages import Way

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from pytest_k8snet.outages import Outage, Record
    from pytest_k8snet.watched import Watched

MOST_ROWS = 12
COLOURS = {Word.PASS: "green", Word.FAIL: "red", Word.INCONCLUSIVE: "yellow"}
TITLES = {
    Way.POD: "Pod to Pod",
    Way.SERVICE: "Service, from every Node",
    Way.NODE_PORT: "NodePort, from outside",
    Way.DNS: "cluster DNS, from every Node",
}


def progress_line(records: Sequence[Record], seconds: float) -> str:
    """Say in one line how a watch goes."""
    asked = sum(one.asked for one in records)
    out = [r for r in records if any(not o.over for o in r.outages)]
    outages = sum(len(one.outages) for one in records)
    line = f"{seconds:4.0f} s  {len(records)} paths, {asked} requests"
    line += f", {outages} outages" if outages else ", no outage"
    if not out:
        return line
    more = f" and {len(out) - 1} more" if len(out) > 1 else ""
    return f"{line}; out now: {out[0].path}{more}"


def tables(watched: Watched, *, width: int = 80, colour: bool = False) -> str:
    """Write a table for each kind of path, the longest outages first; the verdict."""
    from rich.console import Console  # noqa: PLC0415 - only at the end

    text = StringIO()
    console = Console(
        file=text, width=max(width, 80), force_terminal=colour, highlight=False
    )
    for way in Way:
        if mine := [one for one in watched.records if one.path.way is way]:
            _section(console, mine, watched.budgets[way], watched.started)
    said = f"{_styled(watched.word)}: {_verdict(watched.records)}"
    console.print(f"\n{said}", soft_wrap=True)
    for node, why in watched.problems.items():
        console.print(f"no agent on {node}: {why}", soft_wrap=True, markup=False)
    return text.getvalue()


def _styled(word: Word) -> str:
    colour = COLOURS.get(word)
    return f"[{colour}]{word}[/{colour}]" if colour else str(word)


def _section(
    console: Console, mine: Sequence[Record], budget: float, started: float
) -> None:
    from rich.table import Table  # noqa: PLC0415

    asked = sum(one.asked for one in mine)
    longest = max(one.longest for one in mine)
    found = f"longest outage {longest:.1f} s" if longest else "no outage"
    head = f"{len(mine)} paths, {asked} requests, {found}, {budget:g} s allowed"
    console.print(f"\n[bold]{TITLES[mine[0].path.way]}[/bold]: {head}", soft_wrap=True)
    rows = [(one, outage) for one in mine for outage in one.outages]
    rows.sort(key=lambda row: -row[1].seconds)
    if rows:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("seconds", "gap", "lost", "failed", "from (UTC)", "to"):
            table.add_column(name, justify="right", no_wrap=True)
        for name in ("mostly", "path"):
            table.add_column(name, overflow="fold")
        for one, outage in rows[:MOST_ROWS]:
            style = "red" if outage.seconds > budget else None
            table.add_row(*_row(outage, started), str(one.path), style=style)
        console.print(table)
    if (more := len(rows) - MOST_ROWS) > 0:
        console.print(f"... and {more} more outages")
    for line in _notes(mine, started):
        console.print(line, soft_wrap=True, markup=False)


def _row(outage: Outage, started: float) -> list[str]:
    return [
        f"{outage.seconds:.1f}",
        f"{outage.gap:.1f}",
        str(outage.lost),
        str(outage.failed),
        _clock(started + outage.start),
        _clock(started + outage.end) if outage.over else "-",
        str(outage.why),
    ]


def _clock(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%H:%M:%S.%f")[:-5]


def _notes(mine: Sequence[Record], started: float) -> list[str]:
    """Say what was not measured, and which connections broke."""
    lines = []
    for one in mine:
        for at, why in one.broken:
            lines.append(f"broken: {one.path} at {_clock(started + at)}: {why}")
        if one.word is Word.NOT_APPLICABLE:
            lines.append(f"not judged: {one.path}: {one.reason}")
        lines += [
            f"not measured: {one.path} from {_clock(started + a)} to "
            f"{_clock(started + b)} ({b - a:.1f} s)"
            for a, b in one.unmeasured
            if one.word is not Word.NOT_APPLICABLE
        ]
    more = len(lines) - MOST_ROWS
    return lines[:MOST_ROWS] + ([f"... and {more} more such lines"] if more > 0 else [])


def _verdict(records: Sequence[Record]) -> str:
    """Say of how many paths what is so, and of the worst one why."""
    counts = {word: sum(one.word is word for one in records) for word in COLOURS}
    said = ", ".join(
        f"{n} {what}"
        for word, what in (
            (Word.FAIL, "out for longer than allowed"),
            (Word.INCONCLUSIVE, "not measured for longer than that"),
            (Word.PASS, "within what is allowed"),
        )
        if (n := counts[word])
    )
    failed = [one for one in records if one.word is Word.FAIL]
    failed = failed or [one for one in records if one.word is Word.INCONCLUSIVE]
    said = f"of {len(records)} paths {said}" if said else "no path was measured"
    if not failed:
        return said
    worst = max(failed, key=lambda one: one.longest)
    return f"{said}; the worst: {worst.path.way} {worst.path}: {worst.reason}"
