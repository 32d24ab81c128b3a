"""From names to requests, and from replies to observations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scenes import DUAL, GIVEN, facts, plan_of, reply_of, scene

from pytest_k8snet.manifests import CA
from pytest_k8snet.model import (
    Actor,
    Ask,
    EntryState,
    Family,
    Feature,
    Kind,
    Node,
    Op,
    Outcome,
    Probe,
    Protocol,
    Role,
    Scene,
    Target,
)
from pytest_k8snet.wire import (
    Lacking,
    Unresolved,
    entry,
    entry_key,
    not_probed,
    observe,
    request,
)

ON = scene(facts(2, DUAL, given=GIVEN, features=frozenset(Feature)))
CLIENT = Actor(Role.CLIENT, "a")
PLANS = {p.check.id: p for p in plan_of(ON.facts).checks}


def to(target: Target, op: Op = Op.CONNECT, **more: Any) -> Probe:
    """Make a probe of the first Node's client."""
    given = {"protocol": Protocol.TCP, "family": Family.IPV4} | more
    return Probe(Ask(Role.CLIENT, op, target), CLIENT, target, **given)


def first(check: str, at: int = 0) -> Probe:
    return PLANS[check].probes[at]


def without(*names: str) -> Scene:
    services = {k: v for k, v in ON.services.items() if k not in names}
    return replace(ON, services=services)


@pytest.mark.parametrize(
    ("target", "family", "dialled"),
    [
        (Target(Kind.POD, "server", node="b"), Family.IPV4, ("10.244.1.4", 8080)),
        (Target(Kind.POD, "server", node="b"), Family.IPV6, ("fd00:1::4", 8080)),
        (Target(Kind.POD, "server", "closed", "b"), Family.IPV4, ("10.244.1.4", 9)),
        (Target(Kind.LOOPBACK, "", "sibling"), Family.IPV4, ("127.0.0.1", 8081)),
        (Target(Kind.LOOPBACK, "", "sibling"), Family.IPV6, ("::1", 8081)),
        (Target(Kind.LOOPBACK, "", "server-main"), None, ("127.0.0.1", 8080)),
        (Target(Kind.CLUSTER_IP, "kubernetes"), Family.IPV4, ("10.96.0.1", 443)),
        (
            Target(Kind.NODE, "kubelet", "10250", "b"),
            Family.IPV4,
            ("192.0.2.11", 10250),
        ),
        (
            Target(Kind.HOST_PORT, "edge", node="b"),
            Family.IPV6,
            ("2001:db8::11", 20001),
        ),
    ],
)
def test_a_target_is_dialled_at_its_own_address(
    target: Target, family: Family | None, dialled: tuple[str, int]
) -> None:
    asked = request(to(target, family=family), ON)

    assert (asked["address"], asked["port"]) == dialled


def test_a_service_of_each_node_is_dialled_at_that_nodes_own() -> None:
    there = Target(Kind.CLUSTER_IP, "server", node="b")

    assert request(to(there), ON)["address"] == ON.services["server-1"].addresses[0]


def test_a_node_port_is_dialled_at_the_nodes_address() -> None:
    asked = request(to(Target(Kind.NODE_PORT, "node-port-first", node="b")), ON)

    assert asked["address"] == "192.0.2.11"
    assert asked["port"] == ON.services["node-port-first"].node_ports["main-tcp"]


@pytest.mark.parametrize(
    ("on", "probe", "why"),
    [
        (
            replace(ON, pods={}),
            to(Target(Kind.POD, "server", node="b")),
            "server@b does not run",
        ),
        (
            ON,
            to(Target(Kind.POD, "server", "nine", "b")),
            "server-1 has no port nine/tcp",
        ),
        (
            scene(facts(2)),
            to(Target(Kind.POD, "server", node="b"), family=Family.IPV6),
            "server-1 has no ipv6 address",
        ),
        (
            without("few"),
            to(Target(Kind.CLUSTER_IP, "few")),
            "Service few does not exist",
        ),
        (
            without("node-port-first"),
            to(Target(Kind.NODE_PORT, "node-port-first", node="a")),
            "Service node-port-first does not exist",
        ),
        (
            ON,
            to(Target(Kind.NODE_PORT, "few", node="a")),
            "few has no port main-tcp",
        ),
        (
            without("two-protocols"),
            first("DNS-PTR-tcp-ipv4"),
            "two-protocols has no ipv4 address",
        ),
    ],
)
def test_what_stands_for_nothing_is_not_asked(
    on: Scene, probe: Probe, why: str
) -> None:
    with pytest.raises(Unresolved) as raised:
        request(probe, on)

    assert str(raised.value) == why


