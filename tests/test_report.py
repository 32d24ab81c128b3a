"""The same results for people and for programs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from scenes import DUAL, facts, plan_of, reply_of, scene, seen, spec

from pytest_k8snet import wire
from pytest_k8snet.model import Node, Observation, Outcome, Word
from pytest_k8snet.plan import checks
from pytest_k8snet.plugin import MARKERS
from pytest_k8snet.report.document import cells, check_document, document
from pytest_k8snet.report.schema import SCHEMA_VERSION, Report
from pytest_k8snet.report.terminal import AREAS, header, plan_text, summary
from pytest_k8snet.result import Result, conclude, inconclusive, not_applicable
from pytest_k8snet.rules import RULES

ON = scene(facts(3, DUAL))
PLAN = plan_of(ON.facts)
PLANS = {p.check.id: p for p in PLAN.checks}
FIGURES: dict[str, Any] = {
    "total": 7.25,
    "phases": {"create": 0.5, "probe": 1.25},
    "settle": 0.75,
    "unsettled": 0,
    "probes": 100,
    "api_requests": 20,
    "controller_rss_mib": 61.4,
}


def dead(one: Observation) -> Observation:
    return replace(one, outcome=Outcome.TIMED_OUT, phase="connect", answered_by="")


def result(check: str, *, lost: str = "", deviation: str = "") -> Result:
    """Judge a check of which the probes to one Node are lost."""
    planned = PLANS[check]
    right = [seen(p, ON, reply_of(p, ON)) for p in planned.probes]
    told = tuple(dead(o) if o.probe.target.node == lost else o for o in right)
    made = conclude(planned.check, [], told, ON)
    if deviation:
        return replace(made, word=Word.KNOWN_DEVIATION, reason=deviation)
    return made


PASSED = result("POD-TO-POD-tcp-ipv4-same-node")
FAILED = result("POD-TO-POD-tcp-ipv4-cross-node", lost="b")
UNKNOWN = inconclusive(PLANS["NODE-READY"].check, "the server is gone")
LEFT_OUT = not_applicable(PLANS["HOSTPORT-tcp-ipv4"].check, "no host network")


def text(*results: Result, **more: Any) -> str:
    given = {"problems": {}} | more
    figures = FIGURES | given.pop("figures", {})
    return summary(results, figures, **given)


# -------------------------------------------------------------------------- for people


def test_every_area_has_a_name() -> None:
    assert set(AREAS) == {marker.partition(":")[0] for marker in MARKERS}


def test_the_header_names_the_cluster_and_where_its_context_was_said() -> None:
    assert header(facts(2), "$K8SNET_CONTEXT") == [
        "k8snet: context paper (from $K8SNET_CONTEXT), https://192.0.2.1:6443, v1.37.0",
        "k8snet: network plugin unknown, unknown, ipv4",
        "k8snet: 2 Nodes: a, b",
    ]
    assert (
        "(from k8snet_context in x.ini)"
        in header(facts(1), "k8snet_context in x.ini")[0]
    )
    assert "from" not in header(facts(1), "--k8s-context")[0]


def test_the_header_of_a_large_cluster_stays_short() -> None:
    lines = header(facts(40, DUAL, left_out=(Node("z", problem="NotReady"),)))

    assert lines[1:] == [
        "k8snet: network plugin unknown, unknown, ipv4 and ipv6",
        "k8snet: 40 Nodes: a, b, c, d and 36 more",
        "k8snet: left out: z: NotReady",
    ]


def test_the_summary_has_a_row_for_each_area_that_was_asked() -> None:
    lines = text(PASSED, FAILED, UNKNOWN, LEFT_OUT).splitlines()
    rows = {line.split("  ")[0]: line.split()[-8:] for line in lines[1:4]}

    assert lines[0].split()[:4] == ["area", "pass", "fail", "inconclusive"]
    assert rows["Pod to Pod"][-8:] == ["1", "1", "0", "0", "0", "7/9", "0", "ms"]
    assert rows["external to Service"][:4] == ["0", "0", "0", "1"]
    assert rows["control plane"][:4] == ["0", "0", "1", "0"]


def test_a_failure_is_placed_with_an_example_and_a_command() -> None:
    said = text(FAILED)

    assert "\nfailed to b:\n  POD-TO-POD-tcp-ipv4-cross-node  2 of 6 cells\n" in said
    assert "  for example  client@a -> server@b tcp/ipv4 [10.244.1.4 8080]" in said
    assert "  reproduce    kubectl --context paper" in said


def test_many_failures_of_one_place_are_counted() -> None:
    many = [result(c, lost="b") for c in PLANS if c.startswith("SERVICE-CLUSTER-IP")]
    broken = [replace(one, reproduce="") for one in many * 4 if one.word is Word.FAIL]

    said = text(*broken)

    crossing = [one for one in broken if one.failed_cells > 1]
    assert f"  ... and {len(crossing) - 12} more checks" in said
    assert "reproduce" not in said


def test_what_does_not_run_is_named_before_what_that_leaves_unknown() -> None:
    others = [replace(UNKNOWN, check=p.check) for p in PLAN.checks[:2]]

    said = text(UNKNOWN, *others, problems={"server@b": "no image"})

    assert said.index("not running: server@b: no image") < said.index("inconclusive: ")
    assert "inconclusive: NODE-READY and 2 more: the server is gone" in said


def test_the_summary_ends_with_what_it_took() -> None:
    assert text(PASSED).endswith(
        "settled in 0.75 s, 7.2 s in all (create 0.5 s, probe 1.2 s)\n"
        "100 probes, 20 API requests, 61 MiB\n"
    )
    unsettled = text(PASSED, figures={"unsettled": 3})
    assert "settled in 0.75 s but for 3 cells" in unsettled


def test_colour_is_used_only_where_it_is_wanted() -> None:
    assert "\x1b[31m" in text(FAILED, UNKNOWN, colour=True)
    assert "\x1b" not in text(FAILED, UNKNOWN)


def test_the_plan_names_everything_that_would_be_made() -> None:
    made = plan_of(facts(2), checks([r for r in RULES if r.mark != "policy"]))
    said = plan_text(made, spec()).splitlines()

    assert said[1].endswith(" over 4 ordered pairs of Nodes")
    assert said[2] == ("namespaces  k8snet-r1-client, k8snet-r1-host, k8snet-r1-server")
    assert said[3].split()[1:5] == ["2", "client,", "2", "edge,"]
    assert said[5].startswith("Services    server x 2, ")
    assert "kind: ClusterRole" in said
    assert said[-1].startswith("not applicable: ")


def test_the_plan_of_little_says_that_it_is_little() -> None:
    rule = next(rule for rule in RULES if rule.id == "NODE-READY")

    said = plan_text(plan_of(facts(2), checks([rule])), spec())

    assert "Pods        none\n" in said
    assert "Services    none\n" in said
    assert "policies    none\n" in said


def test_the_plan_names_the_policies_that_would_be_made() -> None:
    rule = next(rule for rule in RULES if rule.id == "NP-ADDITIVE")

    said = plan_text(plan_of(facts(2), checks([rule])), spec())

    assert "policies    deny-ingress, union-friends, union-clients\n" in said


# ------------------------------------------------------------------------ for programs


def test_the_document_says_what_was_tested_and_what_became_of_it() -> None:
    results = (UNKNOWN, PASSED, FAILED, LEFT_OUT)

    made = document(ON.facts, PLAN, results, FIGURES, started=0.0)

    assert made.schema_version == SCHEMA_VERSION
    assert made.started == "1970-01-01T00:00:00+00:00"
    assert made.coverage.ordered_pairs == 9
    assert made.coverage.checks == len(PLAN.checks)
    assert made.results == {
        "fail": 1,
        "inconclusive": 1,
        "not-applicable": 1,
        "pass": 1,
    }
    assert [c.id for c in made.checks] == sorted(r.check.id for r in results)
    assert made.environment.families == ["ipv4", "ipv6"]
    assert [n.name for n in made.environment.nodes] == ["a", "b", "c"]


def test_the_document_survives_the_way_through_json() -> None:
    made = document(ON.facts, PLAN, (FAILED, PASSED), FIGURES, started=0.0)

    assert Report.model_validate_json(made.model_dump_json()) == made


def test_the_schema_knows_no_field_that_is_not_its_own() -> None:
    made = document(ON.facts, PLAN, (), FIGURES, started=0.0).model_dump()

    with pytest.raises(ValidationError):
        Report.model_validate(made | {"extra": 1})


def test_a_failed_check_has_its_wrong_cells_explained() -> None:
    made = check_document(FAILED)

    assert (made.result, made.cells_passed, made.cells_total) == ("fail", 4, 6)
    assert (made.protocol, made.family, made.path) == ("tcp", "ipv4", "cross-node")
    wrong = [cell for cell in made.cells if cell.conforms is False]
    assert [(cell.source, cell.target) for cell in wrong] == [
        ("client@a", "server@b"),
        ("client@c", "server@b"),
    ]
    assert wrong[0].detail.endswith("timed out (connect)")
    assert {c.detail for c in made.cells if c.conforms} == {""}
    assert made.reproduce.startswith("kubectl ")


def test_what_was_not_judged_is_neither_right_nor_wrong() -> None:
    planned = PLANS["POD-TO-POD-tcp-ipv4-cross-node"]
    holes = tuple(wire.not_probed(p, ON, "gone") for p in planned.probes)

    made = check_document(conclude(planned.check, [], holes, ON))

    assert {cell.conforms for cell in made.cells} == {None}
    assert made.cells_passed == 0
    assert "not probed (gone)" in made.cells[0].detail


def test_a_hole_beside_a_violation_stays_a_hole() -> None:
    planned = PLANS["POD-TO-POD-tcp-ipv4-cross-node"]
    first, second, *others = (seen(p, ON, reply_of(p, ON)) for p in planned.probes)
    hole = wire.not_probed(second.probe, ON, "gone")

    judged = conclude(planned.check, [], (dead(first), hole, *others), ON)
    found = [cell.conforms for cell in cells(judged, judged=True)]

    assert judged.word is Word.FAIL
    assert found == [False, None, *[True] * len(others)]


def test_the_attempts_of_a_cell_are_counted_and_the_slowest_is_told() -> None:
    passed = result("SERVICE-ALL-BACKENDS-tcp-ipv4")
    slow = replace(passed.seen[0], seconds=0.1234567, after=0.12345)

    made = check_document(replace(passed, seen=(slow, *passed.seen[1:])))

    assert made.cells[0].attempts == passed.seen[0].probe.ask.count
    assert made.cells[0].milliseconds == 123.46
