"""Rule 2: every Pod reaches every Pod without NAT, and so do the Node's agents."""

from __future__ import annotations

from pytest_k8snet.model import (
    Ask,
    Change,
    Deviation,
    Family,
    Kind,
    Observation,
    Op,
    Outcome,
    PathKind,
    Protocol,
    Role,
    Rule,
    Spread,
    Step,
    Target,
)
from pytest_k8snet.rules._world import (
    BOTH,
    FAMILIES,
    NETWORK_MODEL,
    PATHS,
    connect,
    every_way,
    fact,
    nobody_answers,
    own_addresses,
    pod,
    serves,
)
from pytest_k8snet.verdict import (
    all_answered,
    all_connected,
    all_unique,
    connected_and_source_preserved,
    destination_preserved,
    is_connected,
    settled,
    source_preserved,
)

POD_TO_SERVER = (connect(Role.CLIENT, pod(Role.SERVER)),)
POD_CONTROLS = (serves(Role.SERVER), nobody_answers(Role.CLIENT))

POD_TO_POD = Rule(
    id="POD-TO-POD",
    requirement="Every Pod MUST reach every other Pod at its Pod IP.",
    spec=NETWORK_MODEL,
    mark="rule2",
    protocols=BOTH,
    families=FAMILIES,
    paths=PATHS,
    provided=POD_CONTROLS,
    probes=POD_TO_SERVER,
    judge=all_connected,
    usually="a missing route or tunnel entry between two Nodes, or a firewall on one",
)

POD_SOURCE_PRESERVED = Rule(
    id="POD-SOURCE-PRESERVED",
    requirement="A Pod MUST see the Pod IP of the Pod that connects to it.",
    spec=NETWORK_MODEL,
    mark="rule2",
    protocols=BOTH,
    families=FAMILIES,
    paths=PATHS,
    provided=POD_CONTROLS,
    probes=POD_TO_SERVER,
    judge=source_preserved,
    usually="a masquerade rule that does not leave out the pod range",
)

POD_DESTINATION_PRESERVED = Rule(
    id="POD-DESTINATION-PRESERVED",
    requirement="A Pod MUST be reached at the address that was dialled.",
    spec=NETWORK_MODEL,
    mark="rule2",
    protocols=BOTH,
    families=FAMILIES,
    paths=PATHS,
    provided=POD_CONTROLS,
    probes=POD_TO_SERVER,
    judge=destination_preserved,
    usually="a DNAT rule that matches pod addresses",
)

POD_ADDRESS_AGREED = Rule(
    id="POD-ADDRESS-AGREED",
    requirement="The addresses a Pod sees itself as MUST be those in status.podIPs.",
    spec=NETWORK_MODEL,
    mark="rule2",
    probes=(
        fact(Role.CLIENT, "addresses", own_addresses),
        fact(Role.SERVER, "addresses", own_addresses),
    ),
    judge=all_answered,
    usually="the sandbox was made anew and the status is stale, or a second network",
)

POD_ADDRESS_UNIQUE = Rule(
    id="POD-ADDRESS-UNIQUE",
    requirement="Two running Pods MUST NOT share an address.",
    spec=NETWORK_MODEL,
    mark="rule2",
    # So that there is a Pod with an address on every Node.
    roles=(Role.CLIENT,),
    probes=(
        Ask(
            Role.API,
            Op.STATUS,
            Target(Kind.NONE, "pod-addresses"),
            Spread.NODES,
            settings=(("field", "pod-addresses"),),
        ),
    ),
    judge=all_unique,
    usually="two Nodes were given the same pod range, or an IPAM store was lost",
)

NODE_TO_LOCAL_POD = Rule(
    id="NODE-TO-LOCAL-POD",
    requirement="Agents on a Node MUST reach every Pod on that Node.",
    spec=NETWORK_MODEL,
    mark="rule2",
    protocols=BOTH,
    families=FAMILIES,
    provided=(serves(Role.SERVER), nobody_answers(Role.HOST)),
    probes=(connect(Role.HOST, pod(Role.SERVER), Spread.OWN),),
    judge=all_connected,
    usually="the Node's own firewall, or a Pod route that points elsewhere",
)

