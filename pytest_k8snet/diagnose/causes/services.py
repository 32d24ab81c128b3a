"""The causes of what fails on the way to Services and names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_k8snet.diagnose.cause import (
    Cause,
    Confidence,
    Scope,
    Sign,
    anywhere,
    asked_on,
    at_it,
    at_its_address,
    by_name,
    entering,
    leaving,
    within,
)
from pytest_k8snet.diagnose.causes._traffic import POD, SERVICE, THREADS
from pytest_k8snet.diagnose.evidence import Look, Proof
from pytest_k8snet.diagnose.proofs import (
    AGENTS,
    BRIDGE_UNSEEN,
    NO_HAIRPIN,
    NO_SERVICE_RULES,
    PROXY_ROBBED,
    PROXY_SILENT,
    RULES_BEHIND,
    anything,
    each_mentions,
    lacks,
    mentions,
    of_cluster,
    of_node,
    of_things,
    or_else,
    ruled,
)
from pytest_k8snet.model import Outcome

if TYPE_CHECKING:
    from pytest_k8snet.diagnose.cause import Place
    from pytest_k8snet.diagnose.matrix import Cell
    from pytest_k8snet.model import Observation

SERVICE_FROM_NODE = ("SERVICE-FROM-NODE",)
API = ("SERVICE-API-SERVER",)
NODE_PORT = ("NODEPORT-EVERY-NODE",)
CHANGES = ("SERVICE-BACKEND-ADDED", "SERVICE-BACKEND-REMOVED")
NAMES = ("DNS-SERVICE", "DNS-API-SERVER")
REPLICA = ("DNS-EVERY-REPLICA",)
DENIES = ("NP-INGRESS-DEFAULT-DENY", "NP-EGRESS-DEFAULT-DENY")


def timed_out(seen: Observation) -> bool:
    """Whether nothing at all came back."""
    return seen.outcome is Outcome.TIMED_OUT


def unknown_name(seen: Observation) -> bool:
    """Whether a name server says that there is no such name."""
    return seen.outcome is Outcome.NAME_NOT_FOUND


def let_through(seen: Observation) -> bool:
    """Whether what no policy allows was served."""
    return seen.probe.ask.blocked and seen.outcome is Outcome.CONNECTED


def policed_at(cell: Cell, place: Place) -> bool:
    """To a Pod on the Node that no policy lets in, or from one that it lets not out."""
    end = cell.source if "EGRESS" in cell.rule else cell.target
    return end == place.nodes[0]


def unrefused(cell: Cell, _: Place) -> bool:
    """To where nobody serves, once the kernel has refused as often as it may."""
    return cell.rule == "SERVICE-NO-ENDPOINTS" and timed_out(cell.seen)


def refused(seen: Observation) -> bool:
    """Whether somebody said that nobody serves."""
    return seen.outcome is Outcome.REFUSED


SERVICE_CAUSES = (
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
        proofs=(NO_HAIRPIN,),
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
        proofs=(BRIDGE_UNSEEN,),
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
        proofs=(ruled(what="notrack"),),
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
        proofs=(PROXY_SILENT, RULES_BEHIND, lacks("kube-proxy")),
        next="the log of kube-proxy on {node}, and its :10256/healthz; there: nft list "
        "ruleset, or iptables-save, | grep -c the ClusterIP of a new Service",
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
        breaks=("SERVICE-", "NODEPORT-", "DNS-", "EGRESS-"),
        proofs=(NO_SERVICE_RULES, PROXY_ROBBED, lacks("kube-proxy")),
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
            Sign(("SERVICE-UDP-REMAP",), asked_on, every=False),
            Sign(("SERVICE-BACKEND-REMOVED",), asked_on, fails=False),
        ),
        breaks=("SERVICE-UDP-REMAP",),
        proofs=(Proof(of_node(Look.FLOWS), anything),),
        next="on {node}: conntrack -L -p udp; does kube-proxy log that it clears them?",
        link=THREADS + "kubernetes/kubernetes/issues/125467",
    ),
    Cause(
        id="etp-local-blackhole",
        layer="kube-proxy",
        scope=Scope.OBJECT,
        says="The Service {thing} is served outside only by Nodes that have a Pod of "
        "it{only}: so its externalTrafficPolicy wants it.",
        signs=(Sign(NODE_PORT, at_it, every=False, how=timed_out),),
        breaks=("NODEPORT-", "SERVICE-TYPE-CHANGE", "LOADBALANCER-"),
        confidence=Confidence.CONFIGURED,
        proofs=(
            Proof(
                of_things(Look.SERVICE), each_mentions("externalTrafficPolicy Local")
            ),
        ),
        unsigned=True,
        next="nothing, when the load balancer asks each Node's healthCheckNodePort; "
        "else Pods on every Node, or externalTrafficPolicy: Cluster",
        link=THREADS + "kubernetes/kubernetes/issues/92761",
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
        proofs=(ruled("prerouting", "forward", "input", such=r"dports? "),),
        next="a firewall at {node}: does it let 30000-32767 through, before NAT?",
        link=THREADS + "kubernetes/kubernetes/issues/86507",
    ),
    Cause(
        id="coredns-one-replica-bad",
        layer="DNS",
        scope=Scope.OBJECT,
        says="At {thing} the cluster DNS does not answer; its other replicas do.",
        signs=(Sign(REPLICA, at_it),),
        breaks=("DNS-", "SERVICE-BY-NAME", "SERVICE-HEADLESS"),
        reaches=by_name,
        confidence=Confidence.CONFIRMED,
        next="kubectl -n kube-system get pods -o wide | grep {thing}; its log",
        link=THREADS + "kubernetes/kubernetes/issues/129617",
    ),
    Cause(
        id="coredns-stale-api",
        layer="DNS",
        scope=Scope.CLUSTER,
        says="The cluster DNS knows old names, and none that are new: it hears nothing "
        "from the API server.",
        signs=(
            Sign(("DNS-SERVICE",), anywhere, how=unknown_name),
            Sign(("DNS-API-SERVER",), anywhere, fails=False),
            Sign(SERVICE, anywhere, fails=False),
        ),
        breaks=("DNS-", "SERVICE-BY-NAME", "SERVICE-HEADLESS"),
        proofs=(
            Proof(of_cluster(Look.FORWARD), mentions(r"^log .*(?:watch|reflector)")),
        ),
        next="kubectl -n kube-system logs -l k8s-app=kube-dns: does it reach the API "
        "server, and may it list EndpointSlices?",
        link=THREADS + "coredns/coredns/issues/3879",
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
        proofs=(
            Proof(
                of_cluster(Look.FORWARD),
                mentions("^log .*(?:timeout|refused|unreachable|no route)"),
            ),
        ),
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
        confidence=Confidence.CONFIRMED,
        next="on {node}: clusterDNS and clusterDomain in the kubelet's configuration",
        link=THREADS + "poseidon/matchbox/issues/180",
    ),
    Cause(
        id="svc-selector-mismatch",
        layer="service objects",
        scope=Scope.OBJECT,
        says="The Service {thing} refuses connections from everywhere{only}.",
        signs=(Sign((), at_it, how=refused),),
        reaches=unrefused,
        proofs=(
            Proof(
                of_things(Look.SERVICE),
                or_else(r"matches 0 Pods", r": [1-9]\d* ready endpoints"),
            ),
        ),
        next="kubectl get endpointslices -A | grep {thing}: does its selector match a "
        "Pod, and its targetPort a port that is listened on?",
        link="https://kubernetes.io/docs/tasks/debug/debug-application/debug-service/",
    ),
    Cause(
        id="endpointslice-orphan",
        layer="service objects",
        scope=Scope.OBJECT,
        says="The Service {thing} has endpoints that nobody is{only}.",
        signs=(Sign((), at_it, every=False),),
        proofs=(Proof(of_things(Look.SERVICE), mentions("is no Pod's")),),
        unsigned=True,
        next="kubectl get endpointslices -A -l kubernetes.io/service-name={thing}: who "
        "manages them, and does each address belong to a Pod?",
        link=THREADS + "kubernetes/kubernetes/issues/103804",
    ),
    Cause(
        id="svc-targetport-wrong",
        layer="service objects",
        scope=Scope.OBJECT,
        says="The Pods behind {thing} refuse connections{only}.",
        signs=(Sign((), at_it, how=refused),),
        reaches=unrefused,
        proofs=(
            Proof(
                of_things(Look.SERVICE),
                or_else(r"none of its Pods", r": 0 ready endpoints"),
            ),
        ),
        next="kubectl get endpointslices -A -o wide | grep {thing}: do its Pods listen "
        "on that port, and on more than localhost?",
        link="https://kubernetes.io/docs/tasks/debug/debug-application/debug-service/",
    ),
    Cause(
        id="service-no-endpoints-blackhole",
        layer="kube-proxy",
        scope=Scope.NODE,
        says="From {node}, a Service without endpoints swallows connections{only}.",
        signs=(
            Sign(("SERVICE-NO-ENDPOINTS",), asked_on, how=timed_out),
            Sign(SERVICE, asked_on, fails=False),
        ),
        breaks=("SERVICE-NO-ENDPOINTS",),
        proofs=(ruled(such=r"icmp|unreachable"),),
        next="on {node}: the reject rules of kube-proxy, and what passes before them",
        link="https://kubernetes.io/docs/reference/networking/virtual-ips/",
    ),
    Cause(
        id="hostport-portmap-missing",
        layer="CNI",
        scope=Scope.NODE,
        says="The hostPorts of Pods on {node} lead nowhere{only}; the Pods are there.",
        signs=(
            Sign(("HOSTPORT",), at_its_address),
            Sign(POD, at_its_address, fails=False),
            Sign(NODE_PORT, at_its_address, fails=False),
        ),
        breaks=("HOSTPORT",),
        next="on {node}: is portmap in the list of plugins in /etc/cni/net.d?",
        link=THREADS + "projectcalico/kube-controllers/issues/109",
    ),
    Cause(
        id="netpol-not-enforced",
        layer="policy",
        scope=Scope.NODE,
        says="NetworkPolicies are not enforced for the Pods of {node}{only}.",
        signs=(
            Sign(DENIES, policed_at, how=let_through),
            Sign(("NP-DEFAULT-ALLOW",), anywhere, fails=False),
        ),
        breaks=("NP-",),
        proofs=(lacks(AGENTS),),
        next="the Pod of the network plugin's policy agent on {node}: does it run, and "
        "what does its log say?",
        link=THREADS + "flannel-io/flannel/issues/2183",
    ),
    Cause(
        id="netpol-not-enforced",
        layer="policy",
        scope=Scope.CLUSTER,
        says="NetworkPolicies are accepted, and nothing enforces them{only}.",
        signs=(
            Sign(DENIES, anywhere, how=let_through),
            Sign(("NP-DEFAULT-ALLOW",), anywhere, fails=False),
        ),
        breaks=("NP-",),
        next="kubectl -n kube-system get pods: does the network plugin's policy agent "
        "run on every Node, and is it told to enforce?",
        link=THREADS + "flannel-io/flannel/issues/2183",
    ),
)
