"""Faults of single Pods and of what a Node tells its Pods. See ``network``."""

from __future__ import annotations

from faults import addresses, bridge, kubelet, netfilter, runtime
from faults.catalogue.network import ONE, OTHER, each
from faults.ends import about, asked_on, at_port, dialled_at, everywhere, over
from faults.fault import Fault, together

SERVER, CLIENT, EDGE = "server-", "client-", "edge-"


CONTAINERS_APART = Fault(
    id="containers-apart",
    breaks="Second containers of Pods on a Node have network namespaces of their own.",
    inject=together(
        runtime.apart(OTHER, CLIENT, "sibling"), runtime.apart(OTHER, EDGE, "sidecar")
    ),
    red={
        **each(
            (
                *("LOCALHOST-TCP", "LOCALHOST-UDP", "LOCALHOST-IPV6"),
                "LOCALHOST-SHARED-PORTS",
            ),
            asked_on(OTHER),
        ),
        "LOCALHOST-ONE-ADDRESS": about("addresses", asked_on(OTHER)),
    },
)

LOOPBACK_PUBLISHED = Fault(
    id="pod-loopback-published",
    breaks="Servers on the loopback of a Node's Pods are reached at their Pod IPs.",
    inject=runtime.loopback_published(OTHER, SERVER, 8088),
    # IPv6 has no route_localnet: the kernel drops what is rewritten to ::1.
    red={"LOCALHOST-PRIVATE": over("ipv4", dialled_at(OTHER))},
)

NODE_LOOPBACK_SHOWN = Fault(
    id="node-loopback-shown",
    breaks="What a Node's Pods send to their loopback arrives at that of the Node.",
    inject=runtime.node_loopback_shown(OTHER, CLIENT),
    red={"LOCALHOST-NOT-NODE": at_port("host-loopback", asked_on(OTHER))},
)

LOOPBACK_REFUSES = Fault(
    id="pod-loopback-refuses",
    breaks="Pods of a Node refuse what comes to a port of theirs over the loopback.",
    inject=runtime.loopback_refuses(OTHER, SERVER, 8080),
    red={"KUBELET-LOGS": about("port-forward", asked_on(OTHER))},
)

SECOND_ADDRESS = Fault(
    id="pod-second-address",
    breaks="Servers on a Node are reached at an address that nobody dialled.",
    inject=runtime.second_address(OTHER, SERVER, 8080),
    red={
        "POD-DESTINATION-PRESERVED": dialled_at(OTHER),
        "POD-ADDRESS-AGREED": asked_on(OTHER),
    },
)

HOSTS_FILE_CHANGED = Fault(
    id="hosts-file-changed",
    breaks="The /etc/hosts of Pods on a Node has other names than their own.",
    inject=runtime.hosts_file_changed(OTHER, SERVER),
    red={"LOCALHOST-HOSTS-FILE": asked_on(OTHER)},
)

HOST_PORTS_UNMAPPED = Fault(
    id="hostport-portmap-missing",
    breaks="A Node maps no hostPorts.",
    inject=bridge.without_host_ports(OTHER),
    red={"HOSTPORT": dialled_at(OTHER)},
)

ADDRESS_SHARED = Fault(
    id="ipam-store-lost",
    breaks="Two Pods of a Node have the same addresses.",
    inject=addresses.shared(OTHER),
    red={"POD-ADDRESS-UNIQUE": asked_on(OTHER)},
)

ADDRESS_FOREIGN = Fault(
    id="ipam-foreign-range",
    breaks="A Pod on a Node has addresses of nobody's range.",
    inject=addresses.foreign(ONE),
    red={"POD-ADDRESS-IN-RANGE": about("addresses-in-range", asked_on(ONE))},
)

WRONG_CLUSTER_DNS = Fault(
    id="kubelet-clusterdns-wrong-one-node",
    breaks="The kubelet of a Node tells Pods another name server than the others do.",
    inject=kubelet.wrong_cluster_dns(ONE),
    red=each(
        ("DNS-RESOLV-CONF", "DNS-HOST-NETWORK"), about("nameservers", asked_on(ONE))
    ),
)

NODE_ASKS_THE_CLUSTER = Fault(
    id="node-resolv-conf-is-clusters",
    breaks="A Node itself asks the cluster DNS, and its Pods of dnsPolicy Default do.",
    inject=kubelet.node_asks_the_cluster(ONE),
    red={"DNS-POLICY-DEFAULT": asked_on(ONE)},
)

OWN_PODS_BLOCKED = Fault(
    id="node-to-local-pod-blocked",
    breaks="A Node cannot reach its own Pods; so they never become ready.",
    inject=netfilter.own_pods_blocked(OTHER),
    red={"NODE-TO-LOCAL-POD": asked_on(OTHER), "KUBELET-PROBES": asked_on(OTHER)},
    # Services leave out what is not ready, and so say nothing of the network.
    inconclusive=each(
        (
            *("SERVICE-CLUSTER-IP", "SERVICE-FROM-NODE", "SERVICE-BY-NAME"),
            *("SERVICE-ALL-BACKENDS", "SERVICE-BALANCE", "SERVICE-HAIRPIN"),
            *("SERVICE-HEADLESS", "SERVICE-NO-ENDPOINTS", "SERVICE-SOURCE-PRESERVED"),
            *("SERVICE-TRAFFIC-DISTRIBUTION", "CLUSTER-IP-NOT-EXPOSED"),
            *("DNS-HEADLESS", "DNS-SRV-HEADLESS", "DNS-POD-HOSTNAME", "DNS-PTR"),
            "CONTROL-PLANE-TO-POD",
        ),
        everywhere,
    ),
)

KUBELET_CLOSED = Fault(
    id="kubelet-port-closed",
    breaks="A Node refuses every connection to its kubelet.",
    inject=netfilter.kubelet_closed(ONE),
    red={"KUBELET-EXEC": asked_on(ONE)},
    args=("-k", "KUBELET-EXEC"),
)

FAULTS = (
    CONTAINERS_APART,
    LOOPBACK_PUBLISHED,
    NODE_LOOPBACK_SHOWN,
    LOOPBACK_REFUSES,
    SECOND_ADDRESS,
    HOSTS_FILE_CHANGED,
    HOST_PORTS_UNMAPPED,
    ADDRESS_SHARED,
    ADDRESS_FOREIGN,
    WRONG_CLUSTER_DNS,
    NODE_ASKS_THE_CLUSTER,
    OWN_PODS_BLOCKED,
    KUBELET_CLOSED,
)
