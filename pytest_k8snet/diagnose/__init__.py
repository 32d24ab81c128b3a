"""Why does it fail? From what a run saw to an ordered list of findings. Pure.

One cause gives one finding, however many checks it turns red: the cause that accounts
for most of the failing cells is found first, and the next one among what is left.
Direct evidence decides between those that look alike: ``suspects`` says what to ask,
and ``diagnose`` weighs the answers. Where nothing fits, the finding says so: naming
nothing beats naming wrongly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_k8snet.diagnose.cause import UNKNOWN, Confidence, Finding
from pytest_k8snet.diagnose.causes import CAUSES
from pytest_k8snet.diagnose.evidence import PRIVILEGED, Answer, Look, Question
from pytest_k8snet.diagnose.fit import NEARLY, all_fitting, likeliest
from pytest_k8snet.diagnose.matrix import RUNS, matrix
from pytest_k8snet.diagnose.telling import finding, trace, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_k8snet.diagnose.evidence import Evidence
    from pytest_k8snet.model import ClusterFacts
    from pytest_k8snet.result import Result

__all__ = [
    "CAUSES",
    "PRIVILEGED",
    "UNKNOWN",
    "Answer",
    "Confidence",
    "Finding",
    "Look",
    "Question",
    "diagnose",
    "suspects",
]

MOST_ASKED = 64
"""Questions for a whole run: more than any few faults need."""

SOME = 0.1
"""What part of what the best one accounts for is worth a look that alone can tell."""


def diagnose(
    facts: ClusterFacts,
    results: Iterable[Result],
    problems: Mapping[str, str] | None = None,
    evidence: Evidence | None = None,
) -> tuple[Finding, ...]:
    """Find the causes of what failed, the one that explains most first.

    Args:
        facts: what discovery found.
        results: of every check.
        problems: who of ours does not run, each with why.
        evidence: answers to what ``suspects`` asks.

    """
    seen = matrix(facts, results, problems or {})
    findings: list[Finding] = []
    while seen.bad:
        fitting = all_fitting(seen, facts, evidence or {})
        if best := likeliest(fitting):
            findings.append(finding(best, fitting, facts, evidence or {}))
            seen = seen.without(best.explained)
            continue
        # What does not run says itself why.
        if bad := [c for c in seen.bad if c.rule != RUNS]:
            findings.append(unknown(bad, evidence or {}))
        break
    return tuple(findings)


def suspects(
    facts: ClusterFacts,
    results: Iterable[Result],
    problems: Mapping[str, str] | None = None,
) -> tuple[Question, ...]:
    """Say what to look at: at the places of what fits, and nowhere else.

    Args: as of ``diagnose``.
    """
    seen = matrix(facts, results, problems or {})
    asked: dict[Question, None] = {}
    while seen.bad and len(asked) < MOST_ASKED:
        fitting = all_fitting(seen, facts, {})
        asked |= dict.fromkeys([q for q in map(trace, seen.bad) if q][:1])
        if not fitting:
            break
        most = max(len(f.explained) for f in fitting)
        close = [
            f
            for f in fitting
            if len(f.explained) >= most * (SOME if f.cause.unsigned else NEARLY)
        ]
        # Most signs first: when there are too many to ask, those count.
        for one in sorted(close, key=lambda f: (-len(f.explained), -f.signs)):
            for proof in one.cause.proofs:
                asked |= dict.fromkeys(proof.asks(one.place, facts))
        best = likeliest(fitting) or close[0]
        seen = seen.without(best.explained)
    return tuple(asked)[:MOST_ASKED]
