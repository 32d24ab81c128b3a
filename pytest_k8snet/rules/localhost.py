"""Rule 1: containers of one Pod share one network namespace."""

from __future__ import annotations

from dataclasses import replace

from pytest_k8snet.model import (
    Ask,
    Change,
    Family,
    Kind,
    Level,
    Observation,
    Observations,
    Op,
    Outcome,
    Profile,
    Protocol,
    Role,
    Rule,
    Spread,
    Step,
    Target,
    Verdict,
)
from pytest_k8snet.rules._world import (
    BOTH,
    FAMILIES,
    NETWORK_MODEL,
    PODS,
    connect,
    fact,
    on_own_node,
    own_addresses,
    pod,
    reaches,
    serves,
    words,
)
from pytest_k8snet.verdict import (
    all_answered,
    all_connected,
    all_silent,
    by_source,
    is_connected,
    settled,
)

SHARED = PODS + "#pod-networking"


def loopback(port: str) -> Target:
    """Dial the loopback address of the probe's family."""
    return Target(Kind.LOOPBACK, "127.0.0.1", port)


def same_namespace_as_before(seen: Observations) -> Verdict:
    """Peers reach the restarted container, at the namespace and address it had."""
    reached = tuple(o for o in seen if o.probe.ask.op is Op.CONNECT)
    verdict = settled(is_connected)(reached)
    facts = [o for o in seen if o.probe.ask.op is Op.FACT]
    moved = []
    for group in by_source(facts).values():
        kinds = {o.probe.target.name for o in group}
        for kind in kinds:
            states = [o for o in group if o.probe.target.name == kind]
            if any(o.outcome is not Outcome.ANSWERED for o in states) or any(
                o.values != states[0].values for o in states
            ):
                moved.append(states[-1])
    note = verdict.note if not moved else "the address or the namespace changed"
    return Verdict(violations=verdict.violations + tuple(moved), note=note)


def is_told(seen: Observation) -> bool:
    """Whether the container said what it sees."""
    return seen.outcome is Outcome.ANSWERED


TO_SIBLING = connect(
    Role.CLIENT,
    loopback("sibling"),
    Spread.OWN,
    who=on_own_node(Role.CLIENT, "sibling"),
)

LOCALHOST_TCP = Rule(
    id="LOCALHOST-TCP",
    requirement="Containers of a Pod MUST reach each other's TCP ports on localhost.",
    spec=SHARED,
    mark="rule1",
    profile=Profile.QUICK,
    provided=(serves(Role.CLIENT),),
    probes=(replace(TO_SIBLING, protocol=Protocol.TCP),),
    judge=all_connected,
    usually="the loopback CNI plugin is missing, so lo is down in new Pods",
)

LOCALHOST_UDP = Rule(
    id="LOCALHOST-UDP",
    requirement="Containers of a Pod MUST reach each other's UDP ports on localhost.",
    spec=SHARED,
    mark="rule1",
    profile=Profile.QUICK,
    provided=(serves(Role.CLIENT),),
    probes=(replace(TO_SIBLING, protocol=Protocol.UDP),),
    judge=all_connected,
    usually="the loopback CNI plugin is missing, so lo is down in new Pods",
)

LOCALHOST_IPV6 = Rule(
    id="LOCALHOST-IPV6",
    requirement="Containers of a Pod SHOULD reach each other at ::1.",
    spec=SHARED,
    mark="rule1",
    level=Level.SHOULD,
    protocols=BOTH,
    families=(Family.IPV6,),
    provided=(serves(Role.CLIENT),),
    probes=(TO_SIBLING,),
    judge=all_connected,
    usually="net.ipv6.conf.lo.disable_ipv6, or a loopback plugin that knows IPv4 only",
)

LOCALHOST_SHARED_PORTS = Rule(
    id="LOCALHOST-SHARED-PORTS",
    requirement="A port bound by one container of a Pod MUST NOT be free in another.",
    spec=SHARED,
    mark="rule1",
    protocols=BOTH,
    provided=(serves(Role.CLIENT),),
    probes=(
        Ask(
            Role.CLIENT,
            Op.BIND,
            Target(Kind.LOOPBACK, "0.0.0.0", "sibling"),  # noqa: S104 - on purpose
            Spread.OWN,
            expect=words("EADDRINUSE"),
        ),
    ),
    judge=all_answered,
    usually="containers of the Pod were started in different network namespaces",
)

