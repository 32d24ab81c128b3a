"""From a run to the report.json document. Pure."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pytest_k8snet.model import Word
from pytest_k8snet.report.packing import Packer, ranges
from pytest_k8snet.report.schema import (
    AnswerDocument,
    CheckDocument,
    Coverage,
    Environment,
    Figures,
    NodeDocument,
    Report,
    RuleDocument,
    SuiteDocument,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_k8snet.diagnose import Answer, Question
    from pytest_k8snet.model import ClusterFacts, Node, Rule
    from pytest_k8snet.plan import Plan
    from pytest_k8snet.result import Result


JUDGED = frozenset({Word.PASS, Word.FAIL, Word.KNOWN_DEVIATION})
LINE_BY_LINE = frozenset({"rules", "checks", "asks", "grids", "batches"})


def document(
    plan: Plan,
    results: Sequence[Result],
    figures: Mapping[str, Any],
    *,
    started: float,
    suite: SuiteDocument,
    problems: Mapping[str, str],
) -> Report:
    """Make the document, without findings, deviations and baseline.

    Args:
        plan: what was to be asked, and of what.
        results: what became of it.
        figures: as ``Figures``.
        started: seconds since the epoch.
        suite: what asked.
        problems: who did not run, and why.

    """
    facts, nodes, packer = plan.facts, len(plan.facts.nodes), Packer()
    ordered = sorted(results, key=lambda r: r.check.id)
    rules = {r.check.rule.id: r.check.rule for r in ordered}
    failed = {r.check.rule.id for r in ordered if r.word is Word.FAIL}
    return Report(
        started=datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        suite=suite,
        environment=environment(facts),
        coverage=Coverage(
            nodes=nodes,
            ordered_pairs=nodes * nodes,
            checks=len(plan.checks),
            probes_planned=plan.probe_count,
        ),
        figures=Figures(**figures),
        not_running=dict(sorted(problems.items())),
        results=dict(sorted(Counter(str(r.word) for r in results).items())),
        rules=[
            rule_document(rules[name], failed=name in failed) for name in sorted(rules)
        ],
        checks=[check_document(r, packer) for r in ordered],
        places=packer.places,
        texts=packer.texts,
        grids=packer.grids,
        asks=packer.asks,
        layouts=packer.layouts,
        batches=packer.batches,
    )


def environment(facts: ClusterFacts) -> Environment:
    """Describe what was tested."""
    return Environment(
        context=facts.context,
        server=facts.server,
        kubernetes=facts.version,
        network_plugin=facts.network_plugin,
        network_plugin_version=facts.network_plugin_version,
        service_proxy=facts.service_proxy,
        families=[str(f) for f in facts.families],
        features=sorted(str(f) for f in facts.features),
        domain=facts.domain,
        nodes=[node_document(n) for n in facts.nodes],
        left_out=[node_document(n) for n in facts.left_out],
        service_cidrs=list(facts.service_cidrs),
        dns_addresses=list(facts.dns_addresses),
        dns_replicas=list(facts.dns_replicas),
        api_addresses=list(facts.api_addresses),
        given=dict(facts.given),
    )


def node_document(node: Node) -> NodeDocument:
    """Describe a Node: the fields have the same names."""
    return NodeDocument(**vars(node))


def answer_document(question: Question, answer: Answer) -> AnswerDocument:
    """Describe something that was looked at."""
    return AnswerDocument(
        look=str(question.look),
        node=question.node,
        thing=question.thing,
        values=answer.values,
        problem=answer.problem,
    )


def rule_document(rule: Rule, *, failed: bool) -> RuleDocument:
    """Describe a rule; of one that failed, also what usually breaks it."""
    return RuleDocument(
        id=rule.id,
        area=rule.mark,
        level=str(rule.level),
        requirement=rule.requirement,
        spec=rule.spec,
        usually=rule.usually if failed else "",
    )


def check_document(result: Result, packer: Packer) -> CheckDocument:
    """Describe one check; what it saw goes into the packer."""
    check = result.check
    judged = result.word in JUDGED
    violations = set(map(id, result.verdict.violations))
    unjudged = set(map(id, result.verdict.unjudged))
    return CheckDocument(
        id=check.id,
        rule=check.rule.id,
        protocol=check.protocol and str(check.protocol),
        family=check.family and str(check.family),
        path=check.path and str(check.path),
        result=str(result.word),
        reason=result.reason,
        cells=(result.cells - result.failed_cells if judged else 0, result.cells),
        batches=packer.pack(result.seen),
        violations=ranges(i for i, o in enumerate(result.seen) if id(o) in violations),
        unjudged=ranges(i for i, o in enumerate(result.seen) if id(o) in unjudged),
        reproduce=result.reproduce,
    )


def text(report: Report) -> str:
    """Write the document: compact, a line for each rule, check and batch."""
    made = report.model_dump(mode="json", exclude_defaults=True)
    made = {"schema_version": report.schema_version} | made
    return "{\n" + ",\n".join(_entry(k, v) for k, v in made.items()) + "\n}\n"


def _entry(key: str, value: Any) -> str:
    if key in LINE_BY_LINE and value:
        lines = ",\n".join(map(_compact, value))
        return f"{_compact(key)}:[\n{lines}\n]"
    return f"{_compact(key)}:{_compact(value)}"


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
