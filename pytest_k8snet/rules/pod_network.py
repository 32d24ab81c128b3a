"""Rule 2: every Pod reaches every Pod without NAT, and so do the Node's agents."""

from __future__ import annotations

from pytest_k8snet.model import (
    Ask,
    Change,
    Deviation,
    Family,
    Kind,
    Level,
    Observation,
    Op,
    Outcome,
    PathKind,
    Profile,
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
    KUBERNETES,
    NETWORK_MODEL,
    PATHS,
    connect,
    every_way,
    fact,
    nobody_answers,
    own_addresses,
    pod,
    serves,
    status,
    words,
)
from pytest_k8snet.verdict import (
    all_answered,
    all_connected,
    all_unique,
    connected_and_source_preserved,
    destination_preserved,
    each,
    is_connected,
    node_is_there,
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
    profile=Profile.QUICK,
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
    profile=Profile.QUICK,
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
    profile=Profile.QUICK,
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
    profile=Profile.QUICK,
    probes=(
        fact(Role.CLIENT, "addresses", own_addresses),
        fact(Role.SERVER, "addresses", own_addresses),
    ),
    judge=all_answered,
    usually="the sandbox was made anew and the status is stale, or a second network",
)

POD_GETS_ADDRESS = Rule(
    id="POD-GETS-ADDRESS",
    requirement="Every Pod that a Node takes MUST be given an address there.",
    spec=NETWORK_MODEL,
    mark="rule2",
    # So that there is a Pod on every Node.
    roles=(Role.CLIENT,),
    probes=(status("pods-given-addresses", words("given")),),
    judge=all_answered,
    usually="a pod range that is used up, or a network plugin that fails on the Node",
)

POD_ADDRESS_UNIQUE = Rule(
    id="POD-ADDRESS-UNIQUE",
    requirement="Two running Pods MUST NOT share an address.",
    spec=NETWORK_MODEL,
    mark="rule2",
    profile=Profile.QUICK,
    # So that there is a Pod with an address on every Node.
    roles=(Role.CLIENT,),
    probes=(status("pod-addresses"),),
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
        Deviation(
            "Calico",
            "with natOutgoing, Calico masquerades what leaves its pools: "
            "projectcalico/calico#7446",
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
    profile=Profile.QUICK,
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

OWN_IPAM = "allocates addresses of its own, whatever the Node's pod range says"

POD_ADDRESS_IN_RANGE = Rule(
    id="POD-ADDRESS-IN-RANGE",
    requirement=(
        "Pods SHOULD have addresses of their Node's pod range, and pod, Service and "
        "Node ranges no address in common."
    ),
    spec=f"{KUBERNETES}/concepts/cluster-administration/networking/",
    mark="rule2",
    level=Level.SHOULD,
    # So that there is a Pod with an address on every Node.
    roles=(Role.CLIENT,),
    probes=tuple(
        status(field, words(expected))
        for field, expected in (
            ("addresses-in-range", "in range"),
            ("ranges-apart", "apart"),
        )
    ),
    judge=all_answered,
    deviations=tuple(
        Deviation(
            plugin,
            f"{plugin} {OWN_IPAM}",
            lambda seen: seen.probe.target.name == "addresses-in-range",
        )
        for plugin in ("Calico", "Cilium", "Amazon VPC CNI", "Azure CNI")
    ),
    usually="a Node that was given another range than its CNI configuration has",
)

POD_TO_NODE_ADDRESS = Rule(
    id="POD-TO-NODE-ADDRESS",
    requirement="A Pod SHOULD reach every Node's address, its own Node's included.",
    spec=NETWORK_MODEL,
    mark="rule2",
    level=Level.SHOULD,
    families=FAMILIES,
    paths=PATHS,
    provided=(serves(Role.CLIENT),),
    probes=(
        connect(
            Role.CLIENT,
            Target(Kind.NODE, "kubelet", "10250"),
            protocol=Protocol.TCP,
            settings=(("handshake", True),),
        ),
    ),
    # That a kubelet refuses us is an answer of the Node.
    judge=each(node_is_there),
    usually="a firewall on the Node that drops what comes from Pods",
)

RULES = (
    POD_TO_POD,
    POD_SOURCE_PRESERVED,
    POD_DESTINATION_PRESERVED,
    POD_ADDRESS_AGREED,
    POD_GETS_ADDRESS,
    POD_ADDRESS_UNIQUE,
    NODE_TO_LOCAL_POD,
    NODE_TO_REMOTE_POD,
    POD_TO_HOST_NETWORK,
    POD_FULL_SIZE,
    POD_BULK,
    POD_NEW_REACHABLE,
    POD_ADDRESS_IN_RANGE,
    POD_TO_NODE_ADDRESS,
)
