"""The faults, and what must be seen of each on a three-node cluster.

The cluster DNS is on the control plane: see ``Site.gather_dns``. Servers are ranked by
their Nodes' names: control-plane, worker, worker2.
"""

from __future__ import annotations

from faults.ends import (
    Cells,
    asked_on,
    between,
    crossing,
    dialled_at,
    entering,
    everywhere,
    leaving,
    on_either,
    one_way,
    resolved_on,
    to,
    touching,
)
from faults.expected import WHAT_WAITS, Expected
from pytest_k8snet.faults.catalogue import network as shipped
from pytest_k8snet.faults.catalogue.nodes import ONE, OTHER

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
    "DNS-LARGE",
    "DNS-NO-STALL",
    "DNS-POD-RECORD",
    "SERVICE-BY-NAME",
    "SERVICE-HEADLESS",
)
"""Rules that ask the cluster DNS through its Service."""


SPREAD_OUT = (
    *("SERVICE-ALL-BACKENDS", "SERVICE-BALANCE", "SERVICE-TARGET-PORT"),
    *("SERVICE-SELECTORLESS", "SERVICE-TERMINATING-FALLBACK"),
)
"""Rules of Services with a backend on every Node."""

AT_THE_FIRST = (
    *("SERVICE-PROGRAMMING-TIME", "SERVICE-DUAL-STACK", "SERVICE-TWO-PROTOCOLS"),
    *("SERVICE-READY-ONLY", "SERVICE-PUBLISH-NOT-READY"),
)
"""Rules of Services whose one backend is on the control plane."""


def each(rules: tuple[str, ...], cells: Cells) -> dict[str, Cells]:
    return dict.fromkeys(rules, cells)


