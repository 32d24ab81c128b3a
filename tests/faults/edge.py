"""What must be seen of the faults between the outside and a cluster with ways in."""

from __future__ import annotations

from contextlib import nullcontext

from faults.expected import Blame, ByRule
from pytest_k8snet.faults.catalogue import edge as shipped
from pytest_k8snet.faults.fault import Fault

POOL_EXHAUSTED = ByRule(
    shipped.POOL_EXHAUSTED,
    red={"LOADBALANCER-STATUS": "got nothing, should be address"},
    inconclusive=frozenset(
        {
            *("LOADBALANCER-REACH", "LOADBALANCER-SOURCE-RANGES"),
            "LOADBALANCER-SOURCE-LOCAL",
        }
    ),
)
SPEAKERS_GONE = ByRule(
    shipped.SPEAKERS_GONE,
    red=dict.fromkeys(
        (
            *("LOADBALANCER-REACH", "LOADBALANCER-SOURCE-LOCAL"),
            *("INGRESS-HOST-PATH", "INGRESS-TLS", "INGRESS-CERT-VALID"),
            *("GATEWAY-HTTP", "GATEWAY-TLS"),
        ),
        "outside -> ",
    ),
    # Nobody is kept out where nobody gets in, and no path of a host answers.
    inconclusive=frozenset({"LOADBALANCER-SOURCE-RANGES", "INGRESS-NO-BACKEND"}),
)
CONTROLLER_GONE = ByRule(
    shipped.CONTROLLER_GONE,
    red={
        "INGRESS-STATUS": "got nothing, should be address",
        "GATEWAY-STATUS": "got nothing, should be address",
    },
    inconclusive=frozenset(
        {
            *("INGRESS-HOST-PATH", "INGRESS-TLS", "INGRESS-CERT-VALID"),
            *("INGRESS-NO-BACKEND", "GATEWAY-HTTP", "GATEWAY-TLS"),
        }
    ),
)
CONTROLLER_AS_IT_COMES = ByRule(
    shipped.CONTROLLER_AS_IT_COMES,
    red={"INGRESS-HOST-PATH": "/deeper", "INGRESS-NO-BACKEND": "should be 503"},
)
CONTROLLER_SERVICE_WRONG_PORT = ByRule(
    shipped.CONTROLLER_SERVICE_WRONG_PORT,
    red={"INGRESS-HOST-PATH": "(connect", "GATEWAY-HTTP": "(connect"},
    inconclusive=frozenset({"INGRESS-NO-BACKEND"}),
)
WRONG_CERTIFICATE = ByRule(
    shipped.WRONG_CERTIFICATE,
    red={
        "INGRESS-TLS": "should be 8080",
        "INGRESS-CERT-VALID": "certificate",
        "GATEWAY-TLS": "certificate",
    },
    blame=Blame("certificate-not-trusted"),
)
EXPIRED_CERTIFICATE = ByRule(
    Fault(
        id="ingress-tls-bad-cert",
        breaks="The certificates of Ingresses and Gateways have expired.",
        # The suite itself makes such ones: see ``args``.
        inject=lambda _: nullcontext(),
        cluster="edge",
    ),
    red=dict.fromkeys(("INGRESS-CERT-VALID", "GATEWAY-TLS"), "certificate has expired"),
    args=("-p", "expired_certificates"),
)
SOURCE_RANGES_LOST = ByRule(
    shipped.SOURCE_RANGES_LOST,
    red={"LOADBALANCER-SOURCE-RANGES": "should be blocked"},
)
SOURCE_HIDDEN = ByRule(
    shipped.SOURCE_HIDDEN,
    red={"LOADBALANCER-SOURCE-LOCAL": "source seen is"},
)

EDGE_ROUNDS = (
    (POOL_EXHAUSTED, CONTROLLER_GONE),
    (SPEAKERS_GONE,),
    (CONTROLLER_AS_IT_COMES, EXPIRED_CERTIFICATE),
    (CONTROLLER_SERVICE_WRONG_PORT, SOURCE_RANGES_LOST, SOURCE_HIDDEN),
    (WRONG_CERTIFICATE,),
)
"""Faults that are made together: what each breaks the others leave alone."""

EDGE_EXPECTED = tuple(fault for faults in EDGE_ROUNDS for fault in faults)
"""All of which the rules of load balancers, Ingresses and Gateways must see."""
