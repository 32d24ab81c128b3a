"""What the policy rules share: Services, policies, asks and controls.

Three kinds of Pods stand on every Node: *guarded* ones, isolated for ingress, with a
port for every way in which a policy may allow it; *confined* ones, isolated for egress;
and *neighbours*, which no policy selects. Policies add up: each rule brings its own for
its own ports, and all of them are in force at the same time.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pytest_k8snet.manifests import GUARDED_PORTS, LABEL, SERVER_PORTS, ports_of
from pytest_k8snet.model import (
    Actor,
    Allow,
    Control,
    Feature,
    Kind,
    Level,
    Peer,
    Policy,
    Protocol,
    Role,
    Rule,
    Service,
    Spread,
    Target,
)
from pytest_k8snet.rules._world import (
    KUBERNETES,
    PORT,
    cluster_ip,
    connect,
    pod,
    ports,
    reaches,
    server_there,
)
from pytest_k8snet.verdict import (
    all_as_allowed,
    is_connected,
    is_silent,
    keeps_source,
)

if TYPE_CHECKING:
    from pytest_k8snet.model import (
        Ask,
        Expectation,
        Observation,
        Probe,
        Scene,
        Selector,
    )

NETWORK_POLICIES = f"{KUBERNETES}/concepts/services-networking/network-policies/"
SELECTORS = NETWORK_POLICIES + "#behavior-of-to-and-from-selectors"
ISOLATION = NETWORK_POLICIES + "#the-two-sorts-of-pod-isolation"
TCP, UDP = Protocol.TCP, Protocol.UDP

policy_rule = partial(
    Rule,
    mark="policy",
    level=Level.FEATURE,
    needs=frozenset({Feature.NETWORK_POLICY}),
    judge=all_as_allowed,
    usually=("nothing enforces NetworkPolicy, or its agent is down on one end's Node"),
)

# --------------------------------------------------------------------------- Services

FURTHER = 1000
"""How far the port of a guarded Service is from its target's: policies name those."""


def _guarded_ports() -> tuple[tuple[str, int, int | str, Protocol], ...]:
    numbers = ports_of(Role.GUARDED, 0).items()
    return tuple(
        (
            name.replace("/", "-"),
            number + FURTHER,
            # These differ from Node to Node.
            name.partition("/")[0] if "named" in name else number,
            Protocol(name.rpartition("/")[2]),
        )
        for name, number in numbers
    )


GUARD = Service("guarded", _guarded_ports(), role=Role.GUARDED, per_node=True)
LOCAL = (("type", "NodePort"), ("externalTrafficPolicy", "Local"))
GUARD_OUTSIDE = Service(
    "guarded-outside",
    tuple(
        (f"{name}-tcp", GUARDED_PORTS[name], GUARDED_PORTS[name], TCP)
        for name in ("block", "elsewhere", "except", "except-else")
    ),
    spec=LOCAL,
    role=Role.GUARDED,
    per_node=True,
)
OPEN = Service("neighbour", ports(PORT), spec=LOCAL, role=Role.NEIGHBOUR, per_node=True)
"""Open to the outside, too."""
SERVED = Service(
    "served",
    (*ports(PORT), ("second-tcp", 81, SERVER_PORTS["second/tcp"], TCP)),
    per_node=True,
)
"""The servers, at the port that policies name and at the one that they do not."""

# --------------------------------------------------------------------------- policies


def ours(**labels: str) -> Selector:
    """Select by labels of ours."""
    return tuple((LABEL + key, "=", (value,)) for key, value in labels.items())


def admit(
    name: str, port: str, *peers: Peer, protocol: Protocol = TCP, last: str = ""
) -> Policy:
    """Let peers in at one port of the guarded Pods, or at the ports up to LAST."""
    end = GUARDED_PORTS[last] if last else 0
    at = (protocol, GUARDED_PORTS.get(port, port), end)
    return Policy(name, Role.GUARDED, ingress=(Allow(peers, (at,)),))


FRIENDS = Peer(pods=ours(friend="yes"))
"""The neighbours: clients have the label, too, but in another namespace."""
CLIENTS = Peer(namespaces=ours(key="client"))
SERVERS = Peer(namespaces=ours(key="server"))

