"""Faults of Services and Nodes as the API has them."""

from __future__ import annotations

from pytest_k8snet.faults import netfilter, objects
from pytest_k8snet.faults.catalogue.nodes import OTHER
from pytest_k8snet.faults.fault import Fault

POLICIES_UNDONE = Fault(
    id="service-policies-undone",
    breaks="Somebody takes affinity and traffic policies from Services.",
    inject=objects.services_changed(
        {
            "sticky": {"sessionAffinity": "None"},
            "internal-local": {"internalTrafficPolicy": "Cluster"},
            "node-port-local": {"externalTrafficPolicy": "Cluster"},
        }
    ),
)

FIELDS_CHANGED = Fault(
    id="service-fields-changed",
    breaks="Somebody gives Services other ports, another name or other conditions.",
    inject=objects.services_changed(
        {
            "ready-only": {"publishNotReadyAddresses": True},
            "headless-not-ready": {"publishNotReadyAddresses": False},
            "elsewhere": {"externalName": "kube-dns.kube-system.svc.cluster.local"},
            "two-protocols": {
                "ports": [
                    {"name": "main-tcp", "port": 80, "targetPort": 8080},
                    {
                        "name": "main-udp",
                        "port": 80,
                        "targetPort": 8080,
                        "protocol": "UDP",
                    },
                ]
            },
        }
    ),
)

SELECTS_ANOTHER = Fault(
    id="service-selects-another",
    breaks="A Service selects another Pod than it should.",
    inject=objects.services_changed(
        {"internal-local": {"selector": {"k8snet.io/rank": "1"}}}
    ),
)

REFUSALS_SWALLOWED = Fault(
    id="service-no-endpoints-blackhole",
    breaks="A Node's Pods are not told that a Service refuses them.",
    inject=netfilter.refusals_swallowed(OTHER),
    nodes=(OTHER,),
)

NETWORK_UNAVAILABLE = Fault(
    id="node-network-unavailable",
    breaks="A Node's status says that its network is not there.",
    inject=objects.network_unavailable(OTHER),
    nodes=(OTHER,),
)

DNS_ELSEWHERE = Fault(
    id="dns-service-ip-mismatch",
    breaks="Pods are told another address than that of the cluster DNS Service.",
    inject=objects.dns_service_elsewhere,
)

ONE_BACKEND = Fault(
    id="service-one-backend",
    breaks="A Service sends everybody to one of its backends.",
    inject=objects.services_changed(
        {"forgetful": {"selector": {"k8snet.io/rank": "0"}}}
    ),
)

NAME_NOT_UPDATED = Fault(
    id="dns-headless-stale",
    breaks="The name of a headless Service does not follow its Pods.",
    inject=objects.services_changed(
        {"named": {"selector": {"k8snet.io/rank": "none"}}}
    ),
)

API_ELSEWHERE = Fault(
    id="api-service-not-first-ip",
    breaks="kubernetes.default was made anew, with another address than the first.",
    inject=objects.api_service_elsewhere,
)

SELECTS_NOBODY = Fault(
    id="svc-selector-mismatch",
    breaks="A Service selects no Pod.",
    inject=objects.services_changed(
        {"two-protocols": {"selector": {"k8snet.io/rank": "none"}}}
    ),
)

EXTERNAL_LOCAL = Fault(
    id="etp-local-blackhole",
    breaks="Somebody gives a Service externalTrafficPolicy Local; it has one backend.",
    inject=objects.services_changed(
        {"node-port-first": {"externalTrafficPolicy": "Local"}}
    ),
)

ORPHAN_SLICE = Fault(
    id="endpointslice-orphan",
    breaks="A Service has a slice of endpoints that nobody manages, with a dead one.",
    inject=objects.orphan_slice("few", "10.244.2.250"),
)

FAULTS = (
    SELECTS_NOBODY,
    ORPHAN_SLICE,
    EXTERNAL_LOCAL,
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
