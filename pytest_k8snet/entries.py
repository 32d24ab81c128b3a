"""What leads HTTP into the cluster, as plain dicts, and what the API says of it. Pure.

Ingresses, Gateways with their HTTPRoutes, and the Secrets of the sites they publish.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_k8snet.manifests import NAMESPACE_OF, labels
from pytest_k8snet.model import EntryState, Kind, Role, ServiceState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_k8snet.manifests import LabSpec
    from pytest_k8snet.model import ClusterFacts, Entry, Site

Json = dict[str, Any]

GATEWAY_API = "gateway.networking.k8s.io/v1"
PLAIN = "http"
"""The name of a Gateway's listener for everything that is not secure."""

ADDRESS = "address"
"""Holds of what the API names an address of."""

HERE = "localhost"
"""What controllers for a single machine say: true of that, and of no Pod."""

LISTS = {
    Kind.LOAD_BALANCER: ("/api/v1/services",),
    Kind.INGRESS: ("/apis/networking.k8s.io/v1/ingresses",),
    Kind.GATEWAY: (f"/apis/{GATEWAY_API}/gateways", f"/apis/{GATEWAY_API}/httproutes"),
}
"""Where the API tells of each kind."""


def namespace_of(spec: LabSpec) -> str:
    """Name the namespace of all of them: that of the Services they lead to."""
    return spec.namespace(NAMESPACE_OF[Role.SERVER])


def host(site: Site, spec: LabSpec) -> str:
    """Give a site's host name, which no other run has."""
    return site.host.format(ns=namespace_of(spec))


def objects(spec: LabSpec, entry: Entry, facts: ClusterFacts) -> list[Json]:
    """Make an Ingress, or a Gateway and its HTTPRoutes."""
    if entry.kind is Kind.INGRESS:
        return [_ingress(spec, entry, facts)]
    return [
        _gateway(spec, entry, facts),
        *(_route(spec, entry, site) for site in entry.sites),
    ]


def secret(spec: LabSpec, site: Site, chain: str, key: str) -> Json:
    """Make the Secret of a site: its certificates and its key, in PEM."""
    made = _object(spec, "v1", "Secret", site.name)
    return made | {
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": chain, "tls.key": key},
    }


def _object(spec: LabSpec, version: str, kind: str, name: str) -> Json:
    metadata = {"name": name, "labels": labels(spec)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _ingress(spec: LabSpec, entry: Entry, facts: ClusterFacts) -> Json:
    body: Json = {
        "rules": [
            {
                "host": host(site, spec),
                "http": {
                    "paths": [
                        {
                            "path": path,
                            "pathType": "Prefix",
                            "backend": {
                                "service": {"name": service, "port": {"number": port}}
                            },
                        }
                        for path, service, port in site.paths
                    ]
                },
            }
            for site in entry.sites
        ]
    }
    if facts.ingress_class:
        body["ingressClassName"] = facts.ingress_class
    if secure := [site for site in entry.sites if site.secure]:
        body["tls"] = [
            {"hosts": [host(site, spec)], "secretName": site.name} for site in secure
        ]
    made = _object(spec, "networking.k8s.io/v1", "Ingress", entry.name)
    return made | {"spec": body}


def _gateway(spec: LabSpec, entry: Entry, facts: ClusterFacts) -> Json:
    http, https = facts.gateway_ports
    listeners: list[Json] = [{"name": PLAIN, "protocol": "HTTP", "port": http}]
    listeners += [
        {
            "name": site.name,
            "protocol": "HTTPS",
            "port": https,
            "hostname": host(site, spec),
            "tls": {"mode": "Terminate", "certificateRefs": [{"name": site.name}]},
        }
        for site in entry.sites
        if site.secure
    ]
    body = {"gatewayClassName": facts.gateway_class, "listeners": listeners}
    return _object(spec, GATEWAY_API, "Gateway", entry.name) | {"spec": body}


def _route(spec: LabSpec, entry: Entry, site: Site) -> Json:
    listener = site.name if site.secure else PLAIN
    body = {
        "parentRefs": [{"name": entry.name, "sectionName": listener}],
        "hostnames": [host(site, spec)],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": path}}],
                "backendRefs": [{"name": service, "port": port}],
            }
            for path, service, port in site.paths
        ],
    }
    return _object(spec, GATEWAY_API, "HTTPRoute", site.name) | {"spec": body}


# ------------------------------------------------------------------ what the API says


def states(kind: Kind, *lists: Sequence[Json]) -> dict[tuple[Kind, str], EntryState]:
    """Describe what the API lists of a kind; for the lists see LISTS."""
    routes = lists[1] if kind is Kind.GATEWAY else ()
    return {
        (kind, item["metadata"]["name"]): _state(kind, item, routes)
        for item in lists[0]
    }


def _state(kind: Kind, item: Json, routes: Iterable[Json]) -> EntryState:
    found = tuple(_addresses(kind, item))
    holds: tuple[str, ...] = (ADDRESS,) if found else ()
    if kind is Kind.GATEWAY:
        holds += tuple(_gateway_conditions(item, routes))
    return EntryState(found, holds)


def _addresses(kind: Kind, item: Json) -> Iterator[str]:
    status = item.get("status", {})
    if kind is Kind.GATEWAY:
        yield from (one["value"] for one in status.get("addresses") or ())
    else:
        for one in status.get("loadBalancer", {}).get("ingress") or ():
            address = one.get("ip") or one["hostname"]
            if address != HERE:
                yield address


def _gateway_conditions(item: Json, routes: Iterable[Json]) -> Iterator[str]:
    name, status = item["metadata"]["name"], item.get("status", {})
    yield from _true("Gateway", item, status)
    for listener in status.get("listeners") or ():
        yield from _true(f"listener {listener['name']}", item, listener)
    for route in routes:
        for parent in route.get("status", {}).get("parents") or ():
            if parent["parentRef"]["name"] == name:
                yield from _true(
                    f"HTTPRoute {route['metadata']['name']}", route, parent
                )


def _true(what: str, item: Json, status: Json) -> Iterator[str]:
    """Give the conditions that are true of an object as it is now."""
    for one in status.get("conditions") or ():
        current = one.get("observedGeneration") == item["metadata"]["generation"]
        if one["status"] == "True" and current:
            yield f"{what} {one['type']}"


def service_state(item: Json) -> ServiceState:
    """Describe a Service as the API has it."""
    spec = item["spec"]
    ports = spec.get("ports", ())
    node_ports = {p["name"]: p["nodePort"] for p in ports if p.get("nodePort")}
    if health := spec.get("healthCheckNodePort"):
        node_ports["health-tcp"] = health
    return ServiceState(
        name=item["metadata"]["name"],
        namespace=item["metadata"]["namespace"],
        addresses=tuple(a for a in spec.get("clusterIPs", ()) if a != "None"),
        ports={p["name"]: p["port"] for p in ports},
        node_ports=node_ports,
    )
