"""Faults of single Pods and of what a Node tells its Pods. See ``network``."""

from __future__ import annotations

from faults.catalogue.network import each
from faults.ends import about, asked_on, at_port, dialled_at, everywhere, over
from faults.expected import WHAT_WAITS, Expected
from pytest_k8snet.faults.catalogue import pods as shipped
from pytest_k8snet.faults.catalogue.nodes import ONE, OTHER

CONTAINERS_APART = Expected(
    shipped.CONTAINERS_APART,
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

LOOPBACK_PUBLISHED = Expected(
    shipped.LOOPBACK_PUBLISHED,
    # IPv6 has no route_localnet: the kernel drops what is rewritten to ::1.
    red={"LOCALHOST-PRIVATE": over("ipv4", dialled_at(OTHER))},
)

NODE_LOOPBACK_SHOWN = Expected(
    shipped.NODE_LOOPBACK_SHOWN,
    red={"LOCALHOST-NOT-NODE": at_port("host-loopback", asked_on(OTHER))},
)

LOOPBACK_REFUSES = Expected(
    shipped.LOOPBACK_REFUSES,
    red={"KUBELET-LOGS": about("port-forward", asked_on(OTHER))},
)

SECOND_ADDRESS = Expected(
    shipped.SECOND_ADDRESS,
    red={
        "POD-DESTINATION-PRESERVED": dialled_at(OTHER),
        "POD-ADDRESS-AGREED": asked_on(OTHER),
    },
)

HOSTS_FILE_CHANGED = Expected(
    shipped.HOSTS_FILE_CHANGED,
    red={"LOCALHOST-HOSTS-FILE": asked_on(OTHER)},
)

HOST_PORTS_UNMAPPED = Expected(
    shipped.HOST_PORTS_UNMAPPED,
    red={"HOSTPORT": dialled_at(OTHER)},
)

ADDRESS_SHARED = Expected(
    shipped.ADDRESS_SHARED,
    red={"POD-ADDRESS-UNIQUE": asked_on(OTHER)},
)

ADDRESS_FOREIGN = Expected(
    shipped.ADDRESS_FOREIGN,
    red={"POD-ADDRESS-IN-RANGE": about("addresses-in-range", asked_on(ONE))},
)

WRONG_CLUSTER_DNS = Expected(
    shipped.WRONG_CLUSTER_DNS,
    red=each(
        ("DNS-RESOLV-CONF", "DNS-HOST-NETWORK"), about("nameservers", asked_on(ONE))
    ),
)

NODE_ASKS_THE_CLUSTER = Expected(
    shipped.NODE_ASKS_THE_CLUSTER,
    red={"DNS-POLICY-DEFAULT": asked_on(ONE)},
)

OWN_PODS_BLOCKED = Expected(
    shipped.OWN_PODS_BLOCKED,
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

KUBELET_CLOSED = Expected(
    shipped.KUBELET_CLOSED,
    red={"KUBELET-EXEC": asked_on(ONE)},
    args=("-k", "KUBELET-EXEC"),
)

CONFIGURATION_MISSING = Expected(
    shipped.CONFIGURATION_MISSING,
    red={"NODE-READY": asked_on(OTHER)},
)

GIVEN_AWAY_EARLY = Expected(
    shipped.GIVEN_AWAY_EARLY,
    red=each(
        ("POD-TERMINATING", "POD-ADDRESS-RELEASED"), about("spare", dialled_at(OTHER))
    ),
    args=WHAT_WAITS,
)

ASKED_OF_PODS_THERE = (
    *("CLUSTER-IP-NOT-EXPOSED", "CONTROL-PLANE-TO-POD", "DNS-API-SERVER"),
    *("DNS-EVERY-REPLICA", "DNS-EXTERNAL-NAME", "DNS-HEADLESS"),
    *("DNS-HEADLESS-NOT-READY", "DNS-LARGE", "DNS-NO-STALL", "DNS-NODATA"),
    *("DNS-NXDOMAIN", "DNS-POD-HOSTNAME", "DNS-POD-RECORD", "DNS-POLICY-DEFAULT"),
    *("DNS-POLICY-NONE", "DNS-PTR", "DNS-RESOLV-CONF", "DNS-SEARCH-PATH"),
    *("DNS-SERVICE", "DNS-SRV", "DNS-SRV-HEADLESS", "HOSTPORT", "KUBELET-EXEC"),
    *("KUBELET-LOGS", "KUBELET-PROBES", "LOCALHOST-HOSTS-FILE", "LOCALHOST-IPV6"),
    *("LOCALHOST-NOT-NODE", "LOCALHOST-ONE-ADDRESS", "LOCALHOST-PRIVATE"),
    *("LOCALHOST-SHARED-PORTS", "LOCALHOST-TCP", "LOCALHOST-UDP", "NODE-TO-LOCAL-POD"),
    *("NODE-TO-REMOTE-POD", "NODEPORT-EVERY-NODE", "NODEPORT-FROM-NODE"),
    *("NODEPORT-FROM-POD", "NODEPORT-HEALTH-CHECK", "NODEPORT-SOURCE-LOCAL"),
    *("POD-ADDRESS-AGREED", "POD-ADDRESS-UNIQUE", "POD-BULK"),
    *("POD-DESTINATION-PRESERVED", "POD-FRAGMENTS", "POD-FULL-SIZE", "POD-LOSS"),
    *("POD-MTU-CONSISTENT", "POD-NEW-REACHABLE", "POD-PING", "POD-SOURCE-PRESERVED"),
    *("POD-TO-HOST-NETWORK", "POD-TO-NODE-ADDRESS", "POD-TO-POD"),
    *("SANDBOX-SURVIVES-RESTART", "SERVICE-ALL-BACKENDS", "SERVICE-API-SERVER"),
    *("SERVICE-BACKEND-ADDED", "SERVICE-BACKEND-REMOVED", "SERVICE-BALANCE"),
    *("SERVICE-BY-NAME", "SERVICE-CLUSTER-IP", "SERVICE-DUAL-STACK"),
    *("SERVICE-FROM-NODE", "SERVICE-HAIRPIN", "SERVICE-HEADLESS"),
    *("SERVICE-INTERNAL-LOCAL", "SERVICE-INTERNAL-LOCAL-ONLY", "SERVICE-NO-ENDPOINTS"),
    *("SERVICE-PROGRAMMING-TIME", "SERVICE-PUBLISH-NOT-READY", "SERVICE-READY-ONLY"),
    *("SERVICE-SELECTORLESS", "SERVICE-SESSION-AFFINITY", "SERVICE-SOURCE-PRESERVED"),
    *("SERVICE-TARGET-PORT", "SERVICE-TERMINATING-FALLBACK"),
    *("SERVICE-TRAFFIC-DISTRIBUTION", "SERVICE-TWO-PROTOCOLS", "SERVICE-TYPE-CHANGE"),
    *("SERVICE-UDP-REMAP",),
)
"""Rules that need an answer of Pods on every Node, or an answer about them."""

RANGE_EXHAUSTED = Expected(
    shipped.RANGE_EXHAUSTED,
    red={"POD-GETS-ADDRESS": asked_on(OTHER)},
    inconclusive=each(ASKED_OF_PODS_THERE, everywhere),
)

BY_THEMSELVES = (CONFIGURATION_MISSING,)

EXPECTED = (
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
    RANGE_EXHAUSTED,
)
