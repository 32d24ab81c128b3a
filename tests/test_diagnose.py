"""The causes, found in what runs saw of faults: on paper, and as recorded."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from observations import good, masqueraded, served, silent
from recordings import of_fault
from scenes import DUAL, facts, plan_of, scene

from pytest_k8snet.diagnose import CAUSES, Confidence, Finding, diagnose
from pytest_k8snet.diagnose.matrix import RUNS
from pytest_k8snet.model import (
    LEADS_IN,
    Family,
    Feature,
    Kind,
    Observation,
    Op,
    Outcome,
    Role,
    Word,
)
from pytest_k8snet.report.recording import facts as recorded_facts
from pytest_k8snet.result import conclude
from pytest_k8snet.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_k8snet.plan import Plan
    from pytest_k8snet.result import Result

LEADS = {Feature.LOAD_BALANCER, Feature.INGRESS, Feature.GATEWAY}
FACTS = facts(3, DUAL, features=frozenset(LEADS), given={})
POLICED = facts(3, DUAL, features=frozenset({Feature.NETWORK_POLICY}), given={})
PLAN = plan_of(FACTS)
A, B, C = (node.name for node in FACTS.nodes)
LARGE = {Op.BULK, Op.FULL_SIZE}

Fault = tuple["Callable[[Observation], bool]", "Callable[[Observation], Observation]"]


def ends(seen: Observation) -> tuple[str, str]:
    """Name the Nodes that a connection really joins."""
    who = seen.answered_by.partition("@")[2].partition("/")[0]
    return seen.probe.source.node, who or seen.probe.target.node


def crosses(seen: Observation, node: str) -> bool:
    source, target = ends(seen)
    return source != target and node in {source, target}


def run(*faults: Fault, plan: Plan = PLAN) -> list[Result]:
    """Give what a run concludes on a cluster with these faults."""

    def seen(right: Observation) -> Observation:
        for hits, spoil in faults:
            works = right.outcome in {Outcome.CONNECTED, Outcome.ANSWERED}
            if (works or right.probe.ask.blocked) and hits(right):
                return spoil(right)
        return right

    results = []
    on = scene(plan.facts)
    for planned in plan.checks:
        asked = (*planned.probes, *(p for _, probes in planned.steps for p in probes))
        told = tuple(seen(good(planned, probe, on)) for probe in asked)
        results.append(conclude(planned.check, (), told, on))
    return results


def on_the_way(one: Observation) -> bool:
    """Whether it is IPv4 between a and b, and needs the route from a to b's Pods."""
    own = one.probe.source.role, one.probe.target.name
    spared = own[0] is Role.HOST and ends(one) == (B, A)
    spared |= own[1] == Role.HOST and ends(one) == (A, B)
    return one.probe.family is Family.IPV4 and set(ends(one)) == {A, B} and not spared


ROUTE: Fault = (on_the_way, silent)
HAIRPIN: Fault = (
    lambda o: (
        o.probe.source.role is Role.SERVER
        and o.probe.ask.op is Op.CONNECT
        and ends(o) == (B, B)
    ),
    silent,
)
MASQUERADE: Fault = (
    lambda o: (
        o.probe.source.role is Role.CLIENT
        and ends(o)[0] == B != ends(o)[1]
        and o.outcome is Outcome.CONNECTED
    ),
    masqueraded,
)
NO_SERVICES: Fault = (
    lambda o: (
        o.probe.source.node == C and o.probe.target.kind in {Kind.CLUSTER_IP, Kind.NAME}
    ),
    silent,
)
LARGE_LOST: Fault = (lambda o: o.probe.ask.op in LARGE and crosses(o, C), silent)
DNS_REPLICA: Fault = (
    lambda o: o.probe.target.name == FACTS.dns_replicas[0],
    silent,
)


