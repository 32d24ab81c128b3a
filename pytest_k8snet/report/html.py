"""report.html: one file, nothing from elsewhere, readable without its script."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_k8snet.model import Word
from pytest_k8snet.report.areas import AREAS
from pytest_k8snet.report.figures import (
    Tally,
    baseline_lines,
    by_area,
    problems,
    tally,
    took,
    verdict,
)
from pytest_k8snet.report.heatmap import HeatMap, heat_maps, overview
from pytest_k8snet.report.plots import WIDTH, plots
from pytest_k8snet.result import describe, explain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Environment

    from pytest_k8snet.model import Rule
    from pytest_k8snet.report.recording import Recording
    from pytest_k8snet.result import Result

MOST_CELLS = 12
MOST_CHECKS = 24
MOST_CHANGES = 40
MOST_OPEN = 1


@dataclass(frozen=True)
class RuleRow:
    """A rule, as the page shows it."""

    rule: Rule
    results: Sequence[Result]
    recording: Recording

    @cached_property
    def tally(self) -> Tally:
        """Count its checks."""
        return tally(self.results)

    @cached_property
    def word(self) -> Word:
        """Give the word that counts for all its checks."""
        return self.tally.worst

    @cached_property
    def maps(self) -> list[HeatMap]:
        """Draw it."""
        return heat_maps(self.results, self.recording)

    @property
    def wrong(self) -> list[str]:
        """Describe the first of its wrong cells."""
        seen = [o for r in self.results for o in r.verdict.violations]
        return [describe(one) for one in seen[:MOST_CELLS]]

    @property
    def reasons(self) -> list[str]:
        """Say why what was not judged, or is let pass, is so."""
        told = (r.reason for r in self.results if r.word is not Word.PASS)
        return [reason for reason in dict.fromkeys(told) if reason]


def html(recording: Recording) -> str:
    """Write the page."""
    report = recording.report
    rows = [
        RuleRow(found[0].check.rule, found, recording)
        for found in recording.by_rule.values()
    ]
    page = environment().get_template("report.html.j2")
    return page.render(
        report=report,
        verdict=verdict(recording),
        worst=tally(recording.results).worst if recording.results else Word.PASS,
        areas={
            name: tally(found) for name, found in by_area(recording.results).items()
        },
        overview=overview(recording),
        problems=problems(recording),
        baseline=baseline_lines(report.baseline, MOST_CHANGES)
        if report.baseline
        else (),
        rules={
            name: [row for row in rows if row.rule.mark == mark]
            for mark, name in AREAS.items()
        },
        plots=plots(recording),
        width=WIDTH,
        most=MOST_CHECKS,
        most_open=MOST_OPEN,
    )


def environment() -> Environment:
    """Give what renders pages: everything is escaped but what we draw."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    made = Environment(
        loader=PackageLoader("pytest_k8snet.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"took": took, "explain": explain}
    made.globals |= {"Word": Word}
    return made
