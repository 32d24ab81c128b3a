"""Faults of Services and Nodes as the API has them. See ``network``."""

from __future__ import annotations

from faults.catalogue.network import each
from faults.ends import about, asked_on, everywhere, named
from faults.expected import WHAT_WAITS, Expected
from pytest_k8snet.faults.catalogue import objects as shipped
from pytest_k8snet.faults.catalogue.nodes import OTHER

POLICIES_UNDONE = Expected(
    shipped.POLICIES_UNDONE,
    red=each(
        (
            *("SERVICE-SESSION-AFFINITY", "SERVICE-INTERNAL-LOCAL-ONLY"),
            *("NODEPORT-SOURCE-LOCAL", "NODEPORT-LOCAL-ONLY"),
        ),
        everywhere,
    ),
)

FIELDS_CHANGED = Expected(
    shipped.FIELDS_CHANGED,
    red=each(
        (
            *("SERVICE-READY-ONLY", "SERVICE-TWO-PROTOCOLS"),
            *("DNS-HEADLESS-NOT-READY", "DNS-EXTERNAL-NAME"),
        ),
        everywhere,
    ),
)

SELECTS_ANOTHER = Expected(
    shipped.SELECTS_ANOTHER,
    red={"SERVICE-INTERNAL-LOCAL": everywhere},
    # Its control, that the Service answers where its backend is, does not hold.
    inconclusive={"SERVICE-INTERNAL-LOCAL-ONLY": everywhere},
)

REFUSALS_SWALLOWED = Expected(
    shipped.REFUSALS_SWALLOWED,
    red={"SERVICE-NO-ENDPOINTS": asked_on(OTHER)},
)

NETWORK_UNAVAILABLE = Expected(
    shipped.NETWORK_UNAVAILABLE,
    red={"NODE-READY": asked_on(OTHER)},
)

DNS_ELSEWHERE = Expected(
    shipped.DNS_ELSEWHERE,
    red={
        "DNS-TENTH-IP": everywhere,
        **each(
            ("DNS-RESOLV-CONF", "DNS-HOST-NETWORK"), about("nameservers", everywhere)
        ),
    },
)

ONE_BACKEND = Expected(
    shipped.ONE_BACKEND,
    red={"SERVICE-AFFINITY-TIMEOUT": everywhere},
    args=WHAT_WAITS,
)

NAME_NOT_UPDATED = Expected(
    shipped.NAME_NOT_UPDATED,
    red={"DNS-UPDATE-TIME": named("named.", everywhere)},
    args=WHAT_WAITS,
)

API_ELSEWHERE = Expected(
    shipped.API_ELSEWHERE,
    red={"SERVICE-API-FIRST-IP": everywhere},
    args=("-k", "SERVICE-API-FIRST-IP"),
)

EXPECTED = (
    POLICIES_UNDONE,
    FIELDS_CHANGED,
    SELECTS_ANOTHER,
    REFUSALS_SWALLOWED,
    NETWORK_UNAVAILABLE,
    DNS_ELSEWHERE,
    ONE_BACKEND,
    NAME_NOT_UPDATED,
    API_ELSEWHERE,
)
