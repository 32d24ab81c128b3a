"""What must be seen of faults on the way to Services. See ``network``."""

from __future__ import annotations

from faults.catalogue.network import AT_THE_FIRST, SPREAD_OUT, each
from faults.ends import asked_on, dialled_at, either, entering, everywhere, to
from faults.expected import Blame, Expected
from pytest_k8snet.faults import upstream
from pytest_k8snet.faults.catalogue import network as shipped
from pytest_k8snet.faults.catalogue import objects
from pytest_k8snet.faults.catalogue.nodes import ONE, OTHER

NODE_PORTS = ("NODEPORT-FROM-POD", "NODEPORT-FROM-NODE", "NODEPORT-HEALTH-CHECK")

PROXY_STOPPED = Expected(
    shipped.PROXY_STOPPED,
    # The cluster DNS and the API server were there before.
    red={
        **each(
            (
                *SPREAD_OUT,
                *AT_THE_FIRST,
                *("SERVICE-CLUSTER-IP", "SERVICE-FROM-NODE", "SERVICE-BY-NAME"),
                *("SERVICE-TRAFFIC-DISTRIBUTION", "SERVICE-HAIRPIN"),
                *("SERVICE-BACKEND-ADDED", "SERVICE-BACKEND-REMOVED"),
                "SERVICE-UDP-REMAP",
            ),
            asked_on(OTHER),
        ),
        **each(
            (*NODE_PORTS, "NODEPORT-EVERY-NODE", "SERVICE-TYPE-CHANGE"),
            dialled_at(OTHER),
        ),
    },
    inconclusive={
        "SERVICE-SOURCE-PRESERVED": asked_on(OTHER),
        # Their controls, that another Service answers there, do not hold.
        "SERVICE-NO-ENDPOINTS": everywhere,
        "CLUSTER-IP-NOT-EXPOSED": everywhere,
        "SERVICE-SESSION-AFFINITY": everywhere,
    },
)

UDP_PINNED = Expected(
    shipped.UDP_PINNED,
    red={"SERVICE-UDP-REMAP": asked_on(OTHER)},
)

NODE_PORTS_CLOSED = Expected(
    shipped.NODE_PORTS_CLOSED,
    red={
        "NODEPORT-EVERY-NODE": dialled_at(OTHER),
        **each((*NODE_PORTS, "SERVICE-TYPE-CHANGE"), entering(OTHER)),
    },
)

UPSTREAM_UNREACHABLE = Expected(
    shipped.UPSTREAM_UNREACHABLE,
    red={"DNS-UPSTREAM": everywhere},
    args=(f"--k8snet-upstream-name={upstream.NAME}",),
)

SELECTS_NOBODY = Expected(
    objects.SELECTS_NOBODY,
    red={"SERVICE-TWO-PROTOCOLS": everywhere},
    blame=Blame("svc-selector-mismatch", thing="two-protocols"),
)

EXTERNAL_LOCAL = Expected(
    objects.EXTERNAL_LOCAL,
    # Its backend is on the first Node.
    red=each(
        ("NODEPORT-EVERY-NODE", "NODEPORT-FROM-NODE", "NODEPORT-FROM-POD"),
        to("node-port-first", either(entering(ONE), entering(OTHER))),
    ),
    blame=Blame("etp-local-blackhole", thing="node-port-first"),
)

EXPECTED = (
    PROXY_STOPPED,
    UDP_PINNED,
    NODE_PORTS_CLOSED,
    UPSTREAM_UNREACHABLE,
    SELECTS_NOBODY,
    EXTERNAL_LOCAL,
)
