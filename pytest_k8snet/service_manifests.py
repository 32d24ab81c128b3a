"""The Services of a lab and what is behind them, as plain dicts. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_k8snet.manifests import LABEL, US, labels, ranges
from pytest_k8snet.model import Family, Protocol

if TYPE_CHECKING:
    from pytest_k8snet.manifests import LabSpec
    from pytest_k8snet.model import ClusterFacts, Service


def services(
    spec: LabSpec,
    wanted: Service,
    facts: ClusterFacts,
    outside: tuple[str, ...] = (),
) -> list[dict[str, Any]]:
    """Make a Service; with ``per_node``, one for the server on each Node.

    OUTSIDE are the addresses of the outside.
    """
    if wanted.balanced:
        return [
            _balanced(_service(spec, one, one.name, facts), one, outside)
            for one in by_transport(wanted)
        ]
    if not wanted.per_node:
        return [_service(spec, wanted, wanted.name, facts)]
    return [
        _service(spec, wanted, f"{wanted.name}-{rank}", facts, str(rank))
        for rank in range(len(facts.nodes))
    ]


def _service(
    spec: LabSpec,
    wanted: Service,
    name: str,
    facts: ClusterFacts,
    rank: str | None = None,
) -> dict[str, Any]:
    body: dict[str, Any]
    if wanted.external_name:
        target = wanted.external_name.format(domain=facts.domain)
        body = {"type": "ExternalName", "externalName": target}
    else:
        body = {
            "ipFamilyPolicy": "PreferDualStack",
            "ports": [_service_port(*port) for port in wanted.ports],
        }
    body |= dict(wanted.spec)
    if wanted.affinity_seconds:
        how_long = {"timeoutSeconds": wanted.affinity_seconds}
        body["sessionAffinityConfig"] = {"clientIP": how_long}
    if wanted.external_ip:
        body["externalIPs"] = [facts.given["external_ip"]]
    if wanted.headless:
        body["clusterIP"] = "None"
    if wanted.selector is not None and not wanted.external_name:
        chosen = {"role": str(wanted.role)} if not _any_role(wanted) else {}
        chosen |= {key: str(value) for key, value in wanted.selector}
        chosen |= {"rank": rank} if rank is not None else {}
        body["selector"] = {LABEL + key: value for key, value in chosen.items()}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": labels(spec)},
        "spec": body,
    }


def by_transport(wanted: Service) -> list[Service]:
    """Split a Service by the transports of its ports, each with one in its name."""
    return [
        replace(wanted, name=f"{wanted.name}-{transport}", ports=ports)
        for transport in Protocol
        if (ports := tuple(p for p in wanted.ports if p[-1] is transport))
    ]


def _balanced(
    item: dict[str, Any], wanted: Service, outside: tuple[str, ...]
) -> dict[str, Any]:
    item["spec"]["type"] = "LoadBalancer"
    if wanted.sources:
        item["spec"]["loadBalancerSourceRanges"] = ranges(wanted.sources, outside)
    return item


def _any_role(wanted: Service) -> bool:
    return any(key in {"role", "mixed"} for key, _ in wanted.selector or ())


def _service_port(
    name: str, port: int, target: int | str, protocol: Protocol
) -> dict[str, Any]:
    return {
        "name": name,
        "port": port,
        "targetPort": target,
        "protocol": protocol.upper(),
    }


def probe_service(
    spec: LabSpec, name: str, backend: str, port: int, target: int
) -> dict[str, Any]:
    """Make the Service in front of such a Pod."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": labels(spec)},
        "spec": {
            "ipFamilyPolicy": "PreferDualStack",
            "selector": {LABEL + "pod": backend},
            "ports": [
                _service_port(f"main-{protocol}", port, target, protocol)
                for protocol in (Protocol.TCP, Protocol.UDP)
            ],
        },
    }


def made_up_addresses(count: int, family: Family) -> tuple[str, ...]:
    """Give addresses of the ranges for documentation, which nobody has."""
    begin = "2001:db8::" if family is Family.IPV6 else "192.0.2."
    return tuple(f"{begin}{number}" for number in range(1, count + 1))


def endpoint_slice(
    spec: LabSpec, wanted: Service, family: Family, addresses: tuple[str, ...]
) -> dict[str, Any]:
    """Make the EndpointSlice of a Service without selector, by hand."""
    conditions = {"ready": True}
    if wanted.terminating:
        conditions = {"ready": False, "serving": True, "terminating": True}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{wanted.name}-{family}",
            "labels": labels(spec)
            | {
                "kubernetes.io/service-name": wanted.name,
                "endpointslice.kubernetes.io/managed-by": US,
            },
        },
        "addressType": "IPv6" if family is Family.IPV6 else "IPv4",
        "endpoints": [{"addresses": [a], "conditions": conditions} for a in addresses],
        "ports": [
            {"name": name, "port": target, "protocol": protocol.upper()}
            for name, _, target, protocol in wanted.ports
        ],
    }
