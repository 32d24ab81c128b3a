"""What must be seen of faults of the tunnels between Nodes. See ``network``."""

from __future__ import annotations

from faults.catalogue.kernel import BETWEEN_PODS
from faults.catalogue.network import NAMES, NEVER_CONNECTED, SPREAD_OUT, each
from faults.ends import between, crossing, everywhere, on_either, resolved_on
from faults.expected import Expected
from pytest_k8snet.faults.catalogue import overlay as shipped
from pytest_k8snet.faults.catalogue.nodes import ONE, OTHER

TUNNEL_BLOCKED = Expected(
    shipped.TUNNEL_BLOCKED,
    red={
        **each(
            (
                *BETWEEN_PODS,
                *("SERVICE-CLUSTER-IP", "NODE-TO-REMOTE-POD", "SERVICE-FROM-NODE"),
            ),
            between(ONE, OTHER),
        ),
        **each(SPREAD_OUT, on_either(ONE, OTHER)),
    },
    inconclusive={
        **each((*NEVER_CONNECTED, "LOCALHOST-PRIVATE"), between(ONE, OTHER)),
        "SERVICE-SESSION-AFFINITY": everywhere,
    },
    may={"SERVICE-HEADLESS": "dials one of three addresses, whichever comes first"},
)

TUNNEL_MAC_STALE = Expected(
    shipped.TUNNEL_MAC_STALE,
    red={
        **each(
            (
                *BETWEEN_PODS,
                *("SERVICE-CLUSTER-IP", "NODE-TO-REMOTE-POD", "SERVICE-FROM-NODE"),
            ),
            crossing(OTHER),
        ),
        **each(SPREAD_OUT, everywhere),
        **each(NAMES, resolved_on(OTHER)),
    },
    inconclusive={
        **each((*NEVER_CONNECTED, "LOCALHOST-PRIVATE"), crossing(OTHER)),
        "SERVICE-SESSION-AFFINITY": everywhere,
    },
)

EXPECTED = (
    TUNNEL_BLOCKED,
    TUNNEL_MAC_STALE,
)
