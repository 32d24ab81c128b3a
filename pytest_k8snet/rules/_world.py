"""What the rules share: the Services, the usual asks, and who may answer them.

Everything here is a value or a function of values. A new rule should need nothing
but what is in this file and in ``verdict``.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_k8snet.manifests import FEW
from pytest_k8snet.model import (
    Actor,
    Ask,
    Control,
    Family,
    Kind,
    Op,
    Outcome,
    PathKind,
    Protocol,
    Role,
    Service,
    Spread,
    Target,
)
from pytest_k8snet.verdict import is_connected, is_silent

if TYPE_CHECKING:
    from pytest_k8snet.model import Expectation, Observation, Probe, Scene

KUBERNETES = "https://kubernetes.io/docs"
NETWORK_MODEL = (
    f"{KUBERNETES}/concepts/services-networking/#the-kubernetes-network-model"
)
SERVICE = f"{KUBERNETES}/concepts/services-networking/service/"
VIRTUAL_IPS = f"{KUBERNETES}/reference/networking/virtual-ips/"
DNS = f"{KUBERNETES}/concepts/services-networking/dns-pod-service/"
DNS_SPECIFICATION = (
    "https://github.com/kubernetes/dns/blob/master/docs/specification.md"
)
PODS = f"{KUBERNETES}/concepts/workloads/pods/"

BOTH = (Protocol.TCP, Protocol.UDP)
FAMILIES = (Family.IPV4, Family.IPV6)
PATHS = (PathKind.SAME_NODE, PathKind.CROSS_NODE)

DRAWS = 40
"""Connections per Node to such a Service: one of 3 is missed once in 3.7 million."""


def ports(
    port: int, target: int | str = 8080
) -> tuple[tuple[str, int, int | str, Protocol], ...]:
    """Give the ports of a Service that serves one number over both protocols."""
    udp = f"{target}-udp" if isinstance(target, str) else target
    name = "main" if port == PORT else f"p{port}"
    return (
        (f"{name}-tcp", port, target, Protocol.TCP),
        (f"{name}-udp", port, udp, Protocol.UDP),
    )


PORT = 80
NAMED_PORT = 82

# One backend each: which Node a connection crosses to is known beforehand.
EACH = Service("server", ports(PORT), per_node=True)
FEW_SERVERS = Service(
    "few", ports(PORT) + ports(NAMED_PORT, "alt"), selector=(("few", "yes"),)
)
TWO_PROTOCOLS = Service(
    "two-protocols",
    (
        ("main-tcp", PORT, 8080, Protocol.TCP),
        ("main-udp", PORT, 8084, Protocol.UDP),
    ),
    selector=(("rank", "0"),),
)
NOBODY = Service("nobody", ports(PORT), selector=(("nobody", "yes"),))
READY_ONLY = Service("ready-only", ports(PORT), selector=(("mixed", "yes"),))
NOT_READY_TOO = Service(
    "not-ready-too",
    ports(PORT),
    selector=(("role", Role.UNREADY),),
    spec=(("publishNotReadyAddresses", True),),
)
GROWING = Service("growing", ports(PORT), selector=(("growing", "yes"),))
SHRINKING = Service("shrinking", ports(PORT), selector=(("shrinking", "yes"),))
MOVING = Service("moving", ports(PORT), selector=(("moving", "yes"),))
STICKY = Service(
    "sticky",
    ports(PORT),
    selector=(("few", "yes"),),
    spec=(("sessionAffinity", "ClientIP"),),
)
INTERNAL_LOCAL = Service(
    "internal-local",
    ports(PORT),
    selector=(("rank", "0"),),
    spec=(("internalTrafficPolicy", "Local"),),
)
MANUAL = Service(
    "manual",
    (*ports(PORT, 8080), ("second-tcp", 81, 8086, Protocol.TCP)),
    selector=None,
    manual=True,
)
HEADLESS = Service("headless", ports(8080), headless=True)
HEADLESS_NOT_READY = Service(
    "headless-not-ready",
    ports(8080),
    selector=(("role", Role.UNREADY),),
    headless=True,
    spec=(("publishNotReadyAddresses", True),),
)
EXTERNAL_NAME = Service(
    "elsewhere", (), external_name="kubernetes.default.svc.{domain}"
)
# Two, on different Nodes: whichever Node is dialled, one backend is on another.
NODE_PORT_FIRST = Service(
    "node-port-first",
    ports(PORT),
    selector=(("rank", "0"),),
    spec=(("type", "NodePort"),),
)
NODE_PORT_SECOND = Service(
    "node-port-second",
    ports(PORT),
    selector=(("rank", "1"),),
    spec=(("type", "NodePort"),),
)
NODE_PORT_LOCAL = Service(
    "node-port-local",
    ports(PORT),
    selector=(("rank", "0"),),
    spec=(("type", "NodePort"), ("externalTrafficPolicy", "Local")),
)


# ------------------------------------------------------------ who may answer, and what


def server_at(rank: int) -> Expectation:
    """Give the server on the Node of that rank."""

    def who(scene: Scene, _: Probe) -> tuple[str, ...]:
        return (str(Actor(Role.SERVER, scene.facts.nodes[rank].name)),)

    return who


def server_there(_: Scene, probe: Probe) -> tuple[str, ...]:
    """Give the server on the target's Node."""
    return (str(Actor(Role.SERVER, probe.target.node)),)


