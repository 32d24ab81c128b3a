"""The faults, and what must be seen of each on a three-node cluster.

The cluster DNS is on the control plane: see ``Site.gather_dns``. Servers are ranked by
their Nodes' names: control-plane, worker, worker2.
"""

from __future__ import annotations

from contextlib import contextmanager

from faults import bridge, netfilter, routes, service_proxy
from faults.ends import (
    Cells,
    asked_on,
    between,
    crossing,
    dialled_at,
    everywhere,
    leaving,
    on_either,
    one_way,
    resolved_on,
    touching,
)
from faults.fault import Fault

ONE, OTHER = "worker", "worker2"

NEVER_CONNECTED = (
    "POD-SOURCE-PRESERVED",
    "POD-DESTINATION-PRESERVED",
    "SERVICE-SOURCE-PRESERVED",
)
"""Whom a server saw cannot be said of a connection that never was."""

NAMES = (
    "DNS-SERVICE",
    "DNS-SEARCH-PATH",
    "DNS-API-SERVER",
    "DNS-HEADLESS",
    "DNS-HEADLESS-NOT-READY",
    "DNS-POD-HOSTNAME",
    "DNS-SRV",
    "DNS-SRV-HEADLESS",
    "DNS-PTR",
    "DNS-EXTERNAL-NAME",
    "DNS-NXDOMAIN",
    "DNS-NODATA",
    "DNS-POLICY-NONE",
    "DNS-HOST-NETWORK",
    "SERVICE-BY-NAME",
    "SERVICE-HEADLESS",
)
"""Rules that ask the cluster DNS through its Service."""


def each(rules: tuple[str, ...], cells: Cells) -> dict[str, Cells]:
    return dict.fromkeys(rules, cells)


ROUTE_MISSING = Fault(
    id="route-missing-podcidr",
    breaks="A Node has no route to one other Node's Pods.",
    inject=routes.missing(ONE, to=OTHER),
    red={
        **each(
            ("POD-TO-POD", "POD-FULL-SIZE", "POD-BULK", "POD-NEW-REACHABLE"),
            between(ONE, OTHER),
        ),
        "SANDBOX-SURVIVES-RESTART": between(ONE, OTHER),
        "SERVICE-CLUSTER-IP": between(ONE, OTHER),
        # The other Node's own address is still reached: only what is dialled fails.
        "NODE-TO-REMOTE-POD": one_way(ONE, OTHER),
        "SERVICE-FROM-NODE": one_way(ONE, OTHER),
        # ... and only answers to its Pods are lost.
        "POD-TO-HOST-NETWORK": one_way(OTHER, ONE),
        "NODEPORT-FROM-POD": one_way(OTHER, ONE),
        # Their backend is the second server.
        **each(
            ("SERVICE-BACKEND-ADDED", "SERVICE-BACKEND-REMOVED", "SERVICE-UDP-REMAP"),
            asked_on(OTHER),
        ),
        **each(
            ("SERVICE-ALL-BACKENDS", "SERVICE-TARGET-PORT", "SERVICE-SELECTORLESS"),
            on_either(ONE, OTHER),
        ),
    },
    inconclusive={
        **each(NEVER_CONNECTED, between(ONE, OTHER)),
        "LOCALHOST-PRIVATE": between(ONE, OTHER),
        # Its control, that a client sees several backends, does not hold.
        "SERVICE-SESSION-AFFINITY": everywhere,
    },
    may={"SERVICE-HEADLESS": "dials one of three addresses, whichever comes first"},
)

RULES_MISSING = Fault(
    id="kube-proxy-rules-missing",
    breaks="A Node has no Service rules at all.",
    inject=service_proxy.rules_flushed(OTHER),
    red={
        **each(
            (
                "SERVICE-CLUSTER-IP",
                "SERVICE-FROM-NODE",
                "SERVICE-TARGET-PORT",
                "SERVICE-TWO-PROTOCOLS",
                "SERVICE-ALL-BACKENDS",
                "SERVICE-HAIRPIN",
                "SERVICE-READY-ONLY",
                "SERVICE-PUBLISH-NOT-READY",
                "SERVICE-BACKEND-ADDED",
                "SERVICE-BACKEND-REMOVED",
                "SERVICE-UDP-REMAP",
                "SERVICE-SELECTORLESS",
                "SERVICE-API-SERVER",
            ),
            asked_on(OTHER),
        ),
        **each(
            ("NODEPORT-EVERY-NODE", "NODEPORT-FROM-POD", "NODEPORT-FROM-NODE"),
            dialled_at(OTHER),
        ),
        **each(NAMES, resolved_on(OTHER)),
    },
    inconclusive={
        "SERVICE-SOURCE-PRESERVED": asked_on(OTHER),
        # Their controls, that another Service answers there, do not hold.
        "SERVICE-NO-ENDPOINTS": everywhere,
        "SERVICE-SESSION-AFFINITY": everywhere,
    },
)

