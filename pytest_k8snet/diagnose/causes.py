"""The causes, the likelier ones first among those that look alike.

The patterns follow what was measured of each fault; the ids are those that people who
met it would search for.
"""

from __future__ import annotations

from pytest_k8snet.diagnose.cause import (
    Cause,
    Scope,
    Sign,
    anywhere,
    asked_on,
    at_it,
    at_its_address,
    back,
    crossing,
    either_way,
    entering,
    forth,
    leaving,
    within,
)
from pytest_k8snet.diagnose.entry_causes import ENTRY_CAUSES
from pytest_k8snet.model import ClusterFacts, Observation, Outcome

POD = ("POD-TO-POD",)
NODE_TO_POD = ("NODE-TO-REMOTE-POD",)
NODE_TO_OWN_POD = ("NODE-TO-LOCAL-POD",)
POD_TO_NODE = ("POD-TO-HOST-NETWORK",)
SIZE = ("POD-FULL-SIZE", "POD-BULK")
SERVICE = ("SERVICE-CLUSTER-IP",)
SERVICE_FROM_NODE = ("SERVICE-FROM-NODE",)
API = ("SERVICE-API-SERVER",)
NODE_PORT = ("NODEPORT-EVERY-NODE",)
CHANGES = ("SERVICE-BACKEND-ADDED", "SERVICE-BACKEND-REMOVED")
NAMES = ("DNS-SERVICE", "DNS-API-SERVER")
REPLICA = ("DNS-EVERY-REPLICA",)

THREADS = "https://github.com/"
MODEL = (
    "https://kubernetes.io/docs/concepts/services-networking/"
    "#the-kubernetes-network-model"
)


def timed_out(seen: Observation) -> bool:
    """Whether nothing at all came back."""
    return seen.outcome is Outcome.TIMED_OUT


def rejected(seen: Observation) -> bool:
    """Whether a router said at once that there is no way."""
    return seen.outcome is Outcome.UNREACHABLE and seen.seconds < 1  # ARP takes 3 s


def refused(seen: Observation) -> bool:
    """Whether somebody said that nobody serves."""
    return seen.outcome is Outcome.REFUSED


def has_overlay(facts: ClusterFacts) -> bool:
    """Whether Pods reach other Nodes through a tunnel."""
    return facts.network_plugin in {"flannel", "calico", "cilium", "weave"}


ON_THE_WAY = (
    Sign(POD, crossing),
    Sign(POD, within, fails=False),
    Sign(NODE_TO_OWN_POD, asked_on, fails=False),
)