NODE_TO_REMOTE_POD = Rule(
    id="NODE-TO-REMOTE-POD",
    requirement="Processes on a Node MUST reach Pods on every other Node.",
    spec=NETWORK_MODEL,
    mark="rule2",
    protocols=BOTH,
    families=FAMILIES,
    paths=(PathKind.CROSS_NODE,),
    provided=(serves(Role.SERVER), nobody_answers(Role.HOST)),
    probes=(connect(Role.HOST, pod(Role.SERVER)),),
    judge=all_connected,
    usually="a missing route or tunnel entry between two Nodes",
)

POD_TO_HOST_NETWORK = Rule(
    id="POD-TO-HOST-NETWORK",
    requirement=(
        "Every Pod MUST reach host-network Pods on every Node, which see its Pod IP."
    ),
    spec=NETWORK_MODEL,
    mark="rule2",
    protocols=BOTH,
    families=FAMILIES,
    paths=PATHS,
    provided=(serves(Role.HOST), nobody_answers(Role.CLIENT)),
    probes=(connect(Role.CLIENT, pod(Role.HOST)),),
    judge=connected_and_source_preserved,
    deviations=(
        Deviation(
            "kindnet",
            "kindnet masquerades what leaves the pod range: kubernetes-sigs/kind#3474",
            is_connected,
        ),
        Deviation(
            "flannel",
            "flannel masquerades what leaves the pod range: flannel-io/flannel#964",
            is_connected,
        ),
        Deviation(
            "Cilium",
            "with a tunnel, Cilium masquerades what leaves the pod range: "
            "cilium/cilium#12624",
            is_connected,
        ),
    ),
    usually="the Node masquerades what leaves the pod range, as kindnet does",
)


def is_too_big_for_ipv6(seen: Observation) -> bool:
    """Whether the sender was told that an IPv6 datagram is too big, and not left."""
    return seen.outcome is Outcome.TOO_BIG and seen.probe.family is Family.IPV6


POD_FULL_SIZE = Rule(
    id="POD-FULL-SIZE",
    requirement=(
        "A datagram of exactly the path's MTU MUST cross every pair of Pods and come "
        "back, unfragmented."
    ),
    spec=NETWORK_MODEL,
    mark="rule2",
    families=FAMILIES,
    paths=PATHS,
    provided=(serves(Role.SERVER),),
    probes=(Ask(Role.CLIENT, Op.FULL_SIZE, pod(Role.SERVER), protocol=Protocol.UDP),),
    judge=all_connected,
    deviations=(
        Deviation(
            "flannel",
            "flannel's tunnel over IPv6 carries 20 bytes less than its Pods' MTU: "
            "flannel-io/flannel#1781",
            is_too_big_for_ipv6,
        ),
    ),
    usually="a tunnel or link that carries less than the Pods' interfaces claim",
)

POD_BULK = Rule(
    id="POD-BULK",
    requirement="4 MiB each way MUST arrive intact between every pair of Pods.",
    spec=NETWORK_MODEL,
    mark="rule2",
    families=FAMILIES,
    paths=PATHS,
    provided=(serves(Role.SERVER),),
    probes=(
        Ask(
            Role.CLIENT,
            Op.BULK,
            pod(Role.SERVER),
            protocol=Protocol.TCP,
            timeout="bulk",
        ),
    ),
    judge=all_connected,
    usually="a path MTU below the Pods' with ICMP filtered, or packet loss",
)

POD_NEW_REACHABLE = Rule(
    id="POD-NEW-REACHABLE",
    requirement="A Pod that became Ready MUST be reachable from every Node.",
    spec=NETWORK_MODEL,
    mark="rule2",
    provided=(serves(Role.CLIENT),),
    steps=(
        Step(
            changes=(Change("create", Role.SPARE, Spread.NODES),),
            asks=every_way(connect(Role.CLIENT, pod(Role.SPARE), timeout="poll")),
            until=is_connected,
        ),
    ),
    judge=settled(is_connected),
    usually="routes or policies of new Pods are programmed late",
)

RULES = (
    POD_TO_POD,
    POD_SOURCE_PRESERVED,
    POD_DESTINATION_PRESERVED,
    POD_ADDRESS_AGREED,
    POD_ADDRESS_UNIQUE,
    NODE_TO_LOCAL_POD,
    NODE_TO_REMOTE_POD,
    POD_TO_HOST_NETWORK,
    POD_FULL_SIZE,
    POD_BULK,
    POD_NEW_REACHABLE,
)
