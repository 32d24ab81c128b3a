"""From a run to the report.json document. Pure."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pytest_k8snet.model import Outcome, Word
from pytest_k8snet.report.schema import (
    Cell,
    CheckDocument,
    Coverage,
    Environment,
    Figures,
    NodeDocument,
    Report,
)
from pytest_k8snet.result import by_cell, describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_k8snet.model import ClusterFacts, Observation
    from pytest_k8snet.plan import Plan
    from pytest_k8snet.result import Result


def document(
    facts: ClusterFacts,
    plan: Plan,
    results: Sequence[Result],
    figures: dict[str, Any],
    *,
    started: float,
) -> Report:
    """Make the document.

    Args:
        facts: what was tested.
        plan: what was to be asked.
        results: what became of it.
        figures: as ``Figures``.
        started: seconds since the epoch.

    """
    nodes = len(facts.nodes)
    return Report(
        started=datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        environment=environment(facts),
        coverage=Coverage(
            nodes=nodes,
            ordered_pairs=nodes * nodes,
            checks=len(plan.checks),
            probes_planned=plan.probe_count,
        ),
        figures=Figures(**figures),
        results=dict(sorted(Counter(str(r.word) for r in results).items())),
        checks=sorted((check_document(r) for r in results), key=lambda c: c.id),
    )


def environment(facts: ClusterFacts) -> Environment:
    """Describe what was tested."""
    return Environment(
        context=facts.context,
        server=facts.server,
        kubernetes=facts.version,
        network_plugin=facts.network_plugin,
        service_proxy=facts.service_proxy,
        families=[str(f) for f in facts.families],
        features=sorted(str(f) for f in facts.features),
        domain=facts.domain,
        nodes=[
            NodeDocument(
                name=n.name,
                addresses=list(n.addresses),
                pod_cidrs=list(n.pod_cidrs),
                kubelet_version=n.kubelet_version,
            )
            for n in facts.nodes
        ],
        skipped_nodes={n.name: n.problem for n in facts.left_out},
    )


def check_document(result: Result) -> CheckDocument:
    """Describe one check and its cells."""
    check, rule = result.check, result.check.rule
    judged = result.word in {Word.PASS, Word.FAIL, Word.KNOWN_DEVIATION}
    return CheckDocument(
        id=check.id,
        rule=rule.id,
        area=rule.mark,
        level=str(rule.level),
        requirement=rule.requirement,
        spec=rule.spec,
        protocol=check.protocol and str(check.protocol),
        family=check.family and str(check.family),
        path=check.path and str(check.path),
        result=str(result.word),
        reason=result.reason,
        cells_passed=result.cells - result.failed_cells if judged else 0,
        cells_total=result.cells,
        cells=sorted(cells(result, judged=judged), key=lambda c: (c.source, c.target)),
        reproduce=result.reproduce,
    )


def cells(result: Result, *, judged: bool) -> Iterable[Cell]:
    """Describe the cells of a check, attempts together."""
    violations, unjudged = set(result.verdict.violations), set(result.verdict.unjudged)
    for attempts in by_cell(result.seen).values():
        bad = [o for o in attempts if o in violations]
        shown = bad[0] if bad else attempts[-1]
        known = judged and not any(o in unjudged for o in attempts)
        yield Cell(
            source=str(shown.probe.source),
            target=str(shown.probe.target),
            conforms=False if bad else (True if known else None),
            outcome=str(shown.outcome),
            attempts=len(attempts),
            milliseconds=round(max(o.seconds for o in attempts) * 1000, 2),
            detail=detail(shown, wrong=bool(bad)),
            after=shown.after and round(shown.after, 3),
        )


def detail(seen: Observation, *, wrong: bool) -> str:
    """Give the one line that explains a cell; "" when there is nothing to explain."""
    if wrong or seen.outcome is Outcome.NOT_PROBED:
        return describe(seen)
    return ""