ROUTE_MISSING = Expected(
    shipped.ROUTE_MISSING,
    red={
        **each(
            (
                *("POD-TO-POD", "POD-FULL-SIZE", "POD-BULK", "POD-NEW-REACHABLE"),
                *("POD-FRAGMENTS", "POD-LOSS", "POD-PING"),
            ),
            between(ONE, OTHER),
        ),
        "SANDBOX-SURVIVES-RESTART": between(ONE, OTHER),
        "SERVICE-CLUSTER-IP": between(ONE, OTHER),
        # The other Node's own address is still reached: only what is dialled fails.
        "NODE-TO-REMOTE-POD": one_way(ONE, OTHER),
        "SERVICE-FROM-NODE": one_way(ONE, OTHER),
        # ... and only answers to its Pods are lost.
        **each(
            (
                *("POD-TO-HOST-NETWORK", "POD-TO-NODE-ADDRESS"),
                *("NODEPORT-FROM-POD", "NODEPORT-HEALTH-CHECK"),
                "SERVICE-TYPE-CHANGE",
            ),
            one_way(OTHER, ONE),
        ),
        # Their backend is the second server.
        **each(
            ("SERVICE-BACKEND-ADDED", "SERVICE-BACKEND-REMOVED", "SERVICE-UDP-REMAP"),
            asked_on(OTHER),
        ),
        **each(
            SPREAD_OUT,
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

RULES_MISSING = Expected(
    shipped.RULES_MISSING,
    red={
        **each(
            (
                "SERVICE-CLUSTER-IP",
                "SERVICE-FROM-NODE",
                *SPREAD_OUT,
                *AT_THE_FIRST,
                "SERVICE-TRAFFIC-DISTRIBUTION",
                "SERVICE-HAIRPIN",
                "SERVICE-BACKEND-ADDED",
                "SERVICE-BACKEND-REMOVED",
                "SERVICE-UDP-REMAP",
                "SERVICE-API-SERVER",
                *("EGRESS-TARGET", "DNS-UPSTREAM", "SERVICE-EXTERNAL-IPS"),
            ),
            asked_on(OTHER),
        ),
        **each(
            (
                *("NODEPORT-EVERY-NODE", "NODEPORT-FROM-POD", "NODEPORT-FROM-NODE"),
                *("NODEPORT-HEALTH-CHECK", "SERVICE-TYPE-CHANGE"),
            ),
            dialled_at(OTHER),
        ),
        **each(NAMES, resolved_on(OTHER)),
    },
    inconclusive={
        "SERVICE-SOURCE-PRESERVED": asked_on(OTHER),
        # Their controls, that another Service answers there, do not hold.
        "SERVICE-NO-ENDPOINTS": everywhere,
        "CLUSTER-IP-NOT-EXPOSED": everywhere,
        "SERVICE-SESSION-AFFINITY": everywhere,
    },
    # What only the user can name is behind Services, too.
    args=(
        "--k8snet-egress-target=10.96.0.1:443",
        "--k8snet-upstream-name=kubernetes.default.svc.cluster.local.",
        "--k8snet-external-ip=203.0.113.10",
    ),
)

MASQUERADED = Expected(
    shipped.MASQUERADED,
    red=each(
        ("POD-SOURCE-PRESERVED", "SERVICE-SOURCE-PRESERVED", "POD-TO-HOST-NETWORK"),
        leaving(OTHER),
    ),
)

LARGE_PACKETS_LOST = Expected(
    shipped.LARGE_PACKETS_LOST,
    red={
        **each(("POD-FULL-SIZE", "POD-BULK", "POD-FRAGMENTS"), crossing(OTHER)),
        # By TCP, an answer comes in segments of full size.
        "DNS-LARGE": resolved_on(OTHER),
    },
    may={"DNS-PTR": "the names of a Pod behind many Services are about that large"},
)

DRAWN = ("DNS-SERVICE", "DNS-NO-STALL")

DNS_REPLICA_SILENT = Expected(
    shipped.DNS_REPLICA_SILENT,
    red={
        "DNS-EVERY-REPLICA": lambda ends: any(
            f"DNS server {address['ip']}:" in ends.dialled
            for address in ends.site.dns_replicas()[0]["status"]["podIPs"]
        ),
        # 48 draws of one of two, and 20 on each Node.
        **each(DRAWN, everywhere),
    },
    may={
        rule: "asks through the Service, which draws one replica of two"
        for rule in NAMES
        if rule not in DRAWN
    },
)

HAIRPIN_OFF = Expected(
    shipped.HAIRPIN_OFF,
    red={"SERVICE-HAIRPIN": asked_on(OTHER)},
)

CUT_OFF = Expected(
    shipped.CUT_OFF,
    red={
        **each(
            (
                "POD-TO-POD",
                "POD-FULL-SIZE",
                "POD-BULK",
                "POD-NEW-REACHABLE",
                *("POD-FRAGMENTS", "POD-LOSS", "POD-PING"),
                *("POD-TO-NODE-ADDRESS", "NODEPORT-HEALTH-CHECK"),
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
                *AT_THE_FIRST,
                "SERVICE-BACKEND-ADDED",
                "SERVICE-BACKEND-REMOVED",
                "SERVICE-UDP-REMAP",
                "SERVICE-API-SERVER",
                "CONTROL-PLANE-TO-POD",
                "DNS-EVERY-REPLICA",
            ),
            asked_on(OTHER),
        ),
        **each(
            SPREAD_OUT,
            everywhere,
        ),
        # Not its own: that they are near is what this is about.
        "SERVICE-TRAFFIC-DISTRIBUTION": to("near-one", asked_on(OTHER)),
        **each(("NODEPORT-FROM-POD", "SERVICE-TYPE-CHANGE"), touching(OTHER)),
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

SCTP_DROPPED = Expected(
    shipped.SCTP_DROPPED,
    # A kernel without it is as red, once the cluster claims it.
    red=each(("POD-SCTP", "SERVICE-SCTP"), everywhere),
    args=("-k", "SCTP", "--k8snet-features=SCTP"),
)

QUIET_FORGOTTEN = Expected(
    shipped.QUIET_FORGOTTEN,
    red={"POD-IDLE-CONNECTION": touching(OTHER)},
    args=WHAT_WAITS,
)

OTHER_MTU = Expected(
    shipped.OTHER_MTU,
    red={"POD-MTU-CONSISTENT": asked_on(OTHER)},
    may={"POD-FULL-SIZE": "is told of the narrower way, if it is the first to go it"},
)

FRAGMENTS_DROPPED = Expected(
    shipped.FRAGMENTS_DROPPED,
    red={"POD-FRAGMENTS": crossing(OTHER)},
)

ECHOES_DROPPED = Expected(
    shipped.ECHOES_DROPPED,
    red={"POD-PING": entering(OTHER)},
)

DEAF_TO_PODS = Expected(
    shipped.DEAF_TO_PODS,
    red=each(("POD-TO-NODE-ADDRESS", "NODEPORT-HEALTH-CHECK"), dialled_at(OTHER)),
)

EXPECTED = (
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
