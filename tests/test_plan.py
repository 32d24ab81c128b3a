"""What is asked from where, and what is left out for which reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scenes import DUAL, GIVEN, facts, plan_of

from pytest_k8snet.model import (
    Ask,
    Check,
    Family,
    Feature,
    Kind,
    Node,
    Op,
    PathKind,
    Profile,
    Protocol,
    Role,
    Rule,
    Spread,
    Target,
)
from pytest_k8snet.plan import (
    Limits,
    checks,
    in_profile,
    make_plan,
    nodes_of,
    probes,
    roles_of,
    uses_services,
)
from pytest_k8snet.rules import RULES
from pytest_k8snet.rules.pod_network import POD_TO_POD
from pytest_k8snet.verdict import all_connected

THREE = facts(3, left_out=(Node("z", problem="NotReady"),))
PAIRS = {f"{a}{b}" for a in "abc" for b in "abc"}


def asked(spread: Spread, path: PathKind | None = None, **more: object) -> list[str]:
    """Give the pairs of Nodes that an Ask of this spread goes between."""
    ask = Ask(Role.CLIENT, Op.CONNECT, Target(Kind.POD, Role.SERVER), spread)
    check = Check(POD_TO_POD, path=path)
    found = probes(replace(ask, **more), check, THREE)  # type: ignore[arg-type]
    return [p.source.node + p.target.node for p in found]


def reasons(selected: tuple[Check, ...], **more: object) -> dict[str, str]:
    """Give why checks do not apply to a cluster of three Nodes."""
    plan = plan_of(facts(3), selected, **more)
    return {check.id: why for check, why in plan.skipped}


def test_checks_are_the_same_whatever_the_cluster() -> None:
    rule = replace(POD_TO_POD, protocols=(Protocol.UDP,), paths=())

    assert [c.id for c in checks([rule])] == [
        "POD-TO-POD-udp-ipv4",
        "POD-TO-POD-udp-ipv6",
    ]


def test_pairs_are_every_node_with_every_node() -> None:
    assert set(asked(Spread.PAIRS)) == PAIRS
    assert asked(Spread.PAIRS, PathKind.SAME_NODE) == ["aa", "bb", "cc"]
    assert set(asked(Spread.PAIRS, PathKind.CROSS_NODE)) == PAIRS - {"aa", "bb", "cc"}


@pytest.mark.parametrize(
    ("spread", "nodes"),
    [
        (Spread.NODES, ["aa", "bb", "cc"]),
        (Spread.OWN, ["aa", "bb", "cc"]),
        (Spread.AT_FIRST, ["aa"]),
        (Spread.AT_SECOND, ["bb"]),
        (Spread.AT_OTHERS, ["bb", "cc"]),
        (Spread.ALL_NODES, ["aa", "bb", "cc", "zz"]),
    ],
)
def test_every_other_spread_stays_on_its_nodes(
    spread: Spread, nodes: list[str]
) -> None:
    assert asked(spread) == nodes
    assert [f"{n}{n}" for n in nodes_of(spread, THREE)] == nodes


def test_the_outside_has_no_node() -> None:
    assert asked(Spread.NODES, source=Role.OUTSIDE) == ["a", "b", "c"]


def test_what_has_an_address_of_its_own_is_asked_once_from_no_node() -> None:
    assert asked(Spread.ONCE, source=Role.OUTSIDE) == [""]
    assert asked(Spread.ONCE, source=Role.API) == [""]


def test_attempts_are_separate_probes() -> None:
    assert asked(Spread.AT_FIRST, count=3) == ["aa", "aa", "aa"]


def test_an_ask_that_needs_more_nodes_is_not_asked() -> None:
    assert asked(Spread.PAIRS, min_nodes=4) == []


def test_every_replica_of_the_cluster_dns_is_asked_from_every_node() -> None:
    ask = Ask(Role.CLIENT, Op.DNS, Target(Kind.NAME, "x", "address"), Spread.REPLICAS)
    cluster = facts(2, DUAL)

    found = [(p.source.node, p.target) for p in probes(ask, Check(POD_TO_POD), cluster)]

    assert found == [
        (node, Target(Kind.DNS_SERVER, replica, "x"))
        for node in "ab"
        for replica in cluster.dns_replicas
    ]


def test_a_family_that_the_cluster_has_not_is_not_asked() -> None:
    assert asked(Spread.PAIRS, family=Family.IPV6) == []


def test_a_check_of_another_family_does_not_apply() -> None:
    skipped = reasons(checks([POD_TO_POD]))

    assert set(skipped.values()) == {"the cluster has no ipv6, only ipv4"}
    assert len(skipped) == 4


def test_a_single_node_leaves_out_what_crosses_nodes_and_plans_the_rest() -> None:
    plan = plan_of(facts(1))

    whys = {why for _, why in plan.skipped if "Nodes" in why}
    assert whys == {"needs 2 Nodes that take Pods, there is 1"}
    assert {p.check.path for p in plan.checks} == {None, PathKind.SAME_NODE}
    assert len(plan.checks) + len(plan.skipped) == len(checks(RULES))


def test_a_feature_that_is_neither_claimed_nor_found_is_named() -> None:
    rule = replace(POD_TO_POD, needs=frozenset(Feature), families=())

    plan = plan_of(facts(3, features=frozenset()), checks([rule]))
    (reason,) = {why for _, why in plan.skipped}
    assert "the cluster is not dual-stack; no GatewayClass is accepted" in reason
    assert "no network plugin enforces NetworkPolicy" in reason
    assert reasons(checks([rule])) == {}


def test_without_host_network_no_such_pod_is_planned() -> None:
    plan = plan_of(THREE, host_network=False)

    assert not plan.roles & {Role.HOST, Role.EDGE}
    left_out = {check.rule.id for check, why in plan.skipped if "host-network" in why}
    assert {"HOSTPORT", "NODE-TO-LOCAL-POD", "DNS-HOST-NETWORK"} <= left_out
    assert "POD-TO-POD" not in left_out


def test_without_an_outside_its_checks_say_why() -> None:
    plan = plan_of(THREE, outside=False)

    assert Role.OUTSIDE not in plan.roles
    assert "NODEPORT-EVERY-NODE-tcp-ipv4" in {
        check.id for check, why in plan.skipped if "--k8snet-no-outside" in why
    }


def test_a_plan_plays_only_the_parts_that_its_checks_need() -> None:
    plan = plan_of(THREE, checks([POD_TO_POD]))

    assert plan.roles == {Role.CLIENT, Role.SERVER}
    assert plan.services == ()
    assert plan.late_roles == frozenset()


def test_parts_follow_from_targets_services_and_changes() -> None:
    needed = {rule.id: roles_of(rule) for rule in RULES}

    assert Role.EDGE in needed["HOSTPORT"]
    assert needed["KUBELET-EXEC"] == {Role.API, Role.SERVER}
    assert needed["SANDBOX-SURVIVES-RESTART"] == {Role.CLIENT, Role.SPARE}
    assert needed["SERVICE-NO-ENDPOINTS"] == {Role.CLIENT, Role.SERVER}
    assert Role.SERVER not in needed["SERVICE-PUBLISH-NOT-READY"]


def test_pods_that_a_change_makes_are_not_made_before() -> None:
    assert plan_of(THREE).late_roles == {Role.SPARE, Role.NEWCOMER}


def test_a_service_that_several_rules_need_is_made_once() -> None:
    names = [service.name for service in plan_of(THREE).services]

    assert len(names) == len(set(names))


def test_equal_probes_of_several_checks_are_sent_once() -> None:
    every = plan_of(THREE)

    alone = sum(plan_of(THREE, [p.check]).probe_count for p in every.checks)

    assert every.probe_count < alone


def test_many_nodes_are_planned_in_no_more_probes_than_pairs() -> None:
    nodes = 100
    selected = [c for c in checks([POD_TO_POD]) if c.id.endswith("tcp-ipv4-cross-node")]

    plan = make_plan(selected, facts(nodes), Limits())

    assert len(plan.checks[0].probes) == nodes * (nodes - 1)
    # Beside the pairs: each server and one closed port on every Node.
    assert plan.probe_count == nodes * (nodes - 1) + 2 * nodes


def test_a_rule_without_axes_is_one_check() -> None:
    rule = Rule(id="X", requirement="", spec="", mark="", judge=all_connected)

    assert [check.id for check in checks([rule])] == ["X"]


def test_a_profile_has_what_smaller_ones_have() -> None:
    quick, default, full = (
        {r.id for r in RULES if in_profile(r, profile)} for profile in Profile
    )

    assert quick < default < full == {r.id for r in RULES}
    areas = {r.mark for r in RULES} - {"policy"}
    assert {r.mark for r in RULES if r.id in quick} == areas


def test_the_quick_profile_needs_the_fewest_pods() -> None:
    quick = [rule for rule in RULES if in_profile(rule, Profile.QUICK)]

    plan = plan_of(THREE, checks(quick))

    assert plan.roles == {Role.CLIENT, Role.SERVER, Role.OUTSIDE, Role.API}
    assert plan.late_roles == frozenset()


def test_what_only_the_user_can_name_is_asked_only_then() -> None:
    wanted = [rule for rule in RULES if rule.option]

    assert set(reasons(checks(wanted)).values()) == {
        "asked only with --k8snet-egress-target",
        "asked only with --k8snet-upstream-name",
        "asked only with --k8snet-external-ip",
    }
    assert plan_of(facts(3, given=GIVEN), checks(wanted)).skipped == ()


def test_a_ring_goes_from_every_node_to_itself_and_to_the_next() -> None:
    assert set(asked(Spread.RING)) == {"aa", "bb", "cc", "ab", "bc", "ca"}
    assert asked(Spread.RING, PathKind.SAME_NODE) == ["aa", "bb", "cc"]
    assert asked(Spread.NEXT) == ["ab", "bc", "ca"]
    assert asked(Spread.NEXT, PathKind.SAME_NODE) == []


def test_a_single_node_has_no_next() -> None:
    one = facts(1)
    ask = Ask(Role.CLIENT, Op.CONNECT, Target(Kind.POD, Role.SERVER), Spread.RING)

    found = [p.target.node for p in probes(ask, Check(POD_TO_POD), one)]

    assert found == ["a"]
    assert list(probes(replace(ask, spread=Spread.NEXT), Check(POD_TO_POD), one)) == []


def test_policies_are_made_once_however_many_rules_need_them() -> None:
    names = [policy.name for policy in plan_of(THREE).policies]

    assert names
    assert len(names) == len(set(names))
    assert plan_of(THREE, checks([POD_TO_POD])).policies == ()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("SERVICE-CLUSTER-IP", True),
        ("SERVICE-PROGRAMMING-TIME", True),
        ("POD-TO-POD", False),
        ("KUBELET-PROBES", False),
    ],
)
def test_rules_use_services_of_their_own_or_make_them(
    rule: str, *, expected: bool
) -> None:
    (found,) = (one for one in RULES if one.id == rule)

    assert uses_services(found) is expected