DENY_INGRESS = Policy("deny-ingress", Role.GUARDED, ingress=())
DENY_EGRESS = Policy("deny-egress", Role.CONFINED, egress=(), all_pods=True)
BY_POD = admit("by-pod", "pod", FRIENDS)
TO_SECOND = Policy(
    "to-second",
    Role.CONFINED,
    egress=(Allow((SERVERS,), ((TCP, SERVER_PORTS["second/tcp"], 0),)),),
)
DNS_PODS = Peer(
    pods=(("k8s-app", "=", ("kube-dns",)),),
    namespaces=(("kubernetes.io/metadata.name", "=", ("kube-system",)),),
)
TO_DNS = Policy("to-dns", Role.CONFINED, egress=(Allow((DNS_PODS,)),))

# ------------------------------------------------------------------------------- asks


def there(role: Role) -> Expectation:
    """Give the Pod of a role on the target's Node."""

    def who(_: Scene, probe: Probe) -> tuple[str, ...]:
        return (str(Actor(role, probe.target.node)),)

    return who


def blocked(
    source: Role, to: Target, spread: Spread = Spread.RING, **more: object
) -> Ask:
    """Ask for a connection that no policy allows."""
    return connect(source, to, spread, blocked=True, timeout="silence", **more)


def allowed(
    source: Role, to: Target, spread: Spread = Spread.RING, **more: object
) -> Ask:
    """Ask for a connection that a policy allows, or that none isolates."""
    return connect(source, to, spread, **more)


def entering(
    port: str,
    by: tuple[Role, ...] = (),
    but: tuple[Role, ...] = (),
    protocol: Protocol | None = None,
) -> tuple[Ask, ...]:
    """Ask for one port of the guarded Pods, directly and through their Services.

    Args:
        port: its name.
        by: who is allowed in.
        but: who is not.
        protocol: fixed here, or None to follow the check's variant.

    """
    direct, through = pod(Role.GUARDED, port), cluster_ip(GUARD, port)
    who = there(Role.GUARDED)
    return tuple(
        asked
        for sources, ask in ((by, allowed), (but, blocked))
        for source in sources
        for asked in (
            ask(source, direct, protocol=protocol),
            ask(source, through, who=who, protocol=protocol),
        )
    )


def node_port(service: Service, port: str = "main") -> Target:
    """Dial a Service at a Node's own address."""
    return Target(Kind.NODE_PORT, service.name, port)


# --------------------------------------------------------------------------- controls


def open_to(*sources: Role) -> tuple[Control, ...]:
    """The twins of what is blocked: the same client, the same Nodes, no policy."""
    # Its own kind would be itself.
    targets = {
        role: Role.CLIENT if role is Role.NEIGHBOUR else Role.NEIGHBOUR
        for role in sources
    }
    return tuple(
        reaches(
            allowed(source, pod(target)),
            f"the {source} reaches Pods on the same Nodes that no policy selects",
        )
        for source, target in targets.items()
    )


ENFORCED = Control(
    blocked(Role.CLIENT, pod(Role.GUARDED), protocol=TCP),
    is_silent,
    "a policy for ingress is in force on every Node",
)
ENFORCED_EGRESS = Control(
    blocked(Role.CONFINED, pod(Role.CLIENT), protocol=TCP),
    is_silent,
    "a policy for egress is in force on every Node",
)
LET_IN = reaches(
    allowed(Role.NEIGHBOUR, pod(Role.GUARDED, "pod"), protocol=TCP),
    "the same Pods are reached where a policy allows it",
)
LET_OUT = reaches(
    allowed(Role.CONFINED, pod(Role.SERVER, "second"), protocol=TCP),
    "the same Pods reach others where a policy allows it",
)
UNCONFINED = (
    reaches(
        allowed(Role.GUARDED, pod(Role.CLIENT)),
        "Pods that are not isolated for egress reach the same Pods",
    ),
    reaches(
        allowed(Role.GUARDED, cluster_ip(SERVED), who=server_there),
        "Pods that are not isolated for egress reach the same Services",
    ),
)


def _with_own_address(seen: Observation) -> bool:
    return is_connected(seen) and keeps_source(seen)


FROM_OUTSIDE = Control(
    connect(
        Role.OUTSIDE,
        node_port(OPEN),
        Spread.NODES,
        who=there(Role.NEIGHBOUR),
        protocol=TCP,
    ),
    _with_own_address,
    "Pods that no policy selects see the outside's own address",
)
