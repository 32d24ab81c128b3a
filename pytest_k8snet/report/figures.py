"""What several formats count and name alike. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_k8snet.diagnose import UNKNOWN
from pytest_k8snet.model import Word
from pytest_k8snet.report.areas import AREAS
from pytest_k8snet.result import by_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_k8snet.diagnose import Finding
    from pytest_k8snet.report.compare import Shift
    from pytest_k8snet.report.recording import Recording
    from pytest_k8snet.report.schema import (
        BaselineDocument,
        FindingDocument,
        ShiftDocument,
    )
    from pytest_k8snet.result import Result

WORST_FIRST = (
    Word.FAIL,
    Word.INCONCLUSIVE,
    Word.KNOWN_DEVIATION,
    Word.PASS,
    Word.NOT_APPLICABLE,
)


@dataclass(frozen=True)
class Tally:
    """Some checks, counted.

    Attributes:
        words: checks by result word.
        passed, cells: cells of those that were judged.
        slowest: seconds of their slowest attempt.

    """

    words: Mapping[Word, int]
    passed: int
    cells: int
    slowest: float

    @property
    def worst(self) -> Word:
        """Give the word that counts for all of them together."""
        return next(word for word in WORST_FIRST if self.words[word])


def tally(results: Sequence[Result]) -> Tally:
    """Count checks and their cells."""
    judged = [r for r in results if r.word in {Word.PASS, Word.FAIL}]
    cells = sum(r.cells for r in judged)
    return Tally(
        words=Counter(r.word for r in results),
        passed=cells - sum(r.failed_cells for r in judged),
        cells=cells,
        slowest=max((o.seconds for r in judged for o in r.seen), default=0.0),
    )


def by_area(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Group results by the name of their area, those without any left out."""
    results = list(results)
    groups = {
        name: [r for r in results if r.check.rule.mark == mark]
        for mark, name in AREAS.items()
    }
    return {name: found for name, found in groups.items() if found}


def verdict(recording: Recording) -> str:
    """Say in one line what became of a run."""
    counts = Counter(r.word for r in recording.results)
    said = {
        Word.FAIL: "failed",
        Word.INCONCLUSIVE: "inconclusive",
        Word.PASS: "passed",
        Word.KNOWN_DEVIATION: "deviate as known",
        Word.NOT_APPLICABLE: "do not apply",
    }
    return ", ".join(f"{counts[w]} {words}" for w, words in said.items() if counts[w])


@dataclass(frozen=True)
class Problem:
    """Some checks that are not as they should be, for one reason.

    Attributes:
        title: what is wrong.
        word: fail or inconclusive.
        results: the checks.
        evidence: what was seen, where a finding says so.
        next: what to look at, or to run; "" when nothing is known.
        link: where others met it; "" likewise.

    """

    title: str
    word: Word
    results: tuple[Result, ...]
    evidence: tuple[str, ...] = ()
    next: str = ""
    link: str = ""


def problems(recording: Recording) -> list[Problem]:
    """Give what is wrong: findings, failures without one by place, then the rest."""
    failed = {r.check.id: r for r in recording.results if r.word is Word.FAIL}
    found = [
        Problem(
            f"{f.sentence} {finding_label(f)}".rstrip(),
            Word.FAIL,
            tuple(failed[c] for c in f.checks if c in failed),
            f.evidence,
            f.next,
            f.link,
        )
        for f in recording.report.findings
    ]
    explained = {r.check.id for one in found for r in one.results}
    others = by_place(r for name, r in failed.items() if name not in explained)
    found += [
        Problem(f"failed: {place}", Word.FAIL, tuple(rs))
        for place, rs in others.items()
    ]
    reasons: dict[str, list[Result]] = {}
    for one in recording.results:
        if one.word is Word.INCONCLUSIVE:
            reasons.setdefault(one.reason, []).append(one)
    return found + [
        Problem(f"inconclusive: {reason}", Word.INCONCLUSIVE, tuple(rs))
        for reason, rs in reasons.items()
    ]


def finding_label(finding: FindingDocument | Finding) -> str:
    """Say of which layer a finding is, how sure it is, and what else it may be."""
    if finding.cause == UNKNOWN:
        return ""
    also = f", or {' or '.join(finding.also)}" if finding.also else ""
    return f"({finding.layer}, {finding.confidence}: {finding.cause}{also})"


def baseline_lines(baseline: BaselineDocument, most: int) -> list[str]:
    """Say how a run compares with its baseline, a line each."""
    counts = Counter(c.change for c in baseline.changes)
    kinds = ("regressed", "fixed", "new", "gone")
    told = ", ".join(f"{counts[kind]} {kind}" for kind in kinds)
    lines = [f"baseline of {baseline.started}: {told}"]
    for kind in kinds:
        changed = [c for c in baseline.changes if c.change == kind]
        for one in changed[:most]:
            words = f"{one.before or 'not asked'} -> {one.after or 'not asked'}"
            cells = one.cells.get(kind, 0)
            more = f", {cells} cells" if cells else ""
            lines.append(f"  {kind:9}  {one.check}  {words}{more}")
        if len(changed) > most:
            lines.append(f"  {kind:9}  ... and {len(changed) - most} more")
    lines += [f"  {shift_line(one)}" for one in baseline.shifts]
    lines += [f"  stands for {then}: {now}" for now, then in baseline.nodes.items()]
    return lines + [f"  differs: {one}" for one in baseline.environment]


def shift_line(shift: Shift | ShiftDocument) -> str:
    """Say what became slower or faster, and by how much."""
    times = f"{took(shift.before)} -> {took(shift.after)}"
    return f"{shift_word(shift)}     {shift.what}  {times}"


def shift_word(shift: Shift | ShiftDocument) -> str:
    """Say whether the later run is the slower one."""
    return "slower" if shift.after > shift.before else "faster"


def took(seconds: float) -> str:
    """Write a time as people do: three digits, and ms below a second."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s"
