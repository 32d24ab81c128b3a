"""How the benchmark judges what a run said of a fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.benchmark import AT_ONCE, BENCHMARK, CONFUSABLE, LIKE_THEM
from faults.catalogue.network import HAIRPIN_OFF
from recordings import real

from benchmarks.faults.__main__ import chosen, options
from benchmarks.faults.document import document, read, table
from benchmarks.faults.run import Healthy, Results
from benchmarks.faults.scoring import Score, alarms, confused, score
from pytest_k8snet.report.schema import FindingDocument, Report

DOCUMENT = Path(__file__).parents[1] / "docs" / "faults.md"
RECORDED = real("healthy").report
FIGURES = RECORDED.figures.model_copy(update={"total": 12.3})
WELL = RECORDED.model_copy(update={"figures": FIGURES})
PREFIX = WELL.environment.context.removeprefix("k8snet-")


def broken(
    *rules: str, cause: str = "", node: str = "worker2", confidence: str = "consistent"
) -> Report:
    """Give a run in which some rules fail, with a finding that blames a Node."""
    checks = [
        c.model_copy(update={"result": "fail"} if c.rule in rules else {})
        for c in WELL.checks
    ]
    finding = FindingDocument(
        cause=cause,
        layer="",
        confidence=confidence,
        sentence="",
        nodes=(f"{PREFIX}-{node}",),
    )
    findings = [finding] if cause else []
    return WELL.model_copy(update={"checks": checks, "findings": findings})


def scored(report: Report) -> Score:
    return score(HAIRPIN_OFF, report, report.findings, report.findings)


def test_of_every_fault_of_the_benchmark_something_is_expected() -> None:
    given = options().parse_args([])
    ids = [*BENCHMARK, *LIKE_THEM]

    assert [one.fault.id for one in chosen(ids, given)] == ids
    assert len(BENCHMARK) == 25


@pytest.mark.parametrize("ids", AT_ONCE, ids="+".join)
def test_faults_that_are_made_at_once_are_on_different_nodes_of_one_cluster(
    ids: tuple[str, ...],
) -> None:
    faults = [one.fault for one in chosen(ids, options().parse_args([]))]

    assert len({fault.cluster for fault in faults}) == 1
    assert len({fault.nodes for fault in faults}) == len(faults)


def test_the_document_has_a_row_for_each_that_was_made() -> None:
    known = DOCUMENT.read_text(encoding="utf-8")

    assert {line.fault for line in read(known)} <= {*BENCHMARK, *LIKE_THEM}
    assert document(known, []) == known


def test_a_fault_is_detected_when_all_that_it_breaks_is_red_and_nothing_else() -> None:
    seen = scored(broken("SERVICE-HAIRPIN", cause="hairpin-off"))
    blind = scored(WELL)
    too_much = scored(broken("SERVICE-HAIRPIN", "POD-TO-POD"))

    assert (seen.detected, seen.clean, seen.right) == (True, True, True)
    assert seen.said == seen.wanted == "hairpin-off worker2"
    assert seen.red == {"SERVICE-HAIRPIN": 4}
    assert (blind.detected, blind.missed) == (False, ("SERVICE-HAIRPIN",))
    assert (too_much.clean, too_much.unexpected) == (False, ("POD-TO-POD",))


@pytest.mark.parametrize(
    ("cause", "node"),
    [("", "worker2"), ("hairpin-off", "worker"), ("masq-pod-to-pod", "worker2")],
)
def test_a_finding_is_right_only_with_the_cause_and_the_node(
    cause: str, node: str
) -> None:
    assert not scored(broken("SERVICE-HAIRPIN", cause=cause, node=node)).right


def test_a_cluster_that_is_well_may_only_be_said_to_work_as_configured() -> None:
    configured = broken(
        "POD-PING", cause="icmp-filtered", confidence="works as configured"
    )
    blamed = broken("POD-PING", cause="masq-pod-to-pod")

    assert alarms(WELL) == []
    assert alarms(configured, {"POD-PING"}) == []
    assert alarms(configured) == ["POD-PING failed"]
    assert alarms(blamed, {"POD-PING"}) == ["blamed masq-pod-to-pod worker2"]


def test_a_set_of_similar_faults_is_scored_by_itself() -> None:
    first, *others = CONFUSABLE[0]
    seen = scored(broken("SERVICE-HAIRPIN", cause="hairpin-off"))

    assert confused([seen], [("hairpin-off", "link-lossy")]) == ["1/1 hairpin-off"]
    assert confused([seen], [(first, *others)]) == []


def test_the_table_has_totals_and_every_miss() -> None:
    results = Results(
        scores=[scored(broken("SERVICE-HAIRPIN", cause="hairpin-off")), scored(WELL)],
        healthy=[
            Healthy("three-node", "", 8.2, []),
            Healthy("ipv4", "x", 9.0, ["y failed"]),
        ],
        problems={"link-lossy": "no such link"},
    )

    lines = table(results).splitlines()

    assert "detected: 1/2" in lines
    assert "first finding right: 1/2" in lines
    assert "without a look into Nodes: 1/2" in lines
    assert "  not red: SERVICE-HAIRPIN" in lines
    assert "slowest on three-node: 12.3 s, 1.50 x the healthy median 8.2 s" in lines
    assert "link-lossy: no such link" in lines
    assert "healthy runs and controls with an alarm: 1/2" in lines
    assert "  ipv4 x: y failed" in lines


def test_what_was_seen_is_put_beside_what_was_seen_before() -> None:
    seen = scored(broken("SERVICE-HAIRPIN", cause="hairpin-off"))
    before = "| `coredns-one-replica-bad` | a | b | c | yes | yes | 3 |"

    text = document(f"{before}\n| `gone` | a | b | c | yes | 3 |\n", [seen])

    assert [line.fault for line in read(text)] == [
        "hairpin-off",
        "coredns-one-replica-bad",
    ]
    assert before in text.splitlines()
    assert (
        "| `hairpin-off` | A Node's Pods cannot reach themselves through their own "
        "Service. | SERVICE-HAIRPIN 4 | hairpin-off worker2 | yes | yes | 12 |"
    ) in text.splitlines()
    assert document(text, []) == text