@pytest.mark.parametrize(
    ("probe", "asked"),
    [
        (
            first("POD-BULK-ipv4-cross-node"),
            {"op": "bulk", "timeout": 30.0, "protocol": "tcp", "family": "ipv4"}
            | {"address": "10.244.1.4", "port": 8080},
        ),
        (
            first("DNS-RESOLV-CONF", 2),
            {"op": "fact", "timeout": 8.0, "field": "search"},
        ),
        (
            first("LOCALHOST-HOSTS-FILE", 1),
            {"op": "fact", "timeout": 8.0, "field": "hosts", "name": "server-1"},
        ),
        (
            first("DNS-SEARCH-PATH-ipv6", 2),
            {"op": "lookup", "timeout": 8.0, "family": "ipv6"}
            | {"name": "two-protocols.k8snet-r1-server"},
        ),
        (
            first("LOCALHOST-SHARED-PORTS-udp"),
            {"op": "bind", "timeout": 8.0, "protocol": "udp"}
            | {"address": "0.0.0.0", "port": 8081},
        ),
        (
            first("SERVICE-BY-NAME-tcp-ipv4", 1),
            {"op": "connect", "timeout": 8.0, "protocol": "tcp", "family": "ipv4"}
            | {"name": "server-1.k8snet-r1-server.svc.cluster.local", "port": 80},
        ),
        (
            first("SERVICE-API-SERVER"),
            {"op": "tls", "timeout": 8.0, "address": "10.96.0.1", "port": 443}
            | {"server_name": "kubernetes.default.svc", "ca_file": CA},
        ),
        (
            first("DNS-SERVICE-tcp-ipv6"),
            {"op": "dns", "timeout": 8.0, "protocol": "tcp", "family": "ipv6"}
            | {"type": "AAAA", "transport": "tcp"}
            | {"name": "two-protocols.k8snet-r1-server.svc.cluster.local"},
        ),
        (
            first("DNS-PTR-udp-ipv4", 2),
            {"op": "dns", "timeout": 8.0, "protocol": "udp", "family": "ipv4"}
            | {"type": "PTR", "transport": "udp", "reverse": True}
            | {"name": "10.244.0.4"},
        ),
        (
            first("DNS-EVERY-REPLICA-udp-ipv4"),
            {"op": "dns", "timeout": 8.0, "protocol": "udp", "family": "ipv4"}
            | {"type": "A", "transport": "udp", "server": "10.244.0.2"}
            | {"name": "two-protocols.k8snet-r1-server.svc.cluster.local"},
        ),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, Probe) else "",
)
def test_a_request_is_what_the_agent_reads(probe: Probe, asked: dict[str, Any]) -> None:
    assert request(probe, ON, scale=2.0) == asked


def test_an_observation_keeps_the_whole_reply() -> None:
    probe = first("POD-TO-POD-tcp-ipv4-cross-node")
    asked = request(probe, ON)
    reply = {
        "outcome": "connected",
        "who": "server@b",
        "seconds": 0.25,
        "peer": "10.244.0.2",
        "local": "10.244.1.4",
    }

    seen = observe(probe, reply, ON, asked, after=1.5)

    assert seen.outcome is Outcome.CONNECTED
    assert (seen.answered_by, seen.may_answer) == ("server@b", ("server@b",))
    assert (seen.peer, seen.local) == ("10.244.0.2", "10.244.1.4")
    assert seen.dialled == "10.244.1.4 8080"
    assert seen.source_addresses == ("10.244.0.2", "fd00::2")
    assert (seen.seconds, seen.after) == (0.25, 1.5)


def test_the_outside_knows_its_own_address_only_from_its_agent() -> None:
    probe = first("NODEPORT-SOURCE-LOCAL-tcp-ipv4")

    with_own = observe(probe, {"outcome": "connected", "own": "198.51.100.7"}, ON)
    without_own = observe(probe, {"outcome": "connected"}, ON)

    assert with_own.source_addresses == ("198.51.100.7",)
    assert without_own.source_addresses == ()


def test_a_reply_with_nothing_but_its_outcome_is_enough() -> None:
    seen = not_probed(first("POD-TO-POD-tcp-ipv4-cross-node"), ON, "why")

    assert (seen.outcome, seen.detail) == (Outcome.NOT_PROBED, "why")
    assert (seen.answered_by, seen.values, seen.dialled) == ("", (), "")


@pytest.mark.parametrize(
    ("check", "at", "values", "kept"),
    [
        ("DNS-RESOLV-CONF", 0, ["10.96.0.10", "192.0.2.1"], ("10.96.0.10",)),
        ("DNS-RESOLV-CONF", 2, list("abcd"), ("a", "b", "c")),
        ("DNS-RESOLV-CONF", 4, ["edns0", "ndots:5"], ("5",)),
        ("DNS-SRV-tcp", 0, ["0 50 80 x.y"], ("80 x.y",)),
        ("POD-ADDRESS-AGREED", 0, ["10.0.0.1"], ("10.0.0.1",)),
    ],
)
def test_only_the_part_that_the_rule_compares_is_kept(
    check: str, at: int, values: list[str], kept: tuple[str, ...]
) -> None:
    reply = {"outcome": "answered", "values": values}

    assert observe(first(check, at), reply, ON).values == kept


