"""What the API server says of the cluster, as rules compare it. Pure."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from itertools import combinations
from typing import TYPE_CHECKING

from pytest_k8snet.model import Role
from pytest_k8snet.wire import Unresolved

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_k8snet.model import Scene


def pod_addresses(node: str, scene: Scene) -> list[str]:
    """Give "address owner" of every Pod on a Node."""
    if not scene.all_pod_addresses:
        raise Unresolved("the addresses of Pods could not be listed")
    return [entry for name, entry in scene.all_pod_addresses if name == node]


def pods_ready(node: str, scene: Scene) -> list[str]:
    """Say that our server on a Node is ready, or that it is not."""
    mine = [p for p in scene.pods.values() if p.node == node and p.role is Role.SERVER]
    if not mine:
        raise Unresolved(f"{Role.SERVER}@{node} does not run")
    late = [p.name for p in mine if p.name not in scene.ready_pods]
    return [f"{name} is not ready" for name in late] or ["ready"]


def pods_given_addresses(node: str, scene: Scene) -> list[str]:
    """Say that our Pods on a Node got addresses, or which did not, and why."""
    without = [why for place, why in scene.without_address if place == node]
    if not without and not scene.pod(Role.CLIENT, node):
        raise Unresolved(f"{Role.CLIENT}@{node} does not run")
    return without or ["given"]


def node_ready(node: str, scene: Scene) -> list[str]:
    """Say what conditions and addresses a Node has."""
    found = scene.facts.node(node)
    return [
        "ready" if found.ready else found.problem,
        "network unavailable" if found.network_unavailable else "network available",
        "address" if found.addresses else "no address",
    ]


def addresses_in_range(node: str, scene: Scene) -> list[str]:
    """Say that a Node's Pods have addresses of its ranges, or which have not."""
    ranges = [ip_network(cidr) for cidr in scene.facts.node(node).pod_cidrs]
    versions = {r.version for r in ranges}
    strays = []
    for entry in pod_addresses(node, scene):
        address = ip_address(entry.partition(" ")[0])
        if address.version in versions and not any(address in r for r in ranges):
            strays.append(entry)
    return strays or ["in range"]


def ranges_apart(node: str, scene: Scene) -> list[str]:
    """Say that a Node's ranges overlap nobody else's, or with whose they do."""
    facts = scene.facts
    owned = [(f"pods of {n.name}", c) for n in facts.nodes for c in n.pod_cidrs]
    owned += [("Services", cidr) for cidr in facts.service_cidrs]
    owned += [(f"Node {n.name}", a) for n in facts.nodes for a in n.addresses]
    clashes = []
    for (one, first), (other, second) in combinations(owned, 2):
        mine = f"pods of {node}" in (one, other) or f"Node {node}" in (one, other)
        a, b = ip_network(first), ip_network(second)
        if mine and a.version == b.version and a.overlaps(b):
            clashes.append(f"{first} ({one}) overlaps {second} ({other})")
    return clashes or ["apart"]


def api_address(_: str, scene: Scene) -> list[str]:
    """Give the ClusterIP of ``kubernetes.default``."""
    return list(scene.facts.api_addresses[:1])


def dns_address(_: str, scene: Scene) -> list[str]:
    """Give the first ClusterIP of the cluster DNS."""
    return list(scene.facts.dns_addresses[:1])


STATUS: Mapping[str, Callable[[str, Scene], list[str]]] = {
    "pod-addresses": pod_addresses,
    "pods-ready": pods_ready,
    "pods-given-addresses": pods_given_addresses,
    "node-ready": node_ready,
    "addresses-in-range": addresses_in_range,
    "ranges-apart": ranges_apart,
    "api-address": api_address,
    "dns-address": dns_address,
}
"""By the field that a rule names."""
