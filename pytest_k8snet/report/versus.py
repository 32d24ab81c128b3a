"""Several runs side by side: k8snet compare, in three formats. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from pytest_k8snet.model import Word
from pytest_k8snet.report.areas import AREAS
from pytest_k8snet.report.compare import (
    THRESHOLD,
    baseline_document,
    compare,
    latencies,
    showing,
)
from pytest_k8snet.report.figures import baseline_lines, by_area, tally, took, verdict
from pytest_k8snet.report.markdown import table
from pytest_k8snet.report.terminal import columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_k8snet.report.recording import Recording
    from pytest_k8snet.result import Result

    Runs = Mapping[str, Recording]

MOST_CHANGES = 100
NOT_ASKED = "-"


@dataclass(frozen=True)
class Section:
    """A table, or lines.

    Attributes:
        title: above it.
        header: of its columns; () for lines.
        rows: its rows, or one cell for each line.
        note: below it.

    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def sections(runs: Runs) -> list[Section]:
    """Compare runs, by name: what was tested, what differs, and what changed."""
    names = tuple(runs)
    made = [
        Section("Runs", ("", *names), tuple(_about(runs))),
        Section("Areas", ("area", *names), tuple(_areas(runs))),
        Section("Rules that differ", ("rule", *names), tuple(_rules(runs))),
        Section("Median times", ("of", *names), tuple(_times(runs)), THRESHOLD),
    ]
    first, *others = runs.items()
    for name, run in others:
        compared = baseline_document(compare(first[1], run))
        lines = tuple((line,) for line in baseline_lines(compared, MOST_CHANGES))
        made.append(Section(f"From {first[0]} to {name}", (), lines))
    return made


def _about(runs: Runs) -> Iterator[tuple[str, ...]]:
    facts: dict[str, Callable[[Recording], str]] = {
        "result": verdict,
        "started": lambda r: r.report.started,
        "suite": lambda r: r.report.suite.version or "unknown",
        "profile": lambda r: r.report.suite.profile,
        "context": lambda r: r.report.environment.context,
        "Kubernetes": lambda r: r.report.environment.kubernetes,
        "network plugin": lambda r: r.report.environment.network_plugin,
        "service proxy": lambda r: r.report.environment.service_proxy,
        "IP families": lambda r: " ".join(r.report.environment.families),
        "Nodes": lambda r: str(len(r.report.environment.nodes)),
        "settled in": lambda r: took(r.report.figures.settle),
        "took": lambda r: took(r.report.figures.total),
    }
    for what, say in facts.items():
        yield what, *(say(run) for run in runs.values())


def _areas(runs: Runs) -> Iterator[tuple[str, ...]]:
    areas = [by_area(run.results) for run in runs.values()]
    for name in AREAS.values():
        if any(name in found for found in areas):
            yield name, *(_counted(found.get(name, ())) for found in areas)


def _rules(runs: Runs) -> Iterator[tuple[str, ...]]:
    for rule in sorted({name for run in runs.values() for name in run.by_rule}):
        said = [_counted(run.by_rule.get(rule, ())) for run in runs.values()]
        if len(set(said)) > 1:
            yield rule, *said


def _counted(results: Sequence[Result]) -> str:
    """Say what became of some checks, the worst first."""
    counted = tally(results)
    order = (Word.FAIL, Word.INCONCLUSIVE, Word.KNOWN_DEVIATION, Word.PASS)
    words = [f"{counted.words[w]} {w}" for w in order if counted.words[w]]
    if not words:
        return str(Word.NOT_APPLICABLE) if results else NOT_ASKED
    return ", ".join(words)


def _times(runs: Runs) -> Iterator[tuple[str, ...]]:
    for times in (latencies, showing):
        found = [times(run) for run in runs.values()]
        for what in sorted({name for one in found for name in one}):
            shown = (took(median(one[what])) if what in one else "" for one in found)
            yield what, *shown


# ----------------------------------------------------------------------------- formats


def terminal(found: Sequence[Section]) -> str:
    """Write the sections as text."""
    out = ""
    for one in found:
        rows = [row for row in (one.header, *one.rows) if row]
        out += f"{one.title}\n" + (columns(rows) if one.rows else "none\n")
        out += f"({one.note})\n\n" if one.note else "\n"
    return out


def markdown(found: Sequence[Section]) -> str:
    """Write the sections as Markdown."""
    out = "# Kubernetes networks compared\n"
    for one in found:
        out += f"\n## {one.title}\n\n"
        if not one.rows:
            out += "none\n"
        elif one.header:
            out += table(one.header, one.rows)
        else:
            lines = "\n".join(line for (line,) in one.rows)
            out += f"```\n{lines}\n```\n"
        out += f"\n{one.note}\n" if one.note else ""
    return out


def html(found: Sequence[Section]) -> str:
    """Write the sections as a page of its own."""
    from pytest_k8snet.report.html import environment  # noqa: PLC0415 - jinja2

    return environment().get_template("compare.html.j2").render(sections=found)
