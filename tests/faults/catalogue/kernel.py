"""What must be seen of what a Node's kernel does not pass on. See ``network``."""

from __future__ import annotations

from faults.catalogue.network import (
    AT_THE_FIRST,
    NAMES,
    NEVER_CONNECTED,
    SPREAD_OUT,
    each,
)
from faults.ends import (
    about,
    asked_on,
    crossing,
    dialled_at,
    either,
    entering,
    everywhere,
    leaving,
    over,
    resolved_on,
    to,
    touching,
    within,
)
from faults.expected import Expected
from pytest_k8snet.faults.catalogue import kernel as shipped
from pytest_k8snet.faults.catalogue.nodes import OTHER

BETWEEN_PODS = (
    *("POD-TO-POD", "POD-FULL-SIZE", "POD-BULK", "POD-NEW-REACHABLE"),
    *("POD-FRAGMENTS", "POD-LOSS", "POD-PING", "SANDBOX-SURVIVES-RESTART"),
)

NEITHER_IN_NOR_OUT = {
    # Host network needs nothing that is passed on.
    **each(tuple(n for n in NAMES if n != "DNS-HOST-NETWORK"), resolved_on(OTHER)),
    **each(
        (
            *AT_THE_FIRST,
            *("SERVICE-BACKEND-ADDED", "SERVICE-BACKEND-REMOVED", "SERVICE-UDP-REMAP"),
            *("SERVICE-API-SERVER", "CONTROL-PLANE-TO-POD", "DNS-EVERY-REPLICA"),
            "SERVICE-HEADLESS",
        ),
        asked_on(OTHER),
    ),
    **each(("HOSTPORT", "NODEPORT-FROM-NODE", "SERVICE-FROM-NODE"), entering(OTHER)),
    "NODE-TO-REMOTE-POD": entering(OTHER),
    "NODEPORT-EVERY-NODE": dialled_at(OTHER),
    **each(("NODEPORT-FROM-POD", "SERVICE-TYPE-CHANGE"), touching(OTHER)),
    **each(
        ("NODEPORT-HEALTH-CHECK", "POD-TO-HOST-NETWORK", "POD-TO-NODE-ADDRESS"),
        leaving(OTHER),
    ),
    **each(SPREAD_OUT, everywhere),
    "SERVICE-BY-NAME": asked_on(OTHER),
}
"""What a Node breaks that passes on nothing from its Pods or to them."""

FORWARDING_OFF = Expected(
    shipped.FORWARDING_OFF,
    red={
        **NEITHER_IN_NOR_OUT,
        **each(BETWEEN_PODS, crossing(OTHER)),
        # Over IPv6 the bridge takes what is led to a Pod of its own.
        "SERVICE-CLUSTER-IP": either(crossing(OTHER), over("ipv4", within(OTHER))),
        "SERVICE-HAIRPIN": over("ipv4", asked_on(OTHER)),
        "SERVICE-TRAFFIC-DISTRIBUTION": either(
            to("near-one", asked_on(OTHER)), over("ipv4", asked_on(OTHER))
        ),
        "SERVICE-NO-ENDPOINTS": asked_on(OTHER),
    },
    inconclusive={
        **each(NEVER_CONNECTED, crossing(OTHER)),
        "LOCALHOST-PRIVATE": crossing(OTHER),
        "SERVICE-SOURCE-PRESERVED": either(
            crossing(OTHER), over("ipv4", within(OTHER))
        ),
        "SERVICE-SESSION-AFFINITY": everywhere,
        # Their controls, that another Service answers there, do not hold.
        "SERVICE-NO-ENDPOINTS": over("ipv4", asked_on(OTHER)),
        "CLUSTER-IP-NOT-EXPOSED": over("ipv4", everywhere),
    },
)

FORWARD_DROP = Expected(
    shipped.FORWARD_DROP,
    red={
        **NEITHER_IN_NOR_OUT,
        # What the bridge itself passes on is filtered likewise.
        **each((*BETWEEN_PODS, "SERVICE-CLUSTER-IP"), touching(OTHER)),
        "SANDBOX-SURVIVES-RESTART": about("spare", touching(OTHER)),
        **each(("SERVICE-HAIRPIN", "SERVICE-TRAFFIC-DISTRIBUTION"), asked_on(OTHER)),
    },
    inconclusive={
        **each((*NEVER_CONNECTED, "LOCALHOST-PRIVATE"), touching(OTHER)),
        "SERVICE-SESSION-AFFINITY": everywhere,
        "SERVICE-NO-ENDPOINTS": everywhere,
        "CLUSTER-IP-NOT-EXPOSED": everywhere,
    },
)

BRIDGE_UNFILTERED = Expected(
    shipped.BRIDGE_UNFILTERED,
    red={
        **each(("SERVICE-CLUSTER-IP",), within(OTHER)),
        **each(SPREAD_OUT, asked_on(OTHER)),
        "SERVICE-BY-NAME": asked_on(OTHER),
        "SERVICE-TRAFFIC-DISTRIBUTION": to("near", asked_on(OTHER)),
    },
    inconclusive={
        "SERVICE-SOURCE-PRESERVED": within(OTHER),
        "SERVICE-SESSION-AFFINITY": everywhere,
        "SERVICE-NO-ENDPOINTS": everywhere,
        "CLUSTER-IP-NOT-EXPOSED": everywhere,
    },
)

EXPECTED = (
    FORWARDING_OFF,
    FORWARD_DROP,
    BRIDGE_UNFILTERED,
)