def unenforced(one: Observation) -> bool:
    """Whether a policy of a Pod on b forbids it."""
    own = one.probe.source if one.probe.source.role is Role.CONFINED else None
    return one.probe.ask.blocked and (own or one.probe.target).node == B


UNENFORCED: Fault = (unenforced, served)


def refused(right: Observation) -> Observation:
    return replace(silent(right), outcome=Outcome.REFUSED)


def unverified(right: Observation) -> Observation:
    return replace(right, outcome=Outcome.ANSWERED_WRONGLY, phase="tls")


def leads_in(
    *kinds: Kind, by: Role | None = None, op: Op | None = None
) -> Callable[[Observation], bool]:
    """Hit what goes by what leads in, from one role or by one operation."""
    return lambda o: (
        o.probe.target.kind in (kinds or LEADS_IN)
        and by in {None, o.probe.source.role}
        and op in {None, o.probe.ask.op}
    )


HTTP = (Kind.INGRESS, Kind.GATEWAY)
NO_ADDRESS: Fault = (leads_in(Kind.LOAD_BALANCER, by=Role.API), silent)
UNANNOUNCED: Fault = (leads_in(by=Role.OUTSIDE), silent)
NO_CONTROLLER: Fault = (leads_in(*HTTP, by=Role.API), silent)
NOT_SERVED: Fault = (
    lambda o: (
        leads_in(*HTTP)(o)
        and o.probe.source.role is not Role.API
        and o.probe.target.port == "http"
    ),
    refused,
)
EXPIRED: Fault = (
    leads_in(op=Op.TLS),
    lambda o: replace(unverified(o), detail="certificate has expired"),
)
UNTRUSTED: Fault = (leads_in(op=Op.TLS), unverified)


@pytest.mark.parametrize(
    ("fault", "cause", "nodes", "thing"),
    [
        (ROUTE, "route-missing-podcidr", (A,), ""),
        (HAIRPIN, "hairpin-off", (B,), ""),
        (MASQUERADE, "masq-pod-to-pod", (B,), ""),
        (NO_SERVICES, "kube-proxy-rules-missing", (C,), ""),
        (LARGE_LOST, "mtu-path-blackhole", (C,), ""),
        (DNS_REPLICA, "coredns-one-replica-bad", (), FACTS.dns_replicas[0]),
        (NO_ADDRESS, "loadbalancer-no-address", (), ""),
        (UNANNOUNCED, "loadbalancer-not-announced", (), ""),
        (NO_CONTROLLER, "entry-controller-gone", (), ""),
        (NOT_SERVED, "entry-not-served", (), ""),
        (UNTRUSTED, "certificate-not-trusted", (), ""),
        (EXPIRED, "ingress-tls-bad-cert", (), ""),
    ],
)
def test_one_fault_gives_one_finding(
    fault: Fault, cause: str, nodes: tuple[str, ...], thing: str
) -> None:
    (found,) = diagnose(FACTS, run(fault))

    assert (found.cause, found.nodes, found.thing) == (cause, nodes, thing)
    assert found.evidence[0].endswith("rules")


def test_a_node_that_enforces_no_policies_is_named() -> None:
    (found,) = diagnose(POLICED, run(UNENFORCED, plan=plan_of(POLICED)))

    assert (found.cause, found.nodes) == ("netpol-not-enforced", (B,))


@pytest.mark.parametrize(
    ("fault", "cause", "nodes"),
    [
        ("route-missing-podcidr", "route-missing-podcidr", ("three-worker",)),
        ("kube-proxy-rules-missing", "kube-proxy-rules-missing", ("three-worker2",)),
        ("mtu-path-blackhole", "mtu-path-blackhole", ("three-worker2",)),
        ("coredns-one-replica-bad", "coredns-one-replica-bad", ()),
        ("pod-traffic-dropped", "nft-hidden-drop", ("three-worker2",)),
        ("node-to-local-pod-blocked", "node-to-local-pod-blocked", ("three-worker2",)),
        ("netpol-not-enforced", "netpol-not-enforced", ()),
    ],
)
def test_the_cause_of_what_was_recorded_is_found(
    fault: str, cause: str, nodes: tuple[str, ...]
) -> None:
    recording = of_fault(fault)
    failed = {r.check.id for r in recording.results if r.word is Word.FAIL}

    (found,) = diagnose(recorded_facts(recording.report.environment), recording.results)

    assert (found.cause, found.nodes) == (cause, nodes)
    assert set(found.checks) == failed