CAUSES = (
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
        signs=(
            Sign(POD, either_way),
            Sign(NODE_TO_POD, either_way),
            Sign(POD_TO_NODE, either_way, fails=False),
        ),
        where=has_overlay,
        next="a firewall between {node} and {peer}: does it let the tunnel's UDP port "
        "(8472 or 4789) through, both ways?",
        link=THREADS + "flannel-io/flannel/issues/871",
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
        next="on {node}: ip neigh; is the hardware address of {peer} the right one?",
        link=THREADS + "flannel-io/flannel/issues/533",
    ),
    Cause(
        id="forward-reject-firewalld",
        layer="node kernel",
        scope=Scope.NODE,
        says="A firewall on {node} rejects what is forwarded for Pods{only}.",
        signs=(Sign(POD, crossing, how=rejected), Sign(POD, within, fails=False)),
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
            Sign(SERVICE, within),
        ),
        next="on {node}: sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding",
        link=THREADS + "kubernetes/kubernetes/issues/37632",
    ),
    Cause(
        id="forward-policy-drop",
        layer="node kernel",
        scope=Scope.NODE,
        says="{node} drops what it should forward for its Pods{only}.",
        signs=(
            *ON_THE_WAY,
            Sign(NODE_TO_POD, leaving, fails=False),
            Sign(NODE_TO_POD, entering),
        ),
        next="on {node}: iptables -vnL FORWARD | head -1; nft list ruleset",
        link=THREADS + "kubernetes/kubernetes/issues/40182",
    ),
    Cause(
        id="vxlan-stale-vtep-mac",
        layer="CNI overlay",
        scope=Scope.NODE,
        says="The tunnel of {node} is dead{only}: no other Node reaches its Pods.",
        signs=(
            *ON_THE_WAY,
            Sign(NODE_TO_POD, crossing),
            Sign(POD_TO_NODE, crossing, fails=False),
        ),
        where=has_overlay,
        next="on {node}: ip -d link show type vxlan; compare its address with what the "
        "other Nodes know: ip neigh, bridge fdb",
        link=THREADS + "flannel-io/flannel/issues/1155",
    ),
    Cause(
        id="nft-hidden-drop",
        layer="node kernel",
        scope=Scope.NODE,
        says="{node} drops what crosses to and from its Pods{only}.",
        signs=(*ON_THE_WAY, Sign(NODE_TO_POD, crossing)),
        next="on {node}: nft list ruleset (all families); counters of its drop rules",
        link=THREADS + "flannel-io/flannel/issues/2055",
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
        next="ip link on every Node: is the Pods' MTU that of the Node less what the "
        "tunnel needs (50 for VXLAN)?",
        link=THREADS + "flannel-io/flannel/issues/1999",
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
        configured=True,
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
        next="on {node}: the rules of the OUTPUT chain; rp_filter",
        link=THREADS + "istio/istio/issues/9119",
    ),
    Cause(
        id="hairpin-off",
        layer="node kernel",
        scope=Scope.NODE,
        says="Pods on {node} cannot reach themselves through their own Service{only}.",
        signs=(
            Sign(("SERVICE-HAIRPIN",), asked_on),
            Sign(SERVICE, within, fails=False),
        ),
        breaks=("SERVICE-HAIRPIN",),
        next="on {node}: bridge -d link; hairpinMode in the bridge plugin's "
        "configuration",
        link=THREADS + "kubernetes/kubernetes/issues/20475",
    ),
    Cause(
        id="bridge-nf-call-off",
        layer="node kernel",
        scope=Scope.NODE,
        says="On {node}, answers of a Pod to another one on the same Node pass by the "
        "Service's rules{only}.",
        signs=(
            Sign(SERVICE, within),
            Sign(SERVICE, leaving, fails=False),
            Sign(POD, within, fails=False),
        ),
        breaks=("SERVICE-", "DNS-"),
        next="on {node}: sysctl net.bridge.bridge-nf-call-iptables "
        "net.bridge.bridge-nf-call-ip6tables; modprobe br_netfilter",
        link=THREADS + "kubernetes/kubernetes/issues/21613",
    ),
    Cause(
        id="conntrack-notrack-service",
        layer="node kernel",
        scope=Scope.NODE,
        says="Pods on {node} reach no Service{only}, {node} itself does.",
        signs=(
            Sign(SERVICE, asked_on),
            Sign(SERVICE_FROM_NODE, asked_on, fails=False),
            Sign(POD, asked_on, fails=False),
        ),
        breaks=("SERVICE-", "DNS-", "NODEPORT-FROM-POD", "NODEPORT-HEALTH"),
        next="on {node}: nft list ruleset | grep notrack; iptables -t raw -vnL",
        link=THREADS + "kubernetes/kubernetes/issues/98758",
    ),
    Cause(
        id="kube-proxy-dead-stale-rules",
        layer="kube-proxy",
        scope=Scope.NODE,
        says="The service proxy on {node} does not follow changes{only}: old Services "
        "work, new ones do not.",
        signs=(
            Sign(CHANGES, asked_on, every=False),
            Sign(API, asked_on, fails=False),
            Sign(POD, asked_on, fails=False),
        ),
        breaks=("SERVICE-", "NODEPORT-", "DNS-"),
        next="the log of kube-proxy on {node}, and its :10256/healthz",
        link=THREADS + "kubernetes/kubernetes/issues/28674",
    ),
    Cause(
        id="kube-proxy-rules-missing",
        layer="kube-proxy",
        scope=Scope.NODE,
        says="{node} has no rules for Services{only}: from there none is reached.",
        signs=(
            Sign(SERVICE, asked_on),
            Sign(SERVICE_FROM_NODE, asked_on),
            Sign(POD, asked_on, fails=False),
        ),
        breaks=("SERVICE-", "NODEPORT-", "DNS-"),
        next="the log of kube-proxy on {node}; there: nft list table ip kube-proxy, or "
        "iptables-save | grep -c KUBE-",
        link=THREADS + "kubernetes/kubernetes/issues/61005",
    ),
    Cause(
        id="udp-stale-conntrack",
        layer="kube-proxy",
        scope=Scope.NODE,
        says="A UDP client on {node} keeps being sent to a backend that is gone{only}.",
        signs=(
            Sign(("SERVICE-UDP-REMAP",), asked_on),
            Sign(("SERVICE-BACKEND-REMOVED",), asked_on, fails=False),
        ),
        breaks=("SERVICE-UDP-REMAP",),
        next="on {node}: conntrack -L -p udp; does kube-proxy log that it clears them?",
        link=THREADS + "kubernetes/kubernetes/issues/125467",
    ),
    Cause(
        id="nodeport-node-firewall",
        layer="kube-proxy",
        scope=Scope.NODE,
        says="Nobody outside reaches the node ports of {node}{only}.",
        signs=(
            Sign(NODE_PORT, entering),
            Sign(SERVICE, asked_on, fails=False),
            Sign(POD, entering, fails=False),
        ),
        breaks=("NODEPORT-", "SERVICE-TYPE-CHANGE", "HOSTPORT"),
        next="a firewall at {node}: does it let 30000-32767 through, before NAT?",
        link=THREADS + "kubernetes/kubernetes/issues/86507",
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
        next="on {node}: the rules of the INPUT chain",
        link=MODEL,
    ),
    Cause(
        id="coredns-one-replica-bad",
        layer="DNS",
        scope=Scope.OBJECT,
        says="The replica {thing} of the cluster DNS does not answer; others do.",
        signs=(Sign(REPLICA, at_it),),
        breaks=("DNS-", "SERVICE-BY-NAME", "SERVICE-HEADLESS"),
        next="kubectl -n kube-system get pods -o wide | grep {thing}; its log",
        link=THREADS + "kubernetes/kubernetes/issues/129617",
    ),
    Cause(
        id="coredns-upstream-broken",
        layer="DNS",
        scope=Scope.CLUSTER,
        says="The cluster DNS resolves the cluster's names, and none from outside.",
        signs=(
            Sign(("DNS-UPSTREAM",), anywhere),
            Sign(NAMES, anywhere, fails=False),
        ),
        breaks=("DNS-UPSTREAM",),
        next="kubectl -n kube-system get configmap coredns -o yaml: where does it "
        "forward to, and does that answer?",
        link=THREADS + "coredns/coredns/issues/4211",
    ),
    Cause(
        id="kubelet-clusterdns-wrong-one-node",
        layer="DNS",
        scope=Scope.NODE,
        says="The kubelet of {node} gives Pods another name server than the cluster's.",
        signs=(
            Sign(("DNS-RESOLV-CONF",), asked_on, every=False),
            Sign(SERVICE, asked_on, fails=False),
        ),
        breaks=("DNS-", "SERVICE-BY-NAME", "SERVICE-HEADLESS"),
        next="on {node}: clusterDNS and clusterDomain in the kubelet's configuration",
        link=THREADS + "poseidon/matchbox/issues/180",
    ),
    Cause(
        id="service-refused",
        layer="service objects",
        scope=Scope.OBJECT,
        says="The Service {thing} refuses connections from everywhere{only}.",
        signs=(Sign((), at_it, how=refused),),
        next="kubectl get endpointslices -A | grep {thing}: does its selector match a "
        "Pod, and its targetPort a port that is listened on?",
        link="https://kubernetes.io/docs/tasks/debug/debug-application/debug-service/",
    ),
    *ENTRY_CAUSES,
)