MASQUERADED = Fault(
    id="masq-pod-to-pod",
    breaks="A Node hides its Pods' addresses from the rest of the cluster.",
    inject=netfilter.pods_masqueraded(OTHER),
    red=each(
        ("POD-SOURCE-PRESERVED", "SERVICE-SOURCE-PRESERVED", "POD-TO-HOST-NETWORK"),
        leaving(OTHER),
    ),
)

LARGE_PACKETS_LOST = Fault(
    id="mtu-path-blackhole",
    breaks="The way to a Node carries less than its Pods' MTU, and nobody is told.",
    inject=netfilter.large_packets_lost(OTHER, most=1400),
    red=each(("POD-FULL-SIZE", "POD-BULK"), crossing(OTHER)),
    may={"DNS-PTR": "the names of a Pod behind many Services are about that large"},
)

DNS_REPLICA_SILENT = Fault(
    id="coredns-one-replica-bad",
    breaks="One replica of the cluster DNS does not answer, and counts as ready.",
    inject=contextmanager(netfilter.first_dns_replica_silent),
    red={
        "DNS-EVERY-REPLICA": lambda ends: any(
            f"DNS server {address['ip']}:" in ends.dialled
            for address in ends.site.dns_replicas()[0]["status"]["podIPs"]
        ),
        # 48 draws of one of two.
        "DNS-SERVICE": everywhere,
    },
    may={
        rule: "asks through the Service, which draws one replica of two"
        for rule in NAMES
        if rule != "DNS-SERVICE"
    },
)

HAIRPIN_OFF = Fault(
    id="hairpin-off",
    breaks="A Node's Pods cannot reach themselves through their own Service.",
    inject=bridge.without_hairpin(OTHER),
    red={"SERVICE-HAIRPIN": asked_on(OTHER)},
)

CUT_OFF = Fault(
    id="pod-traffic-dropped",
    breaks="A Node drops whatever arrives from or for Pods.",
    inject=netfilter.no_pod_traffic(OTHER),
    red={
        **each(
            (
                "POD-TO-POD",
                "POD-FULL-SIZE",
                "POD-BULK",
                "POD-NEW-REACHABLE",
                "SANDBOX-SURVIVES-RESTART",
                "NODE-TO-REMOTE-POD",
                "POD-TO-HOST-NETWORK",
                "SERVICE-CLUSTER-IP",
                "SERVICE-FROM-NODE",
            ),
            crossing(OTHER),
        ),
        **each(
            (
                "SERVICE-TWO-PROTOCOLS",
                "SERVICE-READY-ONLY",
                "SERVICE-PUBLISH-NOT-READY",
                "SERVICE-BACKEND-ADDED",
                "SERVICE-BACKEND-REMOVED",
                "SERVICE-UDP-REMAP",
                "SERVICE-API-SERVER",
                "DNS-EVERY-REPLICA",
            ),
            asked_on(OTHER),
        ),
        **each(
            ("SERVICE-ALL-BACKENDS", "SERVICE-TARGET-PORT", "SERVICE-SELECTORLESS"),
            everywhere,
        ),
        "NODEPORT-FROM-POD": touching(OTHER),
        **each(("NODEPORT-EVERY-NODE", "NODEPORT-FROM-NODE"), dialled_at(OTHER)),
        **each(NAMES, resolved_on(OTHER)),
        # Those that resolve it elsewhere may be led to a server that is cut off.
        "SERVICE-HEADLESS": everywhere,
    },
    inconclusive={
        **each(NEVER_CONNECTED, crossing(OTHER)),
        "LOCALHOST-PRIVATE": crossing(OTHER),
        "SERVICE-SESSION-AFFINITY": everywhere,
    },
)

FAULTS = (
    ROUTE_MISSING,
    RULES_MISSING,
    MASQUERADED,
    LARGE_PACKETS_LOST,
    DNS_REPLICA_SILENT,
    HAIRPIN_OFF,
    CUT_OFF,
)
