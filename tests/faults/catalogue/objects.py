"""Faults of Services and Nodes as the API has them. See ``network``."""

from __future__ import annotations

from faults import netfilter, objects
from faults.catalogue.network import OTHER, each
from faults.ends import about, asked_on, everywhere, named
from faults.fault import Fault

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
    red=each(
        (
            *("SERVICE-SESSION-AFFINITY", "SERVICE-INTERNAL-LOCAL-ONLY"),
            *("NODEPORT-SOURCE-LOCAL", "NODEPORT-LOCAL-ONLY"),
        ),
        everywhere,
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
    red=each(
        (
            *("SERVICE-READY-ONLY", "SERVICE-TWO-PROTOCOLS"),
            *("DNS-HEADLESS-NOT-READY", "DNS-EXTERNAL-NAME"),
        ),
        everywhere,
    ),
)

SELECTS_ANOTHER = Fault(
    id="svc-selector-mismatch",
    breaks="A Service selects another Pod than it should.",
    inject=objects.services_changed(
        {"internal-local": {"selector": {"k8snet.io/rank": "1"}}}
    ),
    red={"SERVICE-INTERNAL-LOCAL": everywhere},
    # Its control, that the Service answers where its backend is, does not hold.
    inconclusive={"SERVICE-INTERNAL-LOCAL-ONLY": everywhere},
)

REFUSALS_SWALLOWED = Fault(
    id="service-no-endpoints-blackhole",
    breaks="A Node's Pods are not told that a Service refuses them.",
    inject=netfilter.refusals_swallowed(OTHER),
    red={"SERVICE-NO-ENDPOINTS": asked_on(OTHER)},
)

NETWORK_UNAVAILABLE = Fault(
    id="node-network-unavailable",
    breaks="A Node's status says that its network is not there.",
    inject=objects.network_unavailable(OTHER),
    red={"NODE-READY": asked_on(OTHER)},
)

DNS_ELSEWHERE = Fault(
    id="dns-service-ip-mismatch",
    breaks="Pods are told another address than that of the cluster DNS Service.",
    inject=objects.dns_service_elsewhere,
    red={
        "DNS-TENTH-IP": everywhere,
        **each(
            ("DNS-RESOLV-CONF", "DNS-HOST-NETWORK"), about("nameservers", everywhere)
        ),
    },
)

WHAT_WAITS = (
    "--k8snet-profile=full",
    *("-k", "SERVICE-AFFINITY-TIMEOUT or DNS-UPDATE-TIME"),
)

ONE_BACKEND = Fault(
    id="service-one-backend",
    breaks="A Service sends everybody to one of its backends.",
    inject=objects.services_changed(
        {"forgetful": {"selector": {"k8snet.io/rank": "0"}}}
    ),
    red={"SERVICE-AFFINITY-TIMEOUT": everywhere},
    args=WHAT_WAITS,
)

NAME_NOT_UPDATED = Fault(
    id="dns-headless-stale",
    breaks="The name of a headless Service does not follow its Pods.",
    inject=objects.services_changed(
        {"named": {"selector": {"k8snet.io/rank": "none"}}}
    ),
    red={"DNS-UPDATE-TIME": named("named.", everywhere)},
    args=WHAT_WAITS,
)

FAULTS = (
    POLICIES_UNDONE,
    FIELDS_CHANGED,
    SELECTS_ANOTHER,
    REFUSALS_SWALLOWED,
    NETWORK_UNAVAILABLE,
    DNS_ELSEWHERE,
    ONE_BACKEND,
    NAME_NOT_UPDATED,
)
