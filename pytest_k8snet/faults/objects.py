"""Objects of the API that somebody spoils, some of them as soon as they are made."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_k8snet.cluster.errors import NotFound
from pytest_k8snet.faults.site import meanwhile, wait_until
from pytest_k8snet.manifests import MANAGED_BY, US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from pytest_k8snet.faults.fault import Inject
    from pytest_k8snet.faults.site import Site

Json = dict[str, Any]
OURS = f"{MANAGED_BY}={US}"
SERVICES = "/api/v1/services"
DNS_SERVICES = "/api/v1/namespaces/kube-system/services"


def sabotaged(
    collection: str,
    spoil: Callable[[Site, Json], None],
    when: Callable[[Json], bool] = bool,
) -> Inject:
    """Spoil each of our objects of a collection, once, as soon as it is so."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        done = set()

        def look() -> bool:
            for item in site.api.list(collection, labelSelector=OURS):
                if (uid := item["metadata"]["uid"]) not in done and when(item):
                    done.add(uid)
                    spoil(site, item)
            return False

        with meanwhile(site, look):
            yield

    return inject


def services_changed(changes: Mapping[str, Json]) -> Inject:
    """Give Services of a run, by name, other fields than it asked for."""

    def spoil(site: Site, item: Json) -> None:
        metadata = item["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        if change := changes.get(name):
            path = f"/api/v1/namespaces/{namespace}/services/{name}"
            site.api.patch(path, {"spec": change})

    return sabotaged(SERVICES, spoil)


def orphan_slice(service: str, address: str) -> Inject:
    """Add an EndpointSlice of nobody's, with an address of nobody's, to a Service."""

    def spoil(site: Site, item: Json) -> None:
        metadata = item["metadata"]
        if metadata["name"] != service:
            return
        labels = {
            "kubernetes.io/service-name": service,
            "endpointslice.kubernetes.io/managed-by": "example.test",
        }
        body = {
            "metadata": {"name": f"{service}-orphan", "labels": labels},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": [
                {"name": p["name"], "protocol": p["protocol"], "port": 8080}
                for p in item["spec"]["ports"]
            ],
        }
        group = "/apis/discovery.k8s.io/v1"
        path = f"{group}/namespaces/{metadata['namespace']}/endpointslices"
        site.api.create(path, body)

    return sabotaged(SERVICES, spoil)


@contextmanager
def api_service_elsewhere(site: Site) -> Iterator[None]:
    """Make ``kubernetes.default`` anew, with another address than the first."""
    path = "/api/v1/namespaces/default/services"
    spec = site.api.get(f"{path}/kubernetes")["spec"]
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubernetes"},
        "spec": {"ports": spec["ports"]},
    }
    first = spec["clusterIP"]

    def back() -> bool:
        try:
            found = site.api.get(f"{path}/kubernetes")
        except NotFound:
            return False
        return bool(found["spec"]["clusterIP"] == first)

    try:
        site.api.delete(f"{path}/kubernetes")
        site.api.create(path, body)
        yield
    finally:
        # The API server makes it as it was, within ten seconds.
        site.api.delete(f"{path}/kubernetes")
        wait_until(back, f"the Service of the API is {first} again", 60)


def everything_denied(site: Site) -> AbstractContextManager[None]:
    """Make a policy that lets nothing in or out in every namespace of a run."""
    spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}

    def spoil(site: Site, item: Json) -> None:
        group = "/apis/networking.k8s.io/v1"
        namespace = f"{group}/namespaces/{item['metadata']['name']}"
        body = {"metadata": {"name": "default-deny"}, "spec": spec}
        site.api.create(f"{namespace}/networkpolicies", body)

    return sabotaged("/api/v1/namespaces", spoil)(site)


@contextmanager
def tainted(site: Site, node: str) -> Iterator[None]:
    """Keep what does not tolerate it off a Node."""
    path = f"/api/v1/nodes/{site.full(node)}"
    before = site.api.get(path)["spec"].get("taints", [])
    taint = {"key": "k8snet.io/fault", "effect": "NoExecute"}
    try:
        site.api.patch(path, {"spec": {"taints": [*before, taint]}})
        yield
    finally:
        site.api.patch(path, {"spec": {"taints": before}})


def network_unavailable(node: str) -> Inject:
    """Let a Node's status say that its network is not there."""
    condition = {
        "type": "NetworkUnavailable",
        "status": "True",
        "reason": "NoRouteCreated",
        "message": "a fault",
    }

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        path = f"/api/v1/nodes/{site.full(node)}"

        def others() -> list[Json]:
            conditions = site.api.get(path)["status"]["conditions"]
            return [c for c in conditions if c["type"] != condition["type"]]

        def state(conditions: list[Json]) -> None:
            site.api.patch(f"{path}/status", {"status": {"conditions": conditions}})

        def tainted() -> bool:
            taints = site.api.get(path)["spec"].get("taints", ())
            return any("network-unavailable" in taint["key"] for taint in taints)

        try:
            state([*others(), condition])
            wait_until(tainted, "the Node is tainted", 20)
            yield
        finally:
            state(others())
            wait_until(lambda: not tainted(), "the Node is tainted no more", 20)

    return inject


@contextmanager
def dns_service_elsewhere(site: Site) -> Iterator[None]:
    """Make the cluster DNS known by another Service than the one Pods are told of."""
    path = f"{DNS_SERVICES}/a-dns"
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        # The first by name.
        "metadata": {"name": "a-dns", "labels": {"k8s-app": "kube-dns"}},
        "spec": {
            "selector": {"k8s-app": "kube-dns"},
            "ipFamilyPolicy": "PreferDualStack",
            "ports": [
                {"name": protocol.lower(), "port": 53, "protocol": protocol}
                for protocol in ("TCP", "UDP")
            ],
        },
    }

    try:
        site.api.create(DNS_SERVICES, body)
        yield
    finally:
        site.remove(path)
