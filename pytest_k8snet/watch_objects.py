"""What a watch has in the cluster, and along which paths it asks. Pure.

A DaemonSet, because a Pod that nobody owns would keep people from draining its Node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_k8snet import manifests, pod_manifests
from pytest_k8snet.manifests import LABEL, PORTS, STATE
from pytest_k8snet.model import Family
from pytest_k8snet.outages import Path, Way
from pytest_k8snet.rules._world import of_family

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_k8snet.manifests import LabSpec
    from pytest_k8snet.model import ClusterFacts, ServiceState

    Request = dict[str, Any]

KEY = NAME = "watch"
OUTSIDE = "outside"
WATCHER = (*manifests.PYTHON, f"{manifests.MODULE}.watcher")
CONTROL = (*WATCHER, "control", "--state", STATE)
"""The command of an agent's control stream."""

OUR_WATCHER = (*manifests.OUR_PYTHON, f"{manifests.OUR_MODULE}.watcher")
OUTSIDE_WATCHER = (*OUR_WATCHER, "alone", "--name", OUTSIDE)
PORT = PORTS["main/tcp"]
SERVICE_PORT = 80
MOST_TARGETS = 10
"""Nodes that one Node asks, itself included: five questions a second for each pair
would, on a large cluster, be a load of their own."""


def identity(node: str) -> str:
    """Give the name that the agent on a Node answers with."""
    return f"{NAME}@{node}"


def marks(spec: LabSpec) -> dict[str, str]:
    """Give the labels of the Pods."""
    return manifests.labels(spec) | {LABEL + "role": NAME}


def service(spec: LabSpec) -> dict[str, Any]:
    """Make the Service in front of all agents, at a port of every Node, too."""
    port = {"name": "main", "port": SERVICE_PORT, "targetPort": PORT}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "labels": manifests.labels(spec)},
        "spec": {
            "type": "NodePort",
            "ipFamilyPolicy": "PreferDualStack",
            "selector": marks(spec),
            "ports": [port],
        },
    }


def daemon_set(spec: LabSpec, facts: ClusterFacts) -> dict[str, Any]:
    """Make the DaemonSet of the agents, one on each Node that takes probe Pods."""
    name = f"{NAME}@$(NODE)"
    arguments = ["serve", "--name", name, "--state", STATE, "--port", str(PORT)]
    place = {"fieldRef": {"fieldPath": "spec.nodeName"}}
    made = pod_manifests.base_container(spec, "main", arguments)
    container = made | {
        "command": [*WATCHER, *arguments],
        "env": [{"name": "NODE", "valueFrom": place}],
        "readinessProbe": pod_manifests.readiness(PORT),
    }
    body = pod_manifests.pod_body(spec, [container])
    body["affinity"] = pod_manifests.on_nodes([node.name for node in facts.nodes])
    del body["restartPolicy"]  # Always is the only one that a DaemonSet has
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": NAME, "labels": manifests.labels(spec)},
        "spec": {
            "selector": {"matchLabels": marks(spec)},
            "template": {"metadata": {"labels": marks(spec)}, "spec": body},
        },
    }


def paths(
    facts: ClusterFacts,
    pods: Mapping[str, Sequence[str]],
    made: ServiceState,
    replicas: Sequence[str],
    *,
    outside: bool,
) -> dict[Path, Request]:
    """Lay out every path, with the request that the agent at its source is sent.

    Args:
        facts: what discovery found.
        pods: the addresses of the agent on each Node where one runs.
        made: the Service.
        replicas: the addresses of the cluster DNS's replicas.
        outside: whether there is a place outside to ask from.

    """
    found: dict[Path, Request] = {}
    for family in facts.families:
        for source in pods:
            for path, request in _from_node(source, facts, pods, made, family):
                found |= _both(path, request)
            found |= dict(_questions(source, facts, replicas, family))
        if outside:
            found |= dict(_from_outside(facts, made, family))
    return found


def _both(path: Path, request: Request) -> dict[Path, Request]:
    """Ask by new connections, and over one that is kept."""
    kept = Path(path.way, path.source, path.target, path.family, kept=True)
    return {path: {"how": "new", **request}, kept: {"how": "kept", **request}}


def _from_node(
    source: str,
    facts: ClusterFacts,
    pods: Mapping[str, Sequence[str]],
    made: ServiceState,
    family: Family,
) -> Iterator[tuple[Path, Request]]:
    names = [node.name for node in facts.nodes]
    at = names.index(source)
    for target in (names[at:] + names[:at])[:MOST_TARGETS]:
        for address in of_family(tuple(pods.get(target, ())), family)[:1]:
            path = Path(Way.POD, source, target, family)
            yield path, {"address": address, "port": PORT, "who": identity(target)}
    for address in of_family(made.addresses, family)[:1]:
        path = Path(Way.SERVICE, source, f"Service {made.name}", family)
        request = {"address": address, "port": SERVICE_PORT}
        yield path, request | {"who": identity("")}


def _questions(
    source: str, facts: ClusterFacts, replicas: Sequence[str], family: Family
) -> Iterator[tuple[Path, Request]]:
    question = {
        "how": "dns",
        "port": 53,
        "who": "",
        "name": f"kubernetes.default.svc.{facts.domain}",
        # The Service may have one family only, whatever the name server is asked over.
        "type": "AAAA" if facts.families[0] is Family.IPV6 else "A",
    }
    for address in of_family(facts.dns_addresses, family):
        yield (
            Path(Way.DNS, source, f"Service {address}", family),
            {**question, "address": address},
        )
    for address in of_family(tuple(replicas), family):
        yield (
            Path(Way.DNS, source, f"replica {address}", family),
            {**question, "address": address},
        )


def _from_outside(
    facts: ClusterFacts, made: ServiceState, family: Family
) -> Iterator[tuple[Path, Request]]:
    port = next(iter(made.node_ports.values()), 0)
    for node in facts.nodes:
        for address in of_family(node.addresses, family)[:1] if port else ():
            path = Path(Way.NODE_PORT, OUTSIDE, node.name, family)
            request = {"how": "new", "address": address, "port": port}
            yield path, request | {"who": identity("")}
