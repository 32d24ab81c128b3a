"""Faults of what leads into a cluster."""

from __future__ import annotations

from pytest_k8snet.faults import edge
from pytest_k8snet.faults.fault import Fault

POOL_EXHAUSTED = Fault(
    id="pool-exhausted",
    breaks="No address is left for another load balancer.",
    inject=edge.pool_exhausted,
    cluster="edge",
)

SPEAKERS_GONE = Fault(
    id="speakers-gone",
    breaks="Nobody announces the addresses of load balancers.",
    inject=edge.speakers_gone,
    cluster="edge",
)

CONTROLLER_GONE = Fault(
    id="controller-gone",
    breaks="Nobody serves Ingresses and Gateways.",
    inject=edge.controller_gone,
    cluster="edge",
)

CONTROLLER_AS_IT_COMES = Fault(
    id="controller-as-it-comes",
    breaks="The Ingress controller matches paths by their letters, and answers 404.",
    inject=edge.controller_as_it_comes,
    cluster="edge",
)

CONTROLLER_SERVICE_WRONG_PORT = Fault(
    id="controller-service-wrong-port",
    breaks="The Ingress controller's Service leads to a port that nobody listens on.",
    inject=edge.wrong_target_port,
    cluster="edge",
)

WRONG_CERTIFICATE = Fault(
    id="wrong-certificate",
    breaks="The certificates of Ingresses and Gateways are somebody else's.",
    inject=edge.wrong_certificate(),
    cluster="edge",
)

SOURCE_RANGES_LOST = Fault(
    id="source-ranges-lost",
    breaks="Somebody takes the source ranges from load balancers.",
    inject=edge.RANGES_LOST,
    cluster="edge",
)

SOURCE_HIDDEN = Fault(
    id="source-hidden",
    breaks="Somebody takes externalTrafficPolicy Local from Services.",
    inject=edge.LOCAL_LOST,
    cluster="edge",
)

FAULTS = (
    POOL_EXHAUSTED,
    SPEAKERS_GONE,
    CONTROLLER_GONE,
    CONTROLLER_AS_IT_COMES,
    CONTROLLER_SERVICE_WRONG_PORT,
    WRONG_CERTIFICATE,
    SOURCE_RANGES_LOST,
    SOURCE_HIDDEN,
)
