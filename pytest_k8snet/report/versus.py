"""Several runs side by side: k8snet compare, in three formats. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from statistics import median
from textwrap import fill
from typing import TYPE_CHECKING

from pytest_k8snet.model import Op, Word
from pytest_k8snet.report.areas import AREAS
from pytest_k8snet.report.compare import (
    FEWEST,
    LATER_MEANS,
    SLOWER_MEANS,
    UNASKED,
    Change,
    compare,
    kubelets,
    latencies,
    later,
    showing,
    slower,
)
from pytest_k8snet.report.figures import (
    by_area,
    problems,
    shift_line,
    shift_word,
    tally,
    took,
)
from pytest_k8snet.report.markdown import table
from pytest_k8snet.report.terminal import columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_k8snet.report.compare import CheckChange, Shift
    from pytest_k8snet.report.recording import Recording
    from pytest_k8snet.result import Result

    Runs = Mapping[str, Recording]
    Times = Callable[[Recording], Mapping[str, list[float]]]
    Differ = Callable[[Recording, Recording], Iterator[Shift]]

CHANGES = (Change.REGRESSED, Change.FIXED, Change.NEW, Change.GONE)
MOST_NAMED = 8
WIDTH = 88
NOTHING = "-"
EXPLAIN = "k8snet explain RULE says what a rule demands."
ALL_AT_ONCE = (
    "A run asks everything at once, so that most answers wait for the machine, and "
    "even the fastest vary from run to run."
)


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
    names, rules = tuple(runs), tuple(_rules(runs))
    made = [
        Section("Runs", ("", *names), tuple(_about(runs))),
        Section("Features", ("feature", *names), tuple(_features(runs))),
        Section("Areas", ("area", *names), tuple(_areas(runs))),
        Section("Rules that differ", ("rule", *names), rules, EXPLAIN if rules else ""),
        Section("What does not pass", (), tuple((one,) for one in _reasons(runs))),
        Section(
            "Fastest answers",
            ("of", *names),
            tuple(_times(runs, _answers, min, slower)),
            f"{ALL_AT_ONCE} {SLOWER_MEANS}.",
        ),
        Section(
            "Time until a change shows",
            ("watched by", *names),
            tuple(_times(runs, showing, median, later)),
            f"The median. {LATER_MEANS}.",
        ),
    ]
    first, *others = runs.items()
    for name, run in others:
        lines = tuple((line,) for line in _changes(first[1], run))
        made.append(Section(f"From {first[0]} to {name}", (), lines))
    return made


def _about(runs: Runs) -> Iterator[tuple[str, ...]]:
    facts: dict[str, Callable[[Recording], str]] = {
        **{word: partial(_count, word) for word in Word},
        "started": lambda r: r.report.started,
        "suite": lambda r: r.report.suite.version or "unknown",
        "profile": lambda r: r.report.suite.profile,
        "context": lambda r: r.report.environment.context,
        "Kubernetes": lambda r: r.report.environment.kubernetes,
        "network plugin": lambda r: r.report.environment.network,
        "service proxy": lambda r: r.report.environment.service_proxy,
        "IP families": lambda r: " ".join(r.report.environment.families),
        "Pods' MTU": _mtu,
        "Nodes": lambda r: str(len(r.report.environment.nodes)),
        "kubelets": lambda r: kubelets(r.report.environment),
        "settled in": lambda r: took(r.report.figures.settle),
        "took": lambda r: took(r.report.figures.total),
    }
    for what, say in facts.items():
        yield what, *(say(run) for run in runs.values())


def _count(word: Word, recording: Recording) -> str:
    return str(sum(one.word is word for one in recording.results))


def _features(runs: Runs) -> Iterator[tuple[str, ...]]:
    found = [run.report.environment.features for run in runs.values()]
    for feature in sorted({name for one in found for name in one}):
        yield feature, *("yes" if feature in one else NOTHING for one in found)


def _mtu(recording: Recording) -> str:
    found = {
        value
        for result in recording.results
        for one in result.seen
        if one.probe.ask.op is Op.FACT and one.probe.target.name == "mtu"
        for value in one.values
    }
    return " ".join(sorted(found)) or "not asked"


def _areas(runs: Runs) -> Iterator[tuple[str, ...]]:
    areas = [by_area(run.results) for run in runs.values()]
    for name in AREAS.values():
        if any(name in found for found in areas):
            yield name, *(_counted(found.get(name, ())) for found in areas)


def _rules(runs: Runs) -> Iterator[tuple[str, ...]]:
    """Count the checks of rules that differ, those that some run breaks first."""
    kept = {Word.PASS, Word.NOT_APPLICABLE}
    rules: dict[str, bool] = {}
    for run in runs.values():
        for name, found in run.by_rule.items():
            broken = any(one.word not in kept for one in found)
            rules[name] = broken or rules.get(name, False)
    for rule in sorted(rules, key=lambda name: (not rules[name], name)):
        said = [_counted(run.by_rule.get(rule, ())) for run in runs.values()]
        if len(set(said)) > 1:
            yield rule, *said


def _counted(results: Sequence[Result]) -> str:
    """Say what became of some checks, the worst first."""
    counted = tally(results)
    order = (Word.FAIL, Word.INCONCLUSIVE, Word.KNOWN_DEVIATION, Word.PASS)
    words = [f"{counted.words[w]} {w}" for w in order if counted.words[w]]
    if not words:
        return str(Word.NOT_APPLICABLE) if results else NOTHING
    return ", ".join(words)


def _reasons(runs: Runs) -> Iterator[str]:
    """Say of every run what does not pass, and why; what has one reason together.

    What applies to no run tells none of them apart.
    """
    applied = {
        name
        for run in runs.values()
        for name, found in run.by_rule.items()
        if any(one.word is not Word.NOT_APPLICABLE for one in found)
    }
    for name, run in runs.items():
        reasons = _by_reason(run)
        told: dict[tuple[str, ...], str] = {}
        for reason, results in reasons.items():
            named = dict.fromkeys(one.check.rule.id for one in results)
            # What the checks of a rule say in many words is told once.
            told.setdefault(tuple(rule for rule in named if rule in applied), reason)
        told.pop((), None)
        yield name if told else f"{name}: all that applies passes"
        for rules, reason in told.items():
            more = len(rules) - MOST_NAMED
            yield f"  {reason}"
            yield f"    {', '.join(rules[:MOST_NAMED])}" + (
                f" and {more} more" if more > 0 else ""
            )


def _by_reason(run: Recording) -> dict[str, list[Result]]:
    reasons = {one.title: list(one.results) for one in problems(run)}
    for one in run.results:
        if one.word in UNASKED | {Word.KNOWN_DEVIATION}:
            reasons.setdefault(f"{one.word}: {one.reason}", []).append(one)
    return reasons


def _times(
    runs: Runs, times: Times, of: Callable[[Sequence[float]], float], differ: Differ
) -> Iterator[tuple[str, ...]]:
    """Give one time for each kind of answer, and say which differ from the first."""
    first, *others = runs.values()
    words = [{s.what: shift_word(s) for s in differ(first, one)} for one in others]
    found = list(zip(map(times, runs.values()), [{}, *words], strict=True))
    for what in sorted({name for one, _ in found for name in one}):
        yield (
            what,
            *(
                f"{took(of(one[what]))} {word.get(what, '')}".rstrip()
                if what in one
                else NOTHING
                for one, word in found
            ),
        )


def _answers(recording: Recording) -> dict[str, list[float]]:
    """Give the seconds of those answers that are enough to tell runs apart."""
    found = latencies(recording)
    return {what: times for what, times in found.items() if len(times) >= FEWEST}


def _changes(before: Recording, after: Recording) -> Iterator[str]:
    """Say what changed from one run to another, the checks of a rule together."""
    made = compare(before, after)
    told = ", ".join(f"{len(made.of(change))} {change}" for change in CHANGES)
    yield f"{told}, of {len(made.checks)} checks"
    for change in CHANGES:
        alike: dict[tuple[str, str], list[CheckChange]] = {}
        for one in made.of(change):
            asked = one.after or one.before
            assert asked
            words = f"{_word(one.before)} -> {_word(one.after)}"
            alike.setdefault((asked.check.rule.id, words), []).append(one)
        for (rule, words), found in alike.items():
            cells = sum(len(one.cells.get(change, ())) for one in found)
            more = f", {cells} cells" if cells else ""
            yield f"  {change:9}  {rule}  {words} in {len(found)} checks{more}"
    for shift in made.shifts:
        yield f"  {shift_line(shift)}"
    contexts = {one.report.environment.context for one in (before, after)}
    # The Nodes of another cluster stand for nobody.
    if len(contexts) == 1:
        for now, then in made.nodes.items():
            if now != then:
                yield f"  stands for {then}: {now}"


def _word(result: Result | None) -> str:
    return str(result.word) if result else "not asked"


# ----------------------------------------------------------------------------- formats


def terminal(found: Sequence[Section]) -> str:
    """Write the sections as text."""
    out = ""
    for one in found:
        rows = [row for row in (one.header, *one.rows) if row]
        out += f"{one.title}\n" + (columns(rows) if one.rows else "none\n")
        out += f"{fill(one.note, WIDTH)}\n\n" if one.note else "\n"
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