def few_servers(scene: Scene, _: Probe) -> tuple[str, ...]:
    """Give the servers behind the Services that have a few."""
    return tuple(str(Actor(Role.SERVER, n.name)) for n in scene.facts.nodes[:FEW])


def any_server(scene: Scene, _: Probe) -> tuple[str, ...]:
    """Give every server."""
    return tuple(str(Actor(Role.SERVER, n.name)) for n in scene.facts.nodes)


def unready_pod(scene: Scene, _: Probe) -> tuple[str, ...]:
    """Give the Pod that is never ready."""
    return (str(Actor(Role.UNREADY, scene.facts.nodes[0].name)),)


def on_own_node(role: Role, container: str = "main") -> Expectation:
    """Give the Pod of a role on the Node that asks."""

    def who(_: Scene, probe: Probe) -> tuple[str, ...]:
        return (str(Actor(role, probe.source.node, container)),)

    return who


def of_family(addresses: tuple[str, ...], family: Family | None) -> tuple[str, ...]:
    """Keep the addresses of one family; all of them when none is given."""
    version = {Family.IPV4: 4, Family.IPV6: 6}.get(family) if family else None
    return tuple(
        a for a in addresses if version in (None, ipaddress.ip_address(a).version)
    )


def own_addresses(scene: Scene, probe: Probe) -> tuple[str, ...]:
    """Give the addresses that the API has for the Pod that asks."""
    pod = scene.pod(probe.source.role, probe.source.node)
    return pod.addresses if pod else ()


def cluster_ips(name: str) -> Expectation:
    """Give the ClusterIPs of a Service of ours, in the probe's family."""

    def expect(scene: Scene, probe: Probe) -> tuple[str, ...]:
        service = scene.service(name, probe.target.node)
        return of_family(service.addresses if service else (), probe.family)

    return expect


def pod_addresses(role: Role) -> Expectation:
    """Give the addresses of every Pod of a role, in the probe's family."""

    def expect(scene: Scene, probe: Probe) -> tuple[str, ...]:
        pods = (pod for (r, _), pod in sorted(scene.pods.items()) if r is role)
        return tuple(a for pod in pods for a in of_family(pod.addresses, probe.family))

    return expect


def api_addresses(scene: Scene, probe: Probe) -> tuple[str, ...]:
    """Give the ClusterIPs of ``kubernetes.default``."""
    return of_family(scene.facts.api_addresses, probe.family)


def dns_addresses(scene: Scene, _: Probe) -> tuple[str, ...]:
    """Give the ClusterIPs of the cluster DNS Service."""
    return scene.facts.dns_addresses


def nth_of_range(number: int) -> Expectation:
    """Give the address of that number in the published Service range."""

    def expect(scene: Scene, _: Probe) -> tuple[str, ...]:
        ranges = scene.facts.service_cidrs[:1]
        return tuple(str(ipaddress.ip_network(r)[number]) for r in ranges)

    return expect


def words(*values: str) -> Expectation:
    """Give values known beforehand; ``{ns}`` and ``{domain}`` are filled in."""

    def expect(scene: Scene, probe: Probe) -> tuple[str, ...]:
        return tuple(fill(value, scene, probe) for value in values)

    return expect


