"""What has to work before anything is judged, and what has a turn of its own."""

from __future__ import annotations

import pytest
from scenes import DUAL, facts, plan_of, scene

from pytest_k8snet.model import LEADS_IN, Kind, Op
from pytest_k8snet.plan import checks
from pytest_k8snet.rules import RULES
from pytest_k8snet.rules.entry import PROMISED
from pytest_k8snet.schedule import awaited, gate, is_quick, is_rough, leads_in
from pytest_k8snet.verdict import is_answered, is_resolved
from pytest_k8snet.wire import request

ON = scene(facts(3, DUAL))
PLANS = plan_of(ON.facts).checks
ENTERING = [plan for plan in PLANS if leads_in(plan)]
ADDRESS = frozenset({"address"})


def test_only_what_leads_in_waits_for_an_address() -> None:
    areas = {plan.check.rule.id.partition("-")[0] for plan in ENTERING}

    assert areas == {"LOADBALANCER", "INGRESS", "GATEWAY"}
    assert not any(map(is_quick, ENTERING))
    others = [plan for plan in PLANS if plan not in ENTERING]
    assert not any(p.target.kind in LEADS_IN for plan in others for p in plan.probes)


def test_the_api_has_to_name_an_address_of_each_and_what_a_gateway_promises() -> None:
    wanted = awaited(ENTERING, ON)

    gateway = wanted.pop((Kind.GATEWAY, "gate"))
    assert gateway == frozenset(PROMISED)
    assert set(wanted.values()) == {ADDRESS}
    assert {name for kind, name in wanted if kind is Kind.LOAD_BALANCER} == {
        "balanced-tcp",
        "balanced-udp",
        "balanced-local-tcp",
        "for-others-tcp",
        "for-outside-tcp",
    }


def test_only_what_is_planned_is_waited_for() -> None:
    some = plan_of(ON.facts, checks([r for r in RULES if r.id == "INGRESS-TLS"]))

    assert awaited(some.checks, ON) == {(Kind.INGRESS, "secure"): ADDRESS}


def test_routes_have_to_lead_somewhere_before_anything_is_judged() -> None:
    wanted = gate(ENTERING)

    assert {probe.ask.op for probe in wanted} == {
        *(Op.CONNECT, Op.FETCH, Op.TLS, Op.HTTP),
    }
    assert not any(probe.ask.blocked for probe in wanted)


@pytest.mark.parametrize("rule", ["CONTROL-PLANE-TO-POD", "NODEPORT-HEALTH-CHECK"])
def test_who_has_to_hear_of_endpoints_is_given_the_time_to(rule: str) -> None:
    plans = [plan for plan in PLANS if plan.check.rule.id == rule]
    wanted = gate(plans)

    assert {probe.ask.timeout for probe in wanted} == {"poll"}
    assert set(wanted.values()) == {is_answered}
    assert {(p.source, p.target, p.family) for p in wanted} == {
        (p.source, p.target, p.family) for plan in plans for p in plan.probes
    }


def test_nobody_asks_for_the_name_of_an_address_before_that_name_resolves() -> None:
    """A cluster DNS may remember for long what it said too early."""
    reverse = [plan for plan in PLANS if plan.check.rule.id == "DNS-PTR"]

    wanted = gate(reverse)

    asked = [request(probe, ON) for probe in wanted]
    names = {
        name
        for plan in reverse
        for probe in plan.probes
        if probe.ask.expect
        for name in probe.ask.expect(ON, probe)
    }
    assert {question["name"] for question in asked} == names
    assert {question["type"] for question in asked} == {"A", "AAAA"}
    assert not any("reverse" in question for question in asked)
    assert set(wanted.values()) == {is_resolved}


def test_what_leaves_less_of_a_pod_for_others_comes_after_something_was_seen() -> None:
    """Until then its rule goes on beside those that need all of the Pod."""
    rough = {
        plan.check.rule.id: [is_rough(step) for step, _ in plan.steps]
        for plan in PLANS
        if any(is_rough(step) for step, _ in plan.steps)
    }

    assert rough.keys() >= {"NP-DELETE", "POD-ADDRESS-RELEASED", "POD-TERMINATING"}
    assert not any(steps[0] for steps in rough.values())