@pytest.mark.parametrize(
    ("servers", "uses"), [(["198.51.100.53"], "no"), (["x", "10.96.0.10"], "yes")]
)
def test_name_servers_are_compared_with_the_cluster_dns(
    servers: list[str], uses: str
) -> None:
    probe = PLANS["DNS-POLICY-DEFAULT"].steps[0][1][0]

    seen = observe(probe, {"outcome": "answered", "values": servers}, ON)

    assert seen.values == (uses,)


# ---------------------------------------------------------- what leads into the cluster

INGRESS = Target(Kind.INGRESS, "plain", "http")
BALANCER = Target(Kind.LOAD_BALANCER, "balanced")


def entering(
    key: tuple[Kind, str], state: EntryState | None, *claimed: Feature
) -> Scene:
    """Give a scene on which the API says this of what leads into the cluster."""
    there = {k: v for k, v in ON.entries.items() if k != key}
    there |= {key: state} if state else {}
    on = replace(ON.facts, claimed=frozenset(claimed))
    return replace(ON, facts=on, entries=there)


@pytest.mark.parametrize(
    ("target", "protocol", "state", "dialled"),
    [
        (INGRESS, None, ("192.0.2.80",), ("address", "192.0.2.80", 80)),
        (
            replace(INGRESS, port="https"),
            None,
            ("2001:db8::80", "192.0.2.80"),
            ("address", "192.0.2.80", 443),
        ),
        (INGRESS, None, ("lb.example",), ("name", "lb.example", 80)),
        (BALANCER, Protocol.UDP, ("192.0.2.80",), ("address", "192.0.2.80", 80)),
    ],
)
def test_what_leads_in_is_dialled_where_the_api_says(
    target: Target,
    protocol: Protocol | None,
    state: tuple[str, ...],
    dialled: tuple[str, str, int],
) -> None:
    probe = to(target, protocol=protocol)

    asked = request(probe, entering(entry_key(probe), EntryState(state)))

    how, where, port = dialled
    assert (asked[how], asked["port"]) == (where, port)


def test_a_site_is_asked_for_by_its_host_and_verified_by_its_authority() -> None:
    tls = request(first("INGRESS-CERT-VALID-ipv4"), ON)
    plain = request(first("INGRESS-NO-BACKEND-ipv4"), ON)
    secured = request(first("INGRESS-TLS-ipv6"), ON)

    assert tls["server_name"] == "secure-one.k8snet-r1-server.test"
    assert (tls["ca"], "ca_file" in tls) == ("PEM", False)
    assert plain["host"] == "plain-one.k8snet-r1-server.test"
    assert (secured["tls"], secured["port"]) == (True, 443)
    expected = observe(first("INGRESS-TLS-ipv6"), {"outcome": "connected"}, ON).expected
    assert expected == ("8080", "sha256 of secure-one")


@pytest.mark.parametrize(
    ("state", "claimed", "lacks"),
    [
        # What was found, and got no address, is no promise; what was claimed is one.
        (EntryState(), (), True),
        (EntryState(), (Feature.INGRESS,), False),
        (EntryState(("2001:db8::80",)), (Feature.INGRESS,), True),
        (EntryState(problem="not allowed"), (), False),
        (None, (), False),
    ],
)
def test_without_an_address_nothing_is_probed_and_the_reason_is_said(
    state: EntryState | None, claimed: tuple[Feature, ...], lacks: bool
) -> None:
    with pytest.raises(Unresolved, match="Ingress plain") as why:
        request(to(INGRESS), entering((Kind.INGRESS, "plain"), state, *claimed))

    assert isinstance(why.value, Lacking) is lacks


def test_a_claimed_ingress_without_an_address_is_seen_to_have_none() -> None:
    scene = entering((Kind.INGRESS, "plain"), EntryState(), Feature.INGRESS)

    assert entry(to(INGRESS, Op.STATUS), scene).holds == ()


def test_every_request_of_every_rule_is_complete() -> None:
    every = {p for plan in PLANS.values() for p in plan.probes}

    for probe in every:
        if probe.source.role is not Role.API:
            assert request(probe, ON)["timeout"] > 0
        assert observe(probe, reply_of(probe, ON), ON).probe is probe


def test_what_a_node_should_be_is_known_of_one_that_is_left_out_too() -> None:
    out = facts(2, left_out=(Node("z", ready=False, problem="NotReady"),))
    (planned,) = (p for p in plan_of(out).checks if p.check.id == "NODE-READY")
    reply = {"outcome": Outcome.ANSWERED}

    seen_at = {p.source.node: observe(p, reply, scene(out)) for p in planned.probes}

    assert set(seen_at) == {"a", "b", "z"}
    assert "ready" in seen_at["z"].expected
