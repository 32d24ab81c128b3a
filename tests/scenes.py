"""A cluster on paper: facts, the Pods and Services of a lab, and what agents reply."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from pytest_k8snet import manifests, pod_manifests, service_manifests
from pytest_k8snet.manifests import LabSpec
from pytest_k8snet.model import (
    Actor,
    ClusterFacts,
    EntryState,
    Family,
    Feature,
    Kind,
    Node,
    Op,
    Outcome,
    PodState,
    Role,
    Scene,
    Service,
    ServiceState,
    Site,
)
from pytest_k8snet.plan import Limits, checks, make_plan
from pytest_k8snet.rules import RULES
from pytest_k8snet.rules._world import of_family
from pytest_k8snet.rules.entry import PROMISED
from pytest_k8snet.wire import observe, request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_k8snet.model import Check, Observation, Probe
    from pytest_k8snet.plan import Plan

GIVEN = {
    "egress_target": "egress.example:443",
    "egress_host": "egress.example",
    "egress_port": "443",
    "upstream_name": "upstream.example",
    "external_ip": "203.0.113.10",
}
CONNECTS = {Op.FETCH, Op.CONNECT, Op.HOLD, Op.RESUME, Op.BULK, Op.FULL_SIZE, Op.TLS}
SEEN_OF_ITSELF = {
    "mtu": "1500",
    "netns": "net:[4026531840]",
    "first": "timed out",
    "cluster-dns": "198.51.100.53",
}
DUAL = (Family.IPV4, Family.IPV6)
POD_ROLES = tuple(manifests.NAMESPACE_OF)


def facts(
    nodes: int = 3, families: tuple[Family, ...] = (Family.IPV4,), **more: Any
) -> ClusterFacts:
    """Give the facts of a healthy cluster: Nodes a, b, c, ..."""

    def both(ipv4: str, ipv6: str) -> tuple[str, ...]:
        texts = {Family.IPV4: ipv4, Family.IPV6: ipv6}
        return tuple(texts[family] for family in families)

    return ClusterFacts(
        **{
            "context": "paper",
            "server": "https://192.0.2.1:6443",
            "version": "v1.37.0",
            "nodes": tuple(
                Node(
                    name=node_name(rank),
                    addresses=both(f"192.0.2.{rank + 10}", f"2001:db8::{rank + 16:x}"),
                    pod_cidrs=both(f"10.244.{rank}.0/24", f"fd00:{rank:x}::/64"),
                    kubelet_version="v1.37.0",
                )
                for rank in range(nodes)
            ),
            "families": families,
            "features": frozenset(Feature),
            "dns_addresses": both("10.96.0.10", "fd00:96::a"),
            "dns_replicas": both("10.244.0.2", "fd00::2"),
            "api_addresses": both("10.96.0.1", "fd00:96::1"),
            "service_cidrs": both("10.96.0.0/16", "fd00:96::/112"),
        }
        | more
    )


def node_name(rank: int) -> str:
    return chr(ord("a") + rank) if rank < 26 else f"node-{rank:04}"


def spec(**more: Any) -> LabSpec:
    """Give what the objects of a run have in common."""
    given: Any = {"run": "r1", "prefix": "k8snet", "image": "python", "expires": 1000}
    given |= {"agent": {"__main__.py": "# agent"}, "host_port": 20001}
    return LabSpec(**{**given, **more})


def plan_of(
    facts: ClusterFacts, selected: Iterable[Check] | None = None, **limits: Any
) -> Plan:
    wanted = tuple(checks(RULES) if selected is None else selected)
    return make_plan(wanted, facts, Limits(**limits))


def scene(facts: ClusterFacts) -> Scene:
    """Give the scene on which every Pod of every rule runs."""
    places = [
        (role, rank)
        for role in POD_ROLES
        for rank in range(1 if role is Role.UNREADY else len(facts.nodes))
    ]
    pods = [pod_state(role, rank, facts) for role, rank in places]
    services = [
        service_state(item, number, facts)
        for number, item in enumerate(
            item
            for wanted in services_of_rules()
            if facts.given or not wanted.external_ip
            for item in service_manifests.services(spec(), wanted, facts)
        )
    ]
    return Scene(
        facts=facts,
        namespaces={k: f"k8snet-r1-{k}" for k in manifests.NAMESPACES},
        pods={(p.role, p.node): p for p in pods},
        services={s.name: s for s in services},
        all_pod_addresses=tuple(
            (p.node, f"{a} {p.namespace}/{p.name}")
            for p in pods
            if p.role is not Role.HOST
            for a in p.addresses
        ),
        ready_pods=frozenset(p.name for p in pods if p.role is not Role.UNREADY),
        host_port=20001,
        outside="outside -m agent",
        entries=entry_states(facts),
        authority="PEM",
        fingerprints={s.name: f"sha256 of {s.name}" for s in secure_sites()},
    )


def entry_states(facts: ClusterFacts) -> dict[tuple[Kind, str], EntryState]:
    """Give what the API says of load balancers, Ingresses and Gateways in order."""
    names = [(e.kind, e.name) for r in RULES for e in r.entries]
    names += [
        (Kind.LOAD_BALANCER, one.name)
        for service in services_of_rules()
        if service.balanced
        for one in service_manifests.by_transport(service)
    ]
    bases = {Family.IPV4: "198.51.100.0", Family.IPV6: "2001:db8:e::"}
    return {
        key: EntryState(
            tuple(str(ipaddress.ip_address(bases[f]) + at) for f in facts.families),
            PROMISED if key[0] is Kind.GATEWAY else ("address",),
        )
        for at, key in enumerate(dict.fromkeys(names), 1)
    }


def secure_sites() -> list[Site]:
    return [s for r in RULES for e in r.entries for s in e.sites if s.secure]


def services_of_rules() -> list[Service]:
    """Give every Service that a rule needs or makes; of one that changes, all ports."""
    made = [c.service for r in RULES for s in r.steps for c in s.changes if c.service]
    asked = [s for r in RULES for s in r.services]
    # What has a node port has every address and port that it ever has.
    richest_last = sorted(made, key=lambda s: ("type", "NodePort") in s.spec)
    return list({s.name: s for s in (*asked, *richest_last)}.values())


def pod_state(role: Role, rank: int, facts: ClusterFacts) -> PodState:
    """Give a Pod as its agent and the API describe it."""
    node = facts.nodes[rank]
    ports = dict(manifests.ports_of(role, rank))
    ports |= {"loopback/tcp": manifests.LOOPBACK_PORT}
    if role in {Role.CLIENT, Role.EDGE}:
        siblings = manifests.ports_of(role, rank, "sibling")
        ports |= {k.replace("main", "sibling"): v for k, v in siblings.items()}
    if role is Role.HOST:
        # The kernel chooses.
        ports = {name: 31000 + number for number, name in enumerate(ports)}
    of_role = POD_ROLES.index(role) + 2
    own = tuple(
        str(ipaddress.ip_network(cidr).network_address + of_role)
        for cidr in node.pod_cidrs
    )
    return PodState(
        role=role,
        node=node.name,
        namespace=f"k8snet-r1-{manifests.NAMESPACE_OF[role]}",
        name=pod_manifests.pod_name(role, rank),
        addresses=node.addresses if role is Role.HOST else own,
        ports=ports,
    )


def service_state(
    item: dict[str, Any], number: int, facts: ClusterFacts
) -> ServiceState:
    """Give a Service as the API server completes it."""
    body = item["spec"]
    virtual = "clusterIP" not in body and not body.get("externalName")
    bases = {Family.IPV4: "10.96.1.0", Family.IPV6: "fd00:96::100"}
    addresses = [str(ipaddress.ip_address(bases[f]) + number) for f in facts.families]
    ports = body.get("ports", [])
    by_node = body.get("type") in {"NodePort", "LoadBalancer"}
    health = {"health-tcp": 32000} if body.get("type") == "LoadBalancer" else {}
    return ServiceState(
        name=item["metadata"]["name"],
        namespace="k8snet-r1-server",
        addresses=tuple(addresses) if virtual else (),
        ports={p["name"]: p["port"] for p in ports},
        node_ports=health
        | {p["name"]: 30000 + 2 * number + at for at, p in enumerate(ports) if by_node},
    )


def reply_of(probe: Probe, on: Scene, *, rotate: bool = False) -> dict[str, Any]:
    """Give what the agent replies when all is well.

    Args:
        probe: what was asked.
        on: the scene.
        rotate: attempts are served by one backend after the other.

    """
    blank = observe(probe, {"outcome": Outcome.CONNECTED}, on)
    values = list(blank.expected)
    settings = dict(probe.ask.settings)
    if probe.ask.op in CONNECTS:
        may = blank.may_answer or ("",)
        own = of_family(blank.source_addresses, probe.family)
        return {
            "outcome": Outcome.CONNECTED,
            "who": may[probe.number % len(may) if rotate else 0],
            "peer": own[0] if own else "",
            "own": OUTSIDE[probe.family or Family.IPV4],
            "values": values,
        }
    match settings.get("field"), bool(settings.get("srv")):
        case "pod-addresses", _:
            values = [
                x for node, x in on.all_pod_addresses if node == probe.source.node
            ]
        case str(field), _ if field in SEEN_OF_ITSELF:
            values = [SEEN_OF_ITSELF[field]]
        case "ndots", _:
            values = ["ndots:5", "trust-ad"]
        case "search-cluster", _:
            values += ["corp.example"]
        case _ if "upstream" in probe.target.name:
            values = ["198.51.100.80"]
        case _, True:
            values = [f"0 33 {value}" for value in values]
    return {"outcome": Outcome.ANSWERED, "values": values}


OUTSIDE = {Family.IPV4: "198.51.100.7", Family.IPV6: "2001:db8:f::7"}


def seen(probe: Probe, on: Scene, reply: dict[str, Any]) -> Observation:
    """Put a reply beside what was expected, as the lab does."""
    asked = {} if probe.source.role is Role.API else request(probe, on)
    if "peer" in reply and not reply["peer"] and probe.source == Actor(Role.OUTSIDE):
        reply = reply | {"peer": reply["own"]}
    return observe(probe, {"local": asked.get("address")} | reply, on, asked, 0.5)
