"""Faults of single Pods and of what a Node tells its Pods."""

from __future__ import annotations

from pytest_k8snet.faults import addresses, bridge, kubelet, netfilter, runtime
from pytest_k8snet.faults.catalogue.nodes import ONE, OTHER
from pytest_k8snet.faults.fault import Fault, together

SERVER, CLIENT, EDGE = "server-", "client-", "edge-"

CONTAINERS_APART = Fault(
    id="containers-apart",
    breaks="Second containers of Pods on a Node have network namespaces of their own.",
    inject=together(
        runtime.apart(OTHER, CLIENT, "sibling"), runtime.apart(OTHER, EDGE, "sidecar")
    ),
    nodes=(OTHER,),
)

LOOPBACK_PUBLISHED = Fault(
    id="pod-loopback-published",
    breaks="Servers on the loopback of a Node's Pods are reached at their Pod IPs.",
    inject=runtime.loopback_published(OTHER, SERVER, 8088),
    nodes=(OTHER,),
)

NODE_LOOPBACK_SHOWN = Fault(
    id="node-loopback-shown",
    breaks="What a Node's Pods send to their loopback arrives at that of the Node.",
    inject=runtime.node_loopback_shown(OTHER, CLIENT),
    nodes=(OTHER,),
)

LOOPBACK_REFUSES = Fault(
    id="pod-loopback-refuses",
    breaks="Pods of a Node refuse what comes to a port of theirs over the loopback.",
    inject=runtime.loopback_refuses(OTHER, SERVER, 8080),
    nodes=(OTHER,),
)

SECOND_ADDRESS = Fault(
    id="pod-second-address",
    breaks="Servers on a Node are reached at an address that nobody dialled.",
    inject=runtime.second_address(OTHER, SERVER, 8080),
    nodes=(OTHER,),
)

HOSTS_FILE_CHANGED = Fault(
    id="hosts-file-changed",
    breaks="The /etc/hosts of Pods on a Node has other names than their own.",
    inject=runtime.hosts_file_changed(OTHER, SERVER),
    nodes=(OTHER,),
)

HOST_PORTS_UNMAPPED = Fault(
    id="hostport-portmap-missing",
    breaks="A Node maps no hostPorts.",
    inject=bridge.without_host_ports(OTHER),
    nodes=(OTHER,),
)

ADDRESS_SHARED = Fault(
    id="ipam-store-lost",
    breaks="Two Pods of a Node have the same addresses.",
    inject=addresses.shared(OTHER),
    nodes=(OTHER,),
)

ADDRESS_FOREIGN = Fault(
    id="ipam-foreign-range",
    breaks="A Pod on a Node has addresses of nobody's range.",
    inject=addresses.foreign(ONE),
    nodes=(ONE,),
)

WRONG_CLUSTER_DNS = Fault(
    id="kubelet-clusterdns-wrong-one-node",
    breaks="The kubelet of a Node tells Pods another name server than the others do.",
    inject=kubelet.wrong_cluster_dns(ONE),
    nodes=(ONE,),
)

NODE_ASKS_THE_CLUSTER = Fault(
    id="node-resolv-conf-is-clusters",
    breaks="A Node itself asks the cluster DNS, and its Pods of dnsPolicy Default do.",
    inject=kubelet.node_asks_the_cluster(ONE),
    nodes=(ONE,),
)

OWN_PODS_BLOCKED = Fault(
    id="node-to-local-pod-blocked",
    breaks="A Node cannot reach its own Pods; so they never become ready.",
    inject=netfilter.own_pods_blocked(OTHER),
    nodes=(OTHER,),
)

KUBELET_CLOSED = Fault(
    id="kubelet-port-closed",
    breaks="A Node refuses every connection to its kubelet.",
    inject=netfilter.kubelet_closed(ONE),
    nodes=(ONE,),
)

CONFIGURATION_MISSING = Fault(
    id="cni-conf-missing",
    breaks="A Node has no CNI configuration: it is not ready, and takes no new Pods.",
    inject=bridge.configuration_missing(OTHER),
    nodes=(OTHER,),
)

RANGE_EXHAUSTED = Fault(
    id="ipam-range-exhausted",
    breaks="A Node's Pod range has no address left: no new Pod starts there.",
    inject=addresses.exhausted(OTHER),
    nodes=(OTHER,),
)

RANGE_OF_ANOTHER = Fault(
    id="podcidr-duplicate-two-nodes",
    breaks="A Node gives its Pods addresses of another Node's range.",
    inject=addresses.range_of(OTHER, owner=ONE),
    nodes=(OTHER,),
)

GIVEN_AWAY_EARLY = Fault(
    id="pod-address-given-away-early",
    breaks="The addresses of a Node's Pods are another's while they still terminate.",
    inject=addresses.given_away_early(OTHER),
    nodes=(OTHER,),
)

FAULTS = (
    CONFIGURATION_MISSING,
    RANGE_EXHAUSTED,
    RANGE_OF_ANOTHER,
    CONTAINERS_APART,
    LOOPBACK_PUBLISHED,
    NODE_LOOPBACK_SHOWN,
    LOOPBACK_REFUSES,
    SECOND_ADDRESS,
    HOSTS_FILE_CHANGED,
    HOST_PORTS_UNMAPPED,
    ADDRESS_SHARED,
    ADDRESS_FOREIGN,
    GIVEN_AWAY_EARLY,
    WRONG_CLUSTER_DNS,
    NODE_ASKS_THE_CLUSTER,
    OWN_PODS_BLOCKED,
    KUBELET_CLOSED,
)
