"""Compares what a run said with what was expected of it. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from faults.expected import Blame

from pytest_k8snet.diagnose import Confidence, Finding
from pytest_k8snet.model import Word
from pytest_k8snet.report.schema import FindingDocument

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pytest_k8snet.faults.fault import Fault
    from pytest_k8snet.report.schema import Report


Blaming = FindingDocument | Finding


class Awaited(Protocol):
    """What is expected of a fault, on whichever cluster."""

    @property
    def fault(self) -> Fault: ...
    @property
    def red(self) -> Mapping[str, object]: ...
    @property
    def inconclusive(self) -> Collection[str]: ...
    @property
    def may(self) -> Collection[str]: ...
    @property
    def args(self) -> tuple[str, ...]: ...
    @property
    def blame(self) -> Blame | None: ...


@dataclass(frozen=True)
class Score:
    """What became of a fault in one run.

    Attributes:
        fault: its id.
        breaks: what it breaks.
        cluster: the kind it was made on.
        missed: rules that should have shown it, and did not.
        unexpected: rules that failed, and should not have.
        said: what the first finding blames; "" without a finding.
        wanted: what it should.
        right: whether it does.
        unaided: whether it would without a look into Nodes.
        seconds: that the run took.
        red: the checks that failed, by rule.
        cells: what else is not as expected, cell by cell, a line each.

    """

    fault: str
    breaks: str
    cluster: str
    missed: tuple[str, ...]
    unexpected: tuple[str, ...]
    said: str
    wanted: str
    right: bool
    unaided: bool
    seconds: float
    red: Mapping[str, int]
    cells: tuple[str, ...] = ()

    @property
    def detected(self) -> bool:
        return not self.missed

    @property
    def clean(self) -> bool:
        return not self.unexpected

    @property
    def marks(self) -> tuple[bool, ...]:
        """What is counted."""
        return (self.detected, self.clean, self.right, self.unaided)


def score(
    one: Awaited,
    report: Report,
    findings: Sequence[Blaming],
    unaided: Sequence[Blaming],
    cells: Sequence[str] = (),
) -> Score:
    """Judge a run under one fault.

    Args:
        one: what is expected.
        report: of the run.
        findings: what was found.
        unaided: what is found without what only a look into Nodes can tell.
        cells: what is otherwise than expected, cell by cell.

    """
    failed = _rules(report, Word.FAIL)
    shown = failed if one.red else _rules(report, Word.INCONCLUSIVE)
    wanted = blame_of(one)
    first = findings[0] if findings else None
    return Score(
        fault=one.fault.id,
        breaks=one.fault.breaks,
        cluster=one.fault.cluster,
        missed=tuple(sorted(set(one.red or one.inconclusive) - set(shown))),
        unexpected=tuple(sorted(set(failed) - {*one.red, *one.may})),
        said=_blames(first, report) if first else "",
        wanted=" ".join((wanted.cause, *wanted.nodes, *filter(None, [wanted.thing]))),
        right=bool(findings) and says(findings[0], wanted, report),
        unaided=bool(unaided) and says(unaided[0], wanted, report),
        seconds=report.figures.total,
        red=dict(sorted(failed.items())),
        cells=tuple(cells),
    )


def blame_of(one: Awaited) -> Blame:
    """Give what the first finding must say: by default the fault, at its Nodes."""
    return one.blame or Blame(one.fault.id, one.fault.nodes)


def says(finding: Blaming, wanted: Blame, report: Report) -> bool:
    """Whether a finding blames what it should, and nothing else."""
    nodes = {_short(node, report) for node in finding.nodes}
    known = set(wanted.nodes)
    either = bool(wanted.peer and nodes) and nodes <= {*known, wanted.peer}
    return (
        finding.cause == wanted.cause
        and (nodes == known or either)
        and wanted.thing in finding.thing
    )


def alarms(report: Report, may: Collection[str] = ()) -> list[str]:
    """Say what a run on a cluster that is well complained of.

    Args:
        report: of the run.
        may: rules that fail all the same.

    """
    failed = set(_rules(report, Word.FAIL)) - set(may)
    unclear = _rules(report, Word.INCONCLUSIVE)
    blamed = [f for f in report.findings if f.confidence != Confidence.CONFIGURED]
    return [
        *(f"{rule} failed" for rule in sorted(failed)),
        *(f"{rule} was inconclusive" for rule in sorted(unclear)),
        *(f"blamed {_blames(finding, report)}" for finding in blamed),
    ]


def _rules(report: Report, word: Word) -> Counter[str]:
    return Counter(check.rule for check in report.checks if check.result == word)


def _blames(finding: Blaming, report: Report) -> str:
    nodes = (_short(node, report) for node in finding.nodes)
    return " ".join((finding.cause, *nodes, *filter(None, [finding.thing])))


def _short(node: str, report: Report) -> str:
    cluster = report.environment.context.removeprefix("k8snet-")
    return node.removeprefix(f"{cluster}-")


def confused(scores: Collection[Score], sets: Collection[Collection[str]]) -> list[str]:
    """Score each set of faults that are hard to tell apart, a line each."""
    right = {one.fault: one.right for one in scores}
    return [
        f"{sum(right[i] for i in known)}/{len(known)} {', '.join(known)}"
        for ids in sets
        if (known := [i for i in ids if i in right])
    ]
