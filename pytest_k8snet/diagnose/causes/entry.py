"""The causes of what fails on the way into the cluster."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_k8snet.diagnose.cause import Cause, Confidence, Place, Scope, Sign, anywhere
from pytest_k8snet.diagnose.causes._traffic import THREADS
from pytest_k8snet.model import Observation, Outcome, Role

if TYPE_CHECKING:
    from pytest_k8snet.diagnose.matrix import Cell

DOCS = "https://kubernetes.io/docs/concepts/services-networking/"
REACH = ("LOADBALANCER-REACH",)
PATHS = ("INGRESS-HOST-PATH", "GATEWAY-HTTP")
STATUS = ("INGRESS-STATUS", "GATEWAY-STATUS")


def from_outside(cell: Cell, _: Place) -> bool:
    """From outside the cluster."""
    return cell.seen.probe.source.role is Role.OUTSIDE


def from_pods(cell: Cell, _: Place) -> bool:
    """From a Pod."""
    return cell.seen.probe.source.role is Role.CLIENT


def unserved(seen: Observation) -> bool:
    """Whether nobody took the connection."""
    return seen.outcome in {Outcome.REFUSED, Outcome.TIMED_OUT, Outcome.UNREACHABLE}


def out_of_date(seen: Observation) -> bool:
    """Whether the certificate is another host's, or not valid now."""
    said = re.search(r"expired|not yet valid|mismatch|not valid for", seen.detail)
    return unverified(seen) and bool(said)


def unverified(seen: Observation) -> bool:
    """Whether the certificate was no good."""
    return seen.outcome is Outcome.ANSWERED_WRONGLY and seen.phase == "tls"


ENTRY_CAUSES = (
    Cause(
        id="loadbalancer-no-address",
        layer="load balancer",
        scope=Scope.CLUSTER,
        says="Services of type LoadBalancer get no address.",
        signs=(Sign(("LOADBALANCER-STATUS",), anywhere),),
        breaks=("LOADBALANCER-",),
        next="kubectl get events -A | grep -i allocat; does the load balancer's "
        "controller run, and has its pool free addresses?",
        link=DOCS + "service/#loadbalancer",
    ),
    Cause(
        id="loadbalancer-not-announced",
        layer="load balancer",
        scope=Scope.CLUSTER,
        says="Outside nobody reaches the addresses of load balancers{only}; Pods do.",
        signs=(Sign(REACH, from_outside), Sign(REACH, from_pods, fails=False)),
        breaks=("LOADBALANCER-", "INGRESS-", "GATEWAY-"),
        next="the log of what announces them (for MetalLB: its speakers); ip neigh, or "
        "the routes, outside",
        link=DOCS + "service/#loadbalancer",
    ),
    Cause(
        id="entry-controller-gone",
        layer="Ingress or Gateway controller",
        scope=Scope.CLUSTER,
        says="No controller says where Ingresses or Gateways are reached.",
        signs=(Sign(STATUS, anywhere, every=False),),
        breaks=("INGRESS-", "GATEWAY-"),
        next="kubectl get ingressclass,gatewayclass; does their controller run, and "
        "has its own Service an address?",
        link=DOCS + "ingress-controllers/",
    ),
    Cause(
        id="entry-not-served",
        layer="Ingress or Gateway controller",
        scope=Scope.CLUSTER,
        says="Where Ingresses or Gateways should be reached, nobody answers{only}.",
        signs=(
            Sign(PATHS, anywhere, how=unserved),
            Sign(STATUS, anywhere, fails=False),
            Sign(REACH, anywhere, fails=False),
        ),
        breaks=("INGRESS-", "GATEWAY-"),
        next="the Service in front of the controller: its targetPort and its endpoints",
        link=DOCS + "ingress-controllers/",
    ),
    Cause(
        id="ingress-tls-bad-cert",
        layer="TLS",
        scope=Scope.CLUSTER,
        says="The certificates that are shown are not valid now, or for other hosts"
        "{only}.",
        signs=(
            Sign(("INGRESS-CERT-VALID",), anywhere, how=out_of_date),
            Sign(("INGRESS-HOST-PATH",), anywhere, fails=False),
        ),
        breaks=("INGRESS-TLS", "INGRESS-CERT-VALID", "GATEWAY-TLS"),
        confidence=Confidence.CONFIRMED,
        next="openssl s_client -connect ADDRESS:443 -servername HOST | openssl x509 "
        "-noout -dates -ext subjectAltName; then the Secret",
        link=THREADS + "kubernetes/ingress-nginx/issues/4979",
    ),
    Cause(
        id="certificate-not-trusted",
        layer="Ingress or Gateway controller",
        scope=Scope.CLUSTER,
        says="The certificates that are shown cannot be verified{only}.",
        signs=(
            Sign(("INGRESS-CERT-VALID",), anywhere, how=unverified),
            Sign(("INGRESS-HOST-PATH",), anywhere, fails=False),
        ),
        breaks=("INGRESS-TLS", "INGRESS-CERT-VALID", "GATEWAY-TLS"),
        next="openssl s_client -connect ADDRESS:443 -servername HOST: whose is it, and "
        "until when valid; is the intermediate certificate there?",
        link=DOCS + "ingress/#tls",
    ),
)
