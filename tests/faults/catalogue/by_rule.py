"""What must be seen of faults of which much goes wrong, by rule and not by cell."""

from __future__ import annotations

from dataclasses import replace

from faults.catalogue.kernel import BETWEEN_PODS
from faults.catalogue.network import AT_THE_FIRST, NAMES, NEVER_CONNECTED, SPREAD_OUT
from faults.expected import POLICED, SAMPLED, Blame, ByRule
from pytest_k8snet.faults.catalogue import (
    kernel,
    network,
    objects,
    overlay,
    pods,
    policies,
)
from pytest_k8snet.faults.catalogue.nodes import ONE, OTHER
from pytest_k8snet.rules import RULES

PODS_NAMES = tuple(sorted({*NAMES, "SERVICE-BY-NAME"} - {"DNS-HOST-NETWORK"}))
NODE_PORTS = ("NODEPORT-EVERY-NODE", "NODEPORT-FROM-NODE", "NODEPORT-FROM-POD")
CHANGING = ("SERVICE-BACKEND-ADDED", "SERVICE-BACKEND-REMOVED", "SERVICE-UDP-REMAP")
CONTROLS_LOST = ("SERVICE-SESSION-AFFINITY", "LOCALHOST-PRIVATE")


def red(*rules: str) -> dict[str, str]:
    return dict.fromkeys(rules, "")


def may(*rules: str) -> dict[str, str]:
    return dict.fromkeys(rules, "chance draws what is asked")


HIDDEN_DROP = ByRule(
    kernel.HIDDEN_DROP,
    red=red(
        *("POD-TO-POD", "POD-BULK", "POD-NEW-REACHABLE", "SANDBOX-SURVIVES-RESTART"),
        *("NODE-TO-REMOTE-POD", "CONTROL-PLANE-TO-POD", "HOSTPORT"),
        *("SERVICE-CLUSTER-IP", "SERVICE-FROM-NODE", "SERVICE-BY-NAME"),
        *("SERVICE-HAIRPIN", "SERVICE-TRAFFIC-DISTRIBUTION", "SERVICE-ALL-BACKENDS"),
        *("SERVICE-BALANCE", "SERVICE-HEADLESS"),
    ),
    may=may(*SAMPLED),
    inconclusive=frozenset(
        {
            *(*NEVER_CONNECTED, *CONTROLS_LOST),
            *("SERVICE-NO-ENDPOINTS", "CLUSTER-IP-NOT-EXPOSED"),
        }
    ),
)

ORPHAN_SLICE = ByRule(
    objects.ORPHAN_SLICE,
    red=red("SERVICE-ALL-BACKENDS", "SERVICE-BALANCE"),
    may=may(*SAMPLED),
    inconclusive=frozenset({"SERVICE-SESSION-AFFINITY"}),
    blame=Blame("endpointslice-orphan", thing="few"),
)

DNS_WITHOUT_API = ByRule(
    network.DNS_WITHOUT_API,
    # What is always there is still known: the API server.
    red=red(
        *("DNS-SERVICE", "DNS-SEARCH-PATH", "DNS-HEADLESS", "DNS-HEADLESS-NOT-READY"),
        *("DNS-POD-HOSTNAME", "DNS-SRV", "DNS-SRV-HEADLESS", "DNS-EVERY-REPLICA"),
        *("SERVICE-BY-NAME", "SERVICE-HEADLESS"),
    ),
    may=may(*NAMES),
)

BETWEEN_TWO = ByRule(
    overlay.TUNNEL_BLOCKED,
    red=red(
        *(*BETWEEN_PODS, *NODE_PORTS, *CHANGING, "SERVICE-ALL-BACKENDS"),
        *("NODE-TO-REMOTE-POD", "SERVICE-CLUSTER-IP", "SERVICE-FROM-NODE"),
    ),
    may=may(*SPREAD_OUT, *SAMPLED),
    inconclusive=frozenset({*NEVER_CONNECTED, *CONTROLS_LOST}),
)
AROUND_ONE = ByRule(
    overlay.TUNNEL_MAC_STALE,
    red={
        **BETWEEN_TWO.red,
        **red(
            *("CONTROL-PLANE-TO-POD", "DNS-EVERY-REPLICA", "SERVICE-TYPE-CHANGE"),
            *("SERVICE-TRAFFIC-DISTRIBUTION", *AT_THE_FIRST, *NAMES),
        ),
    },
    may=BETWEEN_TWO.may,
    inconclusive=BETWEEN_TWO.inconclusive,
)

TUNNEL_BLOCKED = replace(
    BETWEEN_TWO,
    # What one end sends and the other one does not get.
    blame=Blame("vxlan-udp-blocked-one-way", (OTHER,), peer=ONE),
)
TUNNEL_WRONG_PEER = replace(BETWEEN_TWO, fault=overlay.TUNNEL_WRONG_PEER)
TUNNEL_MAC_STALE = AROUND_ONE
TUNNEL_DOWN = replace(AROUND_ONE, fault=overlay.TUNNEL_DOWN)

NOT_ENFORCED = ByRule(
    policies.NOT_ENFORCED,
    red=red("NP-INGRESS-DEFAULT-DENY", "NP-EGRESS-DEFAULT-DENY"),
    may=may(*POLICED),
)

CONNECTIONS_EXHAUSTED = ByRule(
    kernel.CONNECTIONS_EXHAUSTED,
    # Of what is there nobody can be asked any more.
    red=red("KUBELET-EXEC"),
    inconclusive=frozenset({"POD-TO-POD", "NODE-TO-LOCAL-POD", "KUBELET-LOGS"}),
)

LINK_LOSSY = ByRule(
    kernel.LINK_LOSSY,
    red=red("POD-LOSS"),
    may=may(*(rule.id for rule in RULES)),
)

RANGE_OF_ANOTHER = ByRule(
    pods.RANGE_OF_ANOTHER,
    red=red(
        *("POD-ADDRESS-UNIQUE", "POD-ADDRESS-IN-RANGE", *BETWEEN_PODS),
        *("NODE-TO-REMOTE-POD", "POD-TO-HOST-NETWORK", "POD-TO-NODE-ADDRESS"),
        *("NODEPORT-EVERY-NODE", "NODEPORT-FROM-POD", "NODEPORT-FROM-NODE"),
        *("NODEPORT-HEALTH-CHECK", "CONTROL-PLANE-TO-POD", "DNS-EVERY-REPLICA"),
        *("SERVICE-CLUSTER-IP", "SERVICE-FROM-NODE", "SERVICE-API-SERVER"),
        *("SERVICE-ALL-BACKENDS", "SERVICE-TRAFFIC-DISTRIBUTION"),
        *("SERVICE-BACKEND-ADDED", "SERVICE-BACKEND-REMOVED", "SERVICE-UDP-REMAP"),
        *("SERVICE-TYPE-CHANGE", *AT_THE_FIRST, *PODS_NAMES),
    ),
    may=may(*SAMPLED, "SERVICE-BALANCE"),
    inconclusive=frozenset({*NEVER_CONNECTED, *CONTROLS_LOST}),
)

EXPECTED = (
    CONNECTIONS_EXHAUSTED,
    NOT_ENFORCED,
    TUNNEL_BLOCKED,
    TUNNEL_MAC_STALE,
    RANGE_OF_ANOTHER,
    HIDDEN_DROP,
    ORPHAN_SLICE,
    DNS_WITHOUT_API,
    TUNNEL_WRONG_PEER,
    TUNNEL_DOWN,
    LINK_LOSSY,
)
