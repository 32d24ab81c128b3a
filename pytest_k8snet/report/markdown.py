"""Markdown: report.md, GitHub's step summary, and its annotations. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_k8snet.model import Word
from pytest_k8snet.report.figures import (
    baseline_lines,
    by_area,
    problems,
    tally,
    took,
    verdict,
)
from pytest_k8snet.result import explain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_k8snet.report.figures import Problem
    from pytest_k8snet.report.recording import Recording
    from pytest_k8snet.result import Result

SUMMARY_LIMIT = 1000 * 1024
"""Bytes. GitHub drops a step summary above 1,024 KiB as a whole."""
MOST_ANNOTATIONS = 10
"""Of a kind, in a step; GitHub shows no more."""
MOST_CHANGES = 50
MOST_CHECKS = 20

MARKS = {
    Word.PASS: "✅",
    Word.FAIL: "❌",
    Word.INCONCLUSIVE: "❔",
    Word.KNOWN_DEVIATION: "⚠️",
    Word.NOT_APPLICABLE: "·",
}


def markdown(recording: Recording, limit: int = SUMMARY_LIMIT) -> str:
    """Write a run, leaving out the last sections when they do not fit.

    Args:
        recording: the run.
        limit: bytes; what is left out is said.

    """
    out = ""
    for section in _sections(recording):
        if len(out.encode()) + len(section.encode()) > limit - 200:
            return out + "\n(The rest does not fit here: see report.json.)\n"
        out += section
    return out


def _sections(recording: Recording) -> Iterator[str]:
    report, results = recording.report, recording.results
    yield f"# Kubernetes network: {verdict(recording)}\n"
    yield _environment(recording)
    areas = by_area(results)
    yield "\n## Areas\n\n" + table(
        ("area", *Word, "cells", "slowest"),
        [_area(name, found) for name, found in areas.items()],
    )
    if report.baseline:
        lines = "\n".join(baseline_lines(report.baseline, MOST_CHANGES))
        yield f"\n## Compared with the baseline\n\n```\n{lines}\n```\n"
        yield f"\n{report.baseline.threshold}\n"
    for problem in problems(recording):
        title = problem.title[0].upper() + problem.title[1:]
        yield f"\n## {_escaped(title)}\n\n" + _problem(problem)
    if report.deviations:
        yield "\n## Known deviations\n\n" + table(
            ("rule", "reason", "expires", "state", "checks"),
            [
                (d.rule, d.reason, d.expires, d.state, str(len(d.checks)))
                for d in report.deviations
            ],
        )
    yield "\n## Rules\n\n"
    yield table(("", "rule", "requirement", "cells", "slowest"), _rules(recording))


def _environment(recording: Recording) -> str:
    report = recording.report
    env, figures = report.environment, report.figures
    nodes = [n.name for n in env.nodes]
    facts = {
        "cluster": f"{env.context}, {env.server}, Kubernetes {env.kubernetes}",
        "network": f"network plugin {env.network}, {env.service_proxy}, "
        f"{' and '.join(env.families)}",
        "Nodes": f"{len(nodes)}: {', '.join(nodes[:MOST_CHECKS])}"
        + (" ..." if len(nodes) > MOST_CHECKS else ""),
        "left out": "; ".join(f"{n.name}: {n.problem}" for n in env.left_out),
        "not running": "; ".join(f"{k}: {v}" for k, v in report.not_running.items()),
        "asked": f"{report.coverage.checks} checks of profile {report.suite.profile}, "
        f"{figures.probes} probes over {report.coverage.ordered_pairs} ordered pairs "
        f"of Nodes, in {took(figures.total)}, settled in {took(figures.settle)}",
        "when": f"{report.started}, pytest-k8snet {report.suite.version}",
    }
    lines = [f"- **{name}**: {_escaped(said)}" for name, said in facts.items() if said]
    return "\n" + "\n".join(lines) + "\n"


def _area(name: str, found: Sequence[Result]) -> tuple[str, ...]:
    counted = tally(found)
    words = (str(counted.words[word]) for word in Word)
    cells = f"{counted.passed}/{counted.cells}"
    return (name, *words, cells, took(counted.slowest))


def _problem(problem: Problem) -> str:
    lines = [f"- {_escaped(line)}" for line in problem.evidence]
    if problem.next:
        lines.append(f"- next: `{problem.next}`")
    if problem.link:
        lines.append(f"- see: {problem.link}")
    ids = [f"`{r.check.id}`" for r in problem.results]
    more = f" and {len(ids) - MOST_CHECKS} more" if len(ids) > MOST_CHECKS else ""
    lines.append(f"- {len(ids)} checks: {', '.join(ids[:MOST_CHECKS])}{more}")
    out = "\n".join(lines) + "\n"
    example = next((r for r in problem.results if r.verdict.violations), None)
    return out + (f"\n```\n{explain(example)}\n```\n" if example else "")


def _rules(recording: Recording) -> Iterator[tuple[str, ...]]:
    for name, found in recording.by_rule.items():
        rule, counted = found[0].check.rule, tally(found)
        cells = f"{counted.passed}/{counted.cells}" if counted.cells else ""
        yield (
            MARKS[counted.worst],
            f"[{name}]({rule.spec})",
            rule.requirement,
            cells,
            took(counted.slowest) if counted.cells else "",
        )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table."""
    lines = [header, ["---"] * len(header), *([_escaped(c) for c in r] for r in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def workflow_commands(recording: Recording) -> list[str]:
    """Annotate GitHub's run: once per cause, and not per cell."""
    found: dict[str, list[str]] = {"error": [], "warning": []}
    for problem in problems(recording):
        rules = ", ".join(dict.fromkeys(r.check.rule.id for r in problem.results))
        said = "\n".join((f"{rules}: {problem.title}", *problem.evidence, problem.next))
        kind = "error" if problem.word is Word.FAIL else "warning"
        title = _property(f"k8snet: {problem.title}")
        found[kind].append(f"title={title}::{_data(said.rstrip())}")
    return [
        f"::{kind} {line}"
        for kind, lines in found.items()
        for line in lines[:MOST_ANNOTATIONS]
    ]


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
