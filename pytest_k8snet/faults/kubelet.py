"""The kubelet on one Node, and what it makes Pods believe of name resolution."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_k8snet.faults.site import wait_until
from pytest_k8snet.localcluster import node_agents
from pytest_k8snet.localcluster.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.faults.fault import Inject
    from pytest_k8snet.faults.site import Site

CONFIG = "kubelet.yaml"
HEALTH = (
    "import urllib.request as r; r.urlopen('http://127.0.0.1:10248/healthz', timeout=1)"
)


def wrong_cluster_dns(node: str) -> Inject:
    """Name one replica of the cluster DNS to Pods, and not its Service."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        own = site.node(node)
        before = (own.folder / CONFIG).read_text()
        (address, *_) = (pod["status"]["podIP"] for pod in site.dns_replicas())
        config = json.dumps({**json.loads(before), "clusterDNS": [address]})
        try:
            own.write(CONFIG, config)
            _restart(site, node)
            yield
        finally:
            own.write(CONFIG, before)
            _restart(site, node)

    return inject


def node_asks_the_cluster(node: str) -> Inject:
    """Have a Node itself ask the cluster DNS."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        own = site.node(node)
        before = (own.folder / "resolv.conf").read_text()
        service = site.api.get("/api/v1/namespaces/kube-system/services/kube-dns")
        try:
            own.write("resolv.conf", f"nameserver {service['spec']['clusterIP']}\n")
            yield
        finally:
            own.write("resolv.conf", before)

    return inject


def _restart(site: Site, node: str) -> None:
    """Start a Node's kubelet anew, and wait until it serves and the Node is Ready."""
    path = f"/api/v1/nodes/{site.full(node)}"
    before = _heartbeat(site, path)

    def back() -> bool:
        try:
            site.run(node, "python3", "-c", HEALTH)
        except CommandError:
            return False
        return _heartbeat(site, path) > before

    site.end(node, "kubelet")
    node_agents.start_kubelet(site.node(node))
    wait_until(back, f"the kubelet of {node} is back", 30)


def _heartbeat(site: Site, path: str) -> str:
    """Give when a Node was last said to be Ready; "" while it is not."""
    conditions = site.api.get(path)["status"]["conditions"]
    (ready,) = (c for c in conditions if c["type"] == "Ready")
    return str(ready["lastHeartbeatTime"]) if ready["status"] == "True" else ""
