"""What must be seen of faults that look like one of the benchmark's, rule by rule."""

from __future__ import annotations

from faults.catalogue.kernel import BETWEEN_PODS
from faults.catalogue.network import NAMES, NEVER_CONNECTED, SPREAD_OUT
from faults.expected import SAMPLED, Blame, ByRule
from pytest_k8snet.faults.catalogue import kernel, network, objects, overlay
from pytest_k8snet.rules import RULES

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

TUNNEL_WRONG_PEER = ByRule(
    overlay.TUNNEL_WRONG_PEER,
    red=red(*BETWEEN_PODS, "SERVICE-CLUSTER-IP", "SERVICE-ALL-BACKENDS"),
    may=may(*SPREAD_OUT, *SAMPLED),
    inconclusive=frozenset({*NEVER_CONNECTED, *CONTROLS_LOST}),
)

TUNNEL_DOWN = ByRule(
    overlay.TUNNEL_DOWN,
    red=red(*BETWEEN_PODS, "SERVICE-CLUSTER-IP", *NAMES),
    may=may(*SPREAD_OUT, *SAMPLED),
    inconclusive=frozenset({*NEVER_CONNECTED, *CONTROLS_LOST}),
)

LINK_LOSSY = ByRule(
    kernel.LINK_LOSSY,
    red=red("POD-LOSS"),
    may=may(*(rule.id for rule in RULES)),
)

EXPECTED = (
    HIDDEN_DROP,
    ORPHAN_SLICE,
    DNS_WITHOUT_API,
    TUNNEL_WRONG_PEER,
    TUNNEL_DOWN,
    LINK_LOSSY,
)
