"""What the terminal shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recordings import FIGURES
from scenes import DUAL, facts, plan_of, reply_of, scene, seen, spec

from pytest_k8snet.model import Node, Observation, Outcome, Word
from pytest_k8snet.plan import checks
from pytest_k8snet.plugin import MARKERS
from pytest_k8snet.report.areas import AREAS
from pytest_k8snet.report.terminal import header, plan_text, summary
from pytest_k8snet.result import Result, conclude, inconclusive, not_applicable
from pytest_k8snet.rules import RULES

ON = scene(facts(3, DUAL))
PLAN = plan_of(ON.facts)
PLANS = {p.check.id: p for p in PLAN.checks}


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
    assert "leading in  nothing\n" in said


def test_the_plan_says_when_nodes_may_be_inspected() -> None:
    plan = plan_of(facts(2), checks([r for r in RULES if r.id == "POD-TO-POD"]))
    line = "if it fails privileged Pods in k8snet-r1-inspect, one on each suspect Node"

    assert line in plan_text(plan, spec(), inspect=True).splitlines()
    assert line not in plan_text(plan, spec()).splitlines()


def test_the_plan_names_what_may_cost_money() -> None:
    wanted = [r for r in RULES if r.id in {"LOADBALANCER-REACH", "INGRESS-TLS"}]

    said = plan_text(plan_of(facts(2), checks(wanted)), spec())

    balanced = "LoadBalancer balanced-tcp, LoadBalancer balanced-udp"
    assert f"leading in  {balanced}, Ingress secure\n" in said
    assert "Services    front, back\n" in said


def test_the_plan_names_the_policies_that_would_be_made() -> None:
    rule = next(rule for rule in RULES if rule.id == "NP-ADDITIVE")

    said = plan_text(plan_of(facts(2), checks([rule])), spec())

    assert "policies    deny-ingress, union-friends, union-clients\n" in said
