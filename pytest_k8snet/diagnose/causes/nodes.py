"""The causes of what fails between Pods and Nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_k8snet.diagnose.cause import (
    Cause,
    Confidence,
    Scope,
    Sign,
    anywhere,
    asked_on,
    at_its_address,
    back,
    crossing,
    depending,
    either_way,
    entering,
    forth,
    leaving,
    within,
)
from pytest_k8snet.diagnose.causes._traffic import MODEL, POD, SERVICE, THREADS
from pytest_k8snet.diagnose.matrix import RUNS
from pytest_k8snet.diagnose.proofs import (
    DROPS,
    FORWARDING_OFF,
    KUBELET_UNREACHED,
    TABLE_FULL,
    TUNNEL_PORTS,
    ruled,
)
from pytest_k8snet.diagnose.ways import (
    NO_ROUTE,
    SENT_ASTRAY,
    TUNNEL_DOWN,
    TUNNEL_MISTAKEN,
    TUNNEL_MOVED,
    WRONG_NEIGHBOUR,
)
from pytest_k8snet.model import Outcome

if TYPE_CHECKING:
    from pytest_k8snet.model import ClusterFacts, Observation

SIZE = ("POD-FULL-SIZE", "POD-BULK")
NODE_TO_POD = ("NODE-TO-REMOTE-POD",)
NODE_TO_OWN_POD = ("NODE-TO-LOCAL-POD",)
POD_TO_NODE = ("POD-TO-HOST-NETWORK",)
KUBELET = ("KUBELET-EXEC", "KUBELET-LOGS")


def timed_out(seen: Observation) -> bool:
    """Whether nothing at all came back."""
    return seen.outcome is Outcome.TIMED_OUT


def rejected(seen: Observation) -> bool:
    """Whether a router said at once that there is no way."""
    return seen.outcome is Outcome.UNREACHABLE and seen.seconds < 1  # ARP takes 3 s


def has_overlay(facts: ClusterFacts) -> bool:
    """Whether Pods reach other Nodes through a tunnel."""
    return facts.network_plugin in {"flannel", "Calico", "Cilium", "Weave Net"}


ON_THE_ROAD = ("prerouting", "forward", "postrouting")
"""Where packets pass that a Node forwards."""

ON_THE_WAY = (
    Sign(POD, crossing),
    Sign(POD, within, fails=False),
    Sign(NODE_TO_OWN_POD, asked_on, fails=False),
)

TUNNEL_CUT = (
    Sign(POD, either_way),
    Sign(NODE_TO_POD, either_way),
    Sign(POD_TO_NODE, either_way, fails=False),
)
TUNNEL_DEAD = (
    *ON_THE_WAY,
    Sign(NODE_TO_POD, crossing),
    Sign(POD_TO_NODE, crossing, fails=False),
)

NODE_CAUSES = (
    Cause(
        id="route-missing-podcidr",
        layer="node kernel",
        scope=Scope.PAIR,
        says="{node} has no route to the Pods of {peer}{only}.",
        signs=(
            Sign(POD, either_way),
            Sign(NODE_TO_POD, forth),
            Sign(NODE_TO_POD, back, fails=False),
        ),
        proofs=(NO_ROUTE,),
        next="on {node}: ip route get to an address of {peer_range}; the agent of the "
        "network plugin on {node} should have made it: its log",
        link=THREADS + "flannel-io/flannel/issues/1822",
    ),
    Cause(
        id="vxlan-udp-blocked-one-way",
        layer="CNI overlay",
        scope=Scope.PAIR,
        says="Tunnel packets between {node} and {peer} are lost{only}; the Nodes "
        "themselves reach each other.",
        signs=TUNNEL_CUT,
        where=has_overlay,
        proofs=(ruled(such=TUNNEL_PORTS),),
        next="a firewall between {node} and {peer}: does it let the tunnel's UDP port "
        "(8472 or 4789) through, both ways?",
        link=THREADS + "flannel-io/flannel/issues/871",
    ),
    Cause(
        id="vxlan-fdb-wrong-vtep",
        layer="CNI overlay",
        scope=Scope.PAIR,
        says="The tunnel of {node} sends what is for {peer} elsewhere{only}.",
        signs=TUNNEL_CUT,
        where=has_overlay,
        proofs=(SENT_ASTRAY,),
        unsigned=True,
        next="on {node}: bridge fdb show, beside the InternalIPs of the Nodes; restart "
        "the network plugin's agent there",
        link=THREADS + "flannel-io/flannel/issues/1788",
    ),
    Cause(
        id="arp-stale-peer-node",
        layer="node kernel",
        scope=Scope.PAIR,
        says="{node} and {peer} do not reach each other at all{only}.",
        signs=(
            Sign(POD, either_way),
            Sign(NODE_TO_POD, either_way),
            Sign(POD_TO_NODE, either_way),
        ),
        proofs=(WRONG_NEIGHBOUR,),
        next="on {node}: ip neigh; is the hardware address of {peer} the right one? "
        "is there a firewall between them?",
        link=THREADS + "flannel-io/flannel/issues/533",
    ),
    Cause(
        id="forward-reject-firewalld",
        layer="node kernel",
        scope=Scope.NODE,
        says="A firewall on {node} rejects what is forwarded for Pods{only}.",
        signs=(Sign(POD, crossing, how=rejected), Sign(POD, within, fails=False)),
        proofs=(ruled(what=r"\breject\b", else_not=True),),
        next="on {node}: nft list ruleset | grep -i reject; firewall-cmd --state",
        link=THREADS + "flannel-io/flannel/issues/2055",
    ),
    Cause(
        id="ip-forward-off",
        layer="node kernel",
        scope=Scope.NODE,
        says="{node} does not forward packets for its Pods{only}.",
        signs=(
            *ON_THE_WAY,
            Sign(NODE_TO_POD, leaving, fails=False),
            Sign(NODE_TO_POD, entering),
            # Where bridges are filtered, those of one IP family may get through.
            Sign(SERVICE, within, every=False),
        ),
        proofs=(FORWARDING_OFF,),
        next="on {node}: sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding",
        link=THREADS + "kubernetes/kubernetes/issues/37632",
    ),
    Cause(
        id="forward-policy-drop",
        layer="node kernel",
        scope=Scope.NODE,
        says="{node} drops what it should forward for its Pods{only}.",
        # Where bridges are filtered, too, its Pods do not reach each other, either.
        signs=(
            Sign(POD, crossing),
            Sign(NODE_TO_OWN_POD, asked_on, fails=False),
            Sign(NODE_TO_POD, leaving, fails=False),
            Sign(NODE_TO_POD, entering),
        ),
        proofs=(ruled("forward", what="policy drop", else_not=True),),
        next="on {node}: iptables -vnL FORWARD | head -1; nft list ruleset",
        link=THREADS + "kubernetes/kubernetes/issues/40182",
    ),
    Cause(
        id="vxlan-stale-vtep-mac",
        layer="CNI overlay",
        scope=Scope.NODE,
        says="The tunnel of {node} is dead{only}: no other Node reaches its Pods.",
        signs=TUNNEL_DEAD,
        where=has_overlay,
        proofs=(TUNNEL_MOVED, TUNNEL_MISTAKEN),
        next="on {node}: ip -d link show type vxlan; compare its address with what the "
        "other Nodes know: ip neigh, bridge fdb",
        link=THREADS + "flannel-io/flannel/issues/1155",
    ),
    Cause(
        id="vxlan-device-down",
        layer="CNI overlay",
        scope=Scope.NODE,
        says="The tunnel of {node} is down or gone{only}.",
        signs=TUNNEL_DEAD,
        where=has_overlay,
        proofs=(TUNNEL_DOWN,),
        unsigned=True,
        next="on {node}: ip -d link show type vxlan; the log of the network plugin's "
        "agent there",
        link=THREADS + "flannel-io/flannel/issues/1330",
    ),
    Cause(
        id="nft-hidden-drop",
        layer="node kernel",
        scope=Scope.NODE,
        says="{node} drops what is for its Pods{only}.",
        signs=(
            Sign(POD, entering),
            Sign(NODE_TO_OWN_POD, asked_on, fails=False),
            Sign(NODE_TO_POD, entering),
        ),
        proofs=(ruled(*ON_THE_ROAD, what=DROPS, else_not=True),),
        next="on {node}: nft list ruleset (all families); counters of its drop rules",
        link=THREADS + "flannel-io/flannel/issues/2055",
    ),
    Cause(
        id="conntrack-table-full",
        layer="node kernel",
        scope=Scope.NODE,
        says="{node} tracks as many connections as it may: it drops new ones{only}.",
        # Not even streams to its agents open then, nor do readiness probes.
        signs=(Sign((RUNS, *POD), depending, every=False),),
        proofs=(TABLE_FULL,),
        unsigned=True,
        next="on {node}: sysctl net.netfilter.nf_conntrack_count "
        "net.netfilter.nf_conntrack_max; who opens so many connections?",
        link=THREADS + "kubernetes/kubernetes/issues/71261",
    ),
    Cause(
        id="mtu-path-blackhole",
        layer="node kernel",
        scope=Scope.NODE,
        says="Large packets to or from {node} are lost, and nobody is told{only}.",
        signs=(
            Sign(SIZE, crossing, how=timed_out),
            Sign(SIZE, within, fails=False),
            Sign(POD, crossing, fails=False),
        ),
        breaks=("POD-FULL-SIZE", "POD-BULK", "POD-FRAGMENTS", "DNS-"),
        proofs=(ruled(such="length"),),
        next="ip link on every Node: is the Pods' MTU that of the Node less what the "
        "tunnel needs (50 for VXLAN)?",
        link=THREADS + "flannel-io/flannel/issues/1999",
    ),
    Cause(
        id="link-lossy",
        layer="node kernel",
        scope=Scope.NODE,
        says="Some of the packets to or from {node} are lost{only}.",
        signs=(
            Sign(("POD-LOSS",), crossing, every=False),
            Sign(("POD-LOSS",), within, fails=False),
            Sign(POD, crossing, fails=False),
        ),
        next="on {node} and at its switch: ip -s link; ethtool -S; nstat",
        link=THREADS + "kubernetes/kubernetes/issues/76699",
    ),
    Cause(
        id="mtu-differs",
        layer="CNI",
        scope=Scope.CLUSTER,
        says="The Pods' MTU is not the same on every Node.",
        signs=(
            Sign(("POD-MTU-CONSISTENT",), anywhere, every=False),
            Sign(POD, anywhere, fails=False),
        ),
        breaks=("POD-MTU-CONSISTENT", "POD-FULL-SIZE"),
        next="the mtu in the network plugin's configuration of the Nodes that differ",
        link=THREADS + "flannel-io/flannel/issues/1614",
    ),
    Cause(
        id="fragments-dropped",
        layer="node kernel",
        scope=Scope.NODE,
        says="Fragments to or from {node} are dropped{only}.",
        signs=(
            Sign(("POD-FRAGMENTS",), crossing),
            Sign(SIZE, crossing, fails=False),
        ),
        breaks=("POD-FRAGMENTS",),
        proofs=(ruled(such=r"\bfrag"),),
        next="a firewall at {node} that lets no fragments through",
        link=THREADS + "cilium/cilium/issues/12624",
    ),
    Cause(
        id="icmp-filtered",
        layer="node kernel",
        scope=Scope.NODE,
        says="{node} filters ICMP echoes{only}; connections work.",
        signs=(
            Sign(("POD-PING",), entering),
            Sign(POD, crossing, fails=False),
        ),
        breaks=("POD-PING",),
        confidence=Confidence.CONFIGURED,
        proofs=(ruled(such="icmp"),),
        next="nothing, when that is wanted: ping is no test of this cluster then",
        link=MODEL,
    ),
    Cause(
        id="masq-pod-to-pod",
        layer="node kernel",
        scope=Scope.NODE,
        says="{node} hides the addresses of its Pods from other Nodes{only}.",
        signs=(
            Sign(("POD-SOURCE-PRESERVED",), leaving),
            Sign(("POD-SOURCE-PRESERVED",), within, fails=False),
            Sign(POD, crossing, fails=False),
        ),
        breaks=("POD-SOURCE", "SERVICE-SOURCE", "POD-TO-HOST-NETWORK"),
        proofs=(ruled("postrouting", what=r"\b(?:masquerade|snat)\b"),),
        next="on {node}: the masquerade rules of the chain nat POSTROUTING: do they "
        "except the cluster's Pod ranges?",
        link=THREADS + "kubernetes-sigs/ip-masq-agent/issues/65",
    ),
    Cause(
        id="masq-inbound-to-pods",
        layer="node kernel",
        scope=Scope.NODE,
        says="{node} hides from its Pods who calls them{only}.",
        signs=(
            Sign(("POD-SOURCE-PRESERVED",), entering),
            Sign(POD, crossing, fails=False),
        ),
        breaks=("POD-SOURCE", "SERVICE-SOURCE", "NODEPORT-SOURCE"),
        proofs=(ruled("postrouting", what=r"\b(?:masquerade|snat)\b"),),
        next="on {node}: the masquerade rules of the chain nat POSTROUTING",
        link=THREADS + "projectcalico/calico/issues/8812",
    ),
    Cause(
        id="node-to-local-pod-blocked",
        layer="node kernel",
        scope=Scope.NODE,
        says="{node} does not reach its own Pods{only}; others do. Its kubelet probes "
        "them that way.",
        signs=(
            Sign(NODE_TO_OWN_POD, within),
            Sign(POD, entering, fails=False),
        ),
        breaks=("NODE-TO-LOCAL-POD", "KUBELET-PROBES", "NODEPORT-", "SERVICE-FROM"),
        proofs=(ruled("output"),),
        next="on {node}: the rules of the OUTPUT chain; rp_filter",
        link=THREADS + "istio/istio/issues/9119",
    ),
    Cause(
        id="node-deaf-to-pods",
        layer="node kernel",
        scope=Scope.NODE,
        says="{node} drops what Pods send to its own address{only}.",
        signs=(
            Sign(("POD-TO-NODE-ADDRESS",), at_its_address),
            Sign(POD, crossing, fails=False),
        ),
        breaks=("POD-TO-NODE-ADDRESS", "POD-TO-HOST-NETWORK", "NODEPORT-HEALTH"),
        proofs=(ruled("prerouting", "input"),),
        next="on {node}: the rules of the INPUT chain",
        link=MODEL,
    ),
    Cause(
        id="node-internalip-wrong",
        layer="control plane",
        scope=Scope.NODE,
        says="The API server does not reach the kubelet of {node}; its Pods work.",
        signs=(
            Sign(KUBELET, asked_on, every=False),
            Sign(POD, crossing, fails=False),
        ),
        breaks=("KUBELET-EXEC", "KUBELET-LOGS"),
        proofs=(KUBELET_UNREACHED,),
        next="kubectl get node {node} -o wide: is its InternalIP the one that its "
        "kubelet listens on, and is 10250 let through?",
        link=THREADS + "kubernetes/website/issues/6870",
    ),
)