LOCALHOST_PRIVATE = Rule(
    id="LOCALHOST-PRIVATE",
    requirement=(
        "A server on a Pod's loopback address MUST NOT be reachable at its Pod IP."
    ),
    spec=SHARED,
    mark="rule1",
    families=FAMILIES,
    provided=(
        serves(Role.SERVER),
        reaches(
            connect(
                Role.SERVER,
                loopback("loopback"),
                Spread.OWN,
                protocol=Protocol.TCP,
                who=on_own_node(Role.SERVER),
            ),
            "the loopback server answers its own Pod",
        ),
        reaches(
            connect(Role.CLIENT, pod(Role.SERVER), protocol=Protocol.TCP),
            "the same client reaches the server's Pod IP",
        ),
    ),
    probes=(connect(Role.CLIENT, pod(Role.SERVER, "loopback"), protocol=Protocol.TCP),),
    judge=all_silent,
    usually="route_localnet or a DNAT rule exposes loopback servers",
)

LOCALHOST_NOT_NODE = Rule(
    id="LOCALHOST-NOT-NODE",
    requirement=(
        "localhost in a Pod MUST NOT be the loopback of its Node or of another Pod."
    ),
    spec=NETWORK_MODEL,
    mark="rule1",
    roles=(Role.HOST,),
    provided=(
        reaches(
            connect(
                Role.HOST,
                loopback("host-loopback"),
                Spread.OWN,
                protocol=Protocol.TCP,
                who=on_own_node(Role.HOST),
            ),
            "the Node's loopback server answers on the Node",
        ),
        reaches(
            connect(
                Role.SERVER,
                loopback("loopback"),
                Spread.OWN,
                protocol=Protocol.TCP,
                who=on_own_node(Role.SERVER),
            ),
            "the other Pod's loopback server answers there",
        ),
    ),
    probes=tuple(
        connect(
            Role.CLIENT,
            loopback(port),
            Spread.OWN,
            protocol=Protocol.TCP,
        )
        for port in ("host-loopback", "server-loopback")
    ),
    judge=all_silent,
    usually="the Pod runs in the Node's network namespace",
)

LOCALHOST_ONE_ADDRESS = Rule(
    id="LOCALHOST-ONE-ADDRESS",
    requirement=(
        "Init, sidecar and app containers of a Pod MUST see the same addresses, "
        "those of status.podIPs."
    ),
    spec=SHARED,
    mark="rule1",
    probes=(
        fact(Role.EDGE, "init-addresses", own_addresses),
        fact(Role.EDGE, "addresses", own_addresses, container="sidecar"),
        fact(Role.EDGE, "addresses", own_addresses),
    ),
    judge=all_answered,
    usually="the sandbox was made anew between containers; see the CNI plugin's log",
)

LOCALHOST_HOSTS_FILE = Rule(
    id="LOCALHOST-HOSTS-FILE",
    requirement=(
        "/etc/hosts in a Pod MUST map its hostname, and hostname.subdomain, to its "
        "own IP."
    ),
    spec=PODS + "pod-hostname/",
    mark="rule1",
    probes=tuple(
        Ask(
            Role.SERVER,
            Op.FACT,
            Target(Kind.NONE, "hosts"),
            Spread.NODES,
            settings=(("field", "hosts"), ("name", name)),
            expect=own_addresses,
        )
        for name in (
            "server-{rank}",
            "server-{rank}.headless.{ns}.svc.{domain}",
        )
    ),
    judge=all_answered,
    usually="something else writes /etc/hosts, or the Pod's address changed",
)

WHERE_IT_IS = (
    fact(Role.SPARE, "addresses", own_addresses),
    fact(Role.SPARE, "netns", words()),
)

SANDBOX_SURVIVES_RESTART = Rule(
    id="SANDBOX-SURVIVES-RESTART",
    requirement=(
        "A container that is restarted MUST keep its Pod's IP and network namespace."
    ),
    spec=PODS + "pod-lifecycle/#container-restarts",
    mark="rule1",
    steps=(
        Step(
            changes=(Change("create", Role.SPARE, Spread.NODES),),
            asks=WHERE_IT_IS,
            until=is_told,
            budget="restart",
        ),
        Step(
            changes=(Change("restart", Role.SPARE, Spread.NODES),),
            asks=(
                connect(
                    Role.CLIENT, pod(Role.SPARE), protocol=Protocol.TCP, timeout="poll"
                ),
            ),
            # The change itself waits until the API says that it runs again.
            until=is_connected,
        ),
        Step(asks=WHERE_IT_IS, until=is_told, budget="restart"),
    ),
    judge=same_namespace_as_before,
    usually="the sandbox died with the container; see the runtime's log",
)

RULES = (
    LOCALHOST_TCP,
    LOCALHOST_UDP,
    LOCALHOST_IPV6,
    LOCALHOST_SHARED_PORTS,
    LOCALHOST_PRIVATE,
    LOCALHOST_NOT_NODE,
    LOCALHOST_ONE_ADDRESS,
    LOCALHOST_HOSTS_FILE,
    SANDBOX_SURVIVES_RESTART,
)
