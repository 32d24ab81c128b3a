"""Findings in words: what is wrong, what shows it, what to do next. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_k8snet.diagnose.cause import UNKNOWN, Confidence, Finding
from pytest_k8snet.diagnose.evidence import Look, Question, Says
from pytest_k8snet.diagnose.matrix import RUNS
from pytest_k8snet.model import Kind, Outcome, Role
from pytest_k8snet.result import describe, shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_k8snet.diagnose.cause import Place
    from pytest_k8snet.diagnose.evidence import Evidence
    from pytest_k8snet.diagnose.fit import Fit
    from pytest_k8snet.diagnose.matrix import Cell
    from pytest_k8snet.model import ClusterFacts

MOST_SHOWN = 3


def finding(
    fit: Fit, fitting: Sequence[Fit], facts: ClusterFacts, evidence: Evidence
) -> Finding:
    """Tell of a cause, and of those that account for the same."""
    cause, place = fit.cause, fit.place
    words = _words(place, facts)
    equals = [f for f in fitting if f.accounts_alike(fit)]
    confidence = cause.confidence
    if fit.confirmed and confidence is Confidence.CONSISTENT:
        confidence = Confidence.CONFIRMED
    also = [f.cause.id for f in equals if f.possible and not fit.confirmed]
    return Finding(
        cause=cause.id,
        layer=cause.layer,
        confidence=confidence,
        sentence=cause.says.format(**words),
        nodes=place.nodes[:1],
        thing=", ".join(place.things),
        evidence=(
            *_evidence(fit.explained, cause.shown_by, evidence),
            *_for_and_against(fit, equals),
        ),
        next=cause.next.format(**words),
        link=cause.link,
        checks=_checks(fit.explained, cause.shown_by),
        also=tuple(dict.fromkeys(also)),
    )


def _for_and_against(fit: Fit, equals: Iterable[Fit]) -> Iterator[str]:
    """Say what evidence there is of a cause, and of it not being one of its equals."""
    yield from dict.fromkeys(t.line for t in fit.testimony if t.line)
    for other in (o for o in equals if not o.cause.unsigned):
        against = (t for t in other.testimony if t.says is Says.RULES_OUT)
        yield from (f"not {other.cause.id}: {t.line}" for t in against)


def _words(place: Place, facts: ClusterFacts) -> dict[str, str]:
    node, peer = (*place.nodes, "", "")[:2]
    ranges = next((n.pod_cidrs for n in facts.nodes if n.name == peer), ())
    part = " ".join(filter(None, (place.family, place.protocol)))
    part = part.upper().replace("IPV", "IPv")
    return {
        "node": node,
        "peer": peer,
        "peer_range": " ".join(ranges),
        "thing": ", ".join(place.things),
        "only": f" ({part} only)" if part else "",
    }


def unknown(bad: Sequence[Cell], evidence: Evidence) -> Finding:
    """Say that nothing fits."""
    where = shape(c.seen for c in bad)
    return Finding(
        cause=UNKNOWN,
        layer=UNKNOWN,
        confidence=Confidence.CONSISTENT,
        sentence=f"No known cause fits what fails {where}.",
        evidence=_evidence(bad, (), evidence),
        next="the reproduce lines below ask single cells again",
        checks=_checks(bad, ()),
    )


def _evidence(
    cells: Iterable[Cell], telling: Sequence[str], evidence: Evidence
) -> tuple[str, ...]:
    """Count what fails, and show a cell of a few rules, the telling ones first."""
    ordered = sorted(cells, key=lambda c: (c.rule not in telling, c.check))
    first = {c.rule: c for c in reversed(ordered)}
    shown = [c for c in reversed(first.values()) if c.rule != RUNS]
    lines = [f"{c.rule}: {describe(c.seen)}" for c in shown[:MOST_SHOWN]]
    lines += [
        f"{c.seen.probe.target} does not run: {c.seen.detail}"
        for c in ordered
        if c.rule == RUNS
    ][:MOST_SHOWN]
    counted = sum(c.rule != RUNS for c in ordered)
    if counted:
        lines.insert(0, f"{counted} cells of {len(shown)} rules")
    asked = dict.fromkeys(filter(None, map(trace, ordered)))
    traced = ((q, evidence[q].values) for q in asked if q in evidence)
    lines += [_way(*one) for one in traced if one[1]][:1]
    return tuple(lines)


def _way(question: Question, hops: Sequence[str]) -> str:
    """Say how far packets get."""
    last = max((n for n, hop in enumerate(hops, 1) if hop != "*"), default=0)
    end = () if hops[-1:] == (question.thing,) else ("nobody",)
    way = ", then ".join((*hops[:last], *end))
    return f"traced from {question.node} to {question.thing}: {way}"


def _checks(cells: Iterable[Cell], telling: Sequence[str]) -> tuple[str, ...]:
    ordered = sorted({(c.rule not in telling, c.check) for c in cells if c.check})
    return tuple(check for _, check in ordered)


def trace(cell: Cell) -> Question | None:
    """Ask where the packets of a cell end, between Pods that do not reach others."""
    probe = cell.seen.probe
    lost = cell.seen.outcome in {Outcome.TIMED_OUT, Outcome.UNREACHABLE}
    pods = probe.source.role is Role.CLIENT and probe.target.kind is Kind.POD
    address = cell.seen.dialled.partition(" ")[0]
    if not (lost and pods and address and cell.source != cell.target):
        return None
    return Question(Look.TRACE, cell.source, address)