def fill(text: str, scene: Scene, probe: Probe) -> str:
    """Fill in the names that are known only once the lab is laid out."""
    node = probe.target.node or probe.source.node
    rank = scene.rank(node) if node else 0
    server = scene.pod(Role.SERVER, node)
    own = of_family(server.addresses, probe.family) if server else ()
    return text.format(
        ns=scene.namespaces.get("server", "server"),
        client_ns=scene.namespaces.get("client", "client"),
        host_ns=scene.namespaces.get("host", "host"),
        domain=scene.facts.domain,
        rank=rank,
        dashed=next(iter(own), "").translate(DASHES),
        **scene.facts.given,
    )


DASHES = str.maketrans(".:", "--")


# ------------------------------------------------------------------------------- asks


def connect(
    source: Role, to: Target, spread: Spread = Spread.PAIRS, **more: object
) -> Ask:
    """Ask for a connection, or for a datagram and its answer."""
    return Ask(source, Op.CONNECT, to, spread, **more)  # type: ignore[arg-type]


def every_way(ask: Ask) -> tuple[Ask, ...]:
    """Ask over each protocol and family that the cluster has, in one check.

    For rules whose change happens once: splitting them would show it to the first.
    """
    return tuple(
        replace(ask, protocol=protocol, family=family)
        for protocol in BOTH
        for family in FAMILIES
    )


def pod(role: Role, port: str = "main") -> Target:
    """Dial a Pod at its own address."""
    return Target(Kind.POD, role, port)


def cluster_ip(service: Service, port: str = "main") -> Target:
    """Dial a Service at its ClusterIP."""
    return Target(Kind.CLUSTER_IP, service.name, port)


def fact(source: Role, field: str, expect: Expectation, container: str = "main") -> Ask:
    """Ask a container on every Node what it sees of itself."""
    return Ask(
        source,
        Op.FACT,
        Target(Kind.NONE, field),
        Spread.NODES,
        container,
        settings=(("field", field),),
        expect=expect,
    )


def status(
    field: str, expect: Expectation | None = None, spread: Spread = Spread.NODES
) -> Ask:
    """Ask what the API server says of the cluster: see ``status.STATUS``."""
    return Ask(
        Role.API,
        Op.STATUS,
        Target(Kind.NONE, field),
        spread,
        settings=(("field", field),),
        expect=expect,
    )


def dns(
    name: str,
    expect: Expectation,
    kind: str = "",
    *,
    source: Role = Role.CLIENT,
    spread: Spread = Spread.NODES,
    count: int = 1,
    **settings: object,
) -> Ask:
    """Ask one DNS question; without a record type, that of the probe's family."""
    return Ask(
        source,
        Op.DNS,
        Target(Kind.NAME, name, kind or "address"),
        spread,
        settings=(("type", kind), *settings.items()),
        expect=expect,
        count=count,
    )


# --------------------------------------------------------------------------- controls


def serves(role: Role, protocol: Protocol | None = None) -> Control:
    """A target that does not answer at home says nothing about the network."""
    return Control(
        connect(role, pod(role), Spread.OWN, protocol=protocol),
        is_connected,
        f"every {role} answers at home, at its own Pod IP",
    )


def nobody_answers(source: Role, role: Role = Role.SERVER) -> Control:
    """Where everything seems to answer, an answer says nothing."""
    return Control(
        connect(source, pod(role, "closed"), Spread.OWN, protocol=Protocol.TCP),
        is_silent,
        f"a port that nobody listens on does not answer the {source}",
    )


def reaches(ask: Ask, says: str) -> Control:
    """The positive twin of a rule that expects silence."""
    return Control(ask, is_connected, says)


def not_everything_resolves(source: Role = Role.CLIENT) -> Control:
    """Where every name resolves, a name that resolves says nothing."""

    def holds(seen: Observation) -> bool:
        return seen.outcome is not Outcome.NOT_PROBED and not (
            seen.outcome is Outcome.ANSWERED and seen.values
        )

    return Control(
        dns("no-such-service.{ns}.svc.{domain}", words(), "A", source=source),
        holds,
        "a name that nobody made does not resolve",
    )


def sees_several(ask: Ask) -> Control:
    """Where there is one backend only, staying with it says nothing.

    Judged over all connections of one source: see ``plan.controls_hold``.
    """
    return Control(
        ask, is_connected, "without affinity the same client sees several", several=True
    )