def test_faults_that_were_made_together_are_told_apart() -> None:
    recording = of_fault("several-at-once")

    found = diagnose(recorded_facts(recording.report.environment), recording.results)

    assert {(f.cause, f.nodes) for f in found} == {
        ("masq-pod-to-pod", ("three-worker2",)),
        ("hairpin-off", ("three-worker2",)),
        ("icmp-filtered", ("three-worker2",)),
        ("hostport-portmap-missing", ("three-worker2",)),
        ("kubelet-clusterdns-wrong-one-node", ("three-worker",)),
        ("podcidr-duplicate-two-nodes", ()),
        ("unknown", ()),
    }


def test_a_finding_names_the_only_traffic_that_is_hit() -> None:
    (found,) = diagnose(FACTS, run(ROUTE))

    assert found.sentence == f"{A} has no route to the Pods of {B} (IPv4 only)."
    assert "10.244" in found.next


def test_two_faults_on_two_nodes_give_two_findings() -> None:
    found = diagnose(FACTS, run(HAIRPIN, LARGE_LOST))

    assert {(f.cause, f.nodes) for f in found} == {
        ("hairpin-off", (B,)),
        ("mtu-path-blackhole", (C,)),
    }


def test_nothing_is_found_where_nothing_fails() -> None:
    assert diagnose(FACTS, run()) == ()


def test_what_no_cause_fits_is_unknown_and_names_nobody() -> None:
    odd: Fault = (
        lambda o: o.probe.ask.op is Op.BIND and o.probe.source.node == A,
        silent,
    )

    (found,) = diagnose(FACTS, run(odd))

    assert (found.cause, found.nodes) == ("unknown", ())
    assert {check[:22] for check in found.checks} == {"LOCALHOST-SHARED-PORTS"}


def test_every_failing_check_is_explained_by_a_finding() -> None:
    results = run(ROUTE, HAIRPIN, DNS_REPLICA)
    failed = {r.check.id for r in results if r.verdict.violations}

    found = diagnose(FACTS, results)

    assert {check for one in found for check in one.checks} == failed


def test_ids_are_unique_and_what_is_filled_in_is_known() -> None:
    words = dict.fromkeys(("node", "peer", "peer_range", "thing", "only"), "x")

    assert set(Counter((c.id, c.scope) for c in CAUSES).values()) == {1}
    for cause in CAUSES:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", cause.id)
        assert cause.says.format(**words).endswith(".")
        assert cause.next.format(**words)
        assert cause.link.startswith("https://")


def test_causes_speak_of_rules_that_there_are() -> None:
    known = {rule.id for rule in RULES} | {RUNS}

    assert {r for c in CAUSES for s in c.signs for r in s.rules} <= known
    for cause in CAUSES:
        for start in cause.breaks:
            assert any(rule.startswith(start) for rule in known), (cause.id, start)


def test_who_fits_as_well_is_named_beside_it() -> None:
    blocked: Fault = (
        lambda o: (
            crosses(o, B)
            and not (o.probe.source.role is Role.HOST and ends(o)[0] == B)
            and o.probe.target.name != Role.HOST
        ),
        silent,
    )

    found: Finding = diagnose(FACTS, run(blocked))[0]

    assert (found.cause, found.nodes) == ("forward-policy-drop", (B,))
    assert found.confidence is Confidence.CONSISTENT
