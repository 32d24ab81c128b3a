"""Faults of Nodes, of what connects them, and of their service proxies."""

from __future__ import annotations

from contextlib import contextmanager

from pytest_k8snet.faults import (
    bridge,
    netfilter,
    routes,
    service_proxy,
    upstream,
)
from pytest_k8snet.faults.catalogue.nodes import FIRST, ONE, OTHER
from pytest_k8snet.faults.fault import Fault, together

ROUTE_MISSING = Fault(
    id="route-missing-podcidr",
    breaks="A Node has no route to one other Node's Pods.",
    inject=routes.missing(ONE, to=OTHER),
    nodes=(ONE,),
)

RULES_MISSING = Fault(
    id="kube-proxy-rules-missing",
    breaks="A Node has no Service rules at all.",
    inject=service_proxy.rules_flushed(OTHER),
    nodes=(OTHER,),
)

MASQUERADED = Fault(
    id="masq-pod-to-pod",
    breaks="A Node hides its Pods' addresses from the rest of the cluster.",
    inject=netfilter.pods_masqueraded(OTHER),
    nodes=(OTHER,),
)

LARGE_PACKETS_LOST = Fault(
    id="mtu-path-blackhole",
    breaks="The way to a Node carries less than its Pods' MTU, and nobody is told.",
    inject=netfilter.large_packets_lost(OTHER, most=1400),
    nodes=(OTHER,),
)

DNS_REPLICA_SILENT = Fault(
    id="coredns-one-replica-bad",
    breaks="One replica of the cluster DNS does not answer, and counts as ready.",
    inject=contextmanager(netfilter.first_dns_replica_silent),
)

HAIRPIN_OFF = Fault(
    id="hairpin-off",
    breaks="A Node's Pods cannot reach themselves through their own Service.",
    inject=bridge.without_hairpin(OTHER),
    nodes=(OTHER,),
)

CUT_OFF = Fault(
    id="pod-traffic-dropped",
    breaks="A Node drops whatever arrives from or for Pods.",
    inject=netfilter.no_pod_traffic(OTHER),
    nodes=(OTHER,),
)

SCTP_DROPPED = Fault(
    id="sctp-dropped",
    breaks="No Node passes SCTP on.",
    inject=together(
        *(netfilter.protocol_dropped(node, "sctp") for node in (FIRST, ONE, OTHER))
    ),
    nodes=(FIRST, ONE, OTHER),
)

QUIET_FORGOTTEN = Fault(
    id="idle-connections-forgotten",
    breaks="A firewall on a Node forgets what was not used for half a minute.",
    inject=netfilter.quiet_connections_forgotten(OTHER, seconds=30),
    nodes=(OTHER,),
)

OTHER_MTU = Fault(
    id="mtu-differs",
    breaks="The Pods of a Node have another MTU than those of the others.",
    inject=bridge.with_mtu(OTHER, 1400),
    nodes=(OTHER,),
)

FRAGMENTS_DROPPED = Fault(
    id="fragments-dropped",
    breaks="A Node drops the fragments that arrive.",
    inject=netfilter.fragments_dropped(OTHER),
    nodes=(OTHER,),
)

ECHOES_DROPPED = Fault(
    id="icmp-echo-dropped",
    breaks="A Node drops the ICMP echoes that arrive.",
    inject=netfilter.echoes_dropped(OTHER),
    nodes=(OTHER,),
)

DEAF_TO_PODS = Fault(
    id="node-deaf-to-pods",
    breaks="A Node drops what Pods send to its own address.",
    inject=netfilter.deaf_to_pods(OTHER),
    nodes=(OTHER,),
)

PROXY_STOPPED = Fault(
    id="kube-proxy-dead-stale-rules",
    breaks="A Node's kube-proxy hangs: its rules stay as they are.",
    inject=service_proxy.stopped(OTHER),
    nodes=(OTHER,),
)

UDP_PINNED = Fault(
    id="udp-stale-conntrack",
    breaks="A Node sends UDP clients that keep their port to backends that are gone.",
    inject=netfilter.udp_clients_pinned(OTHER),
    nodes=(OTHER,),
)

NODE_PORTS_CLOSED = Fault(
    id="nodeport-node-firewall",
    breaks="A firewall on a Node drops what comes for node ports.",
    inject=netfilter.node_ports_closed(OTHER),
    nodes=(OTHER,),
)

DNS_WITHOUT_API = Fault(
    id="coredns-stale-api",
    breaks="The cluster DNS hears nothing new from the API server.",
    inject=contextmanager(netfilter.dns_without_api),
)

UPSTREAM_UNREACHABLE = Fault(
    id="coredns-upstream-broken",
    breaks="The cluster DNS forwards other names to an address of nobody's.",
    inject=contextmanager(upstream.unreachable),
)

FAULTS = (
    PROXY_STOPPED,
    UDP_PINNED,
    NODE_PORTS_CLOSED,
    UPSTREAM_UNREACHABLE,
    DNS_WITHOUT_API,
    ROUTE_MISSING,
    RULES_MISSING,
    MASQUERADED,
    LARGE_PACKETS_LOST,
    DNS_REPLICA_SILENT,
    HAIRPIN_OFF,
    CUT_OFF,
    SCTP_DROPPED,
    QUIET_FORGOTTEN,
    OTHER_MTU,
    FRAGMENTS_DROPPED,
    ECHOES_DROPPED,
    DEAF_TO_PODS,
)
