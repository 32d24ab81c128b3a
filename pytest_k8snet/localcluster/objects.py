"""Objects as manifests have them: read, put into a cluster, and waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Object = dict[str, Any]

# What others need to be there before them.
_FIRST = ("Namespace", "CustomResourceDefinition")
# libyaml's, where PyYAML was built with it: some manifests are a megabyte.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Objects(Protocol):
    """As much of an API server as installing something takes."""

    def get(self, path: str) -> Object:
        """Read an object."""

    def apply(self, path: str, item: Object) -> None:
        """Create an object, or give it these fields."""


def load(text: str) -> list[Object]:
    """Read a manifest."""
    return [item for item in yaml.load_all(text, _LOADER) if item]


def apply_all(api: Objects, items: Sequence[Object]) -> None:
    """Create or change objects, in an order that works."""
    paths = Paths(api)
    for item in sorted(items, key=lambda item: item["kind"] not in _FIRST):
        api.apply(paths.of(item), item)


class Paths:
    """Where objects are in the API, as the API itself says."""

    def __init__(self, api: Objects) -> None:
        self._api = api
        self._known: dict[str, dict[str, Object]] = {}

    def of(self, item: Object) -> str:
        """Return an object's path."""
        version, kind, about = item["apiVersion"], item["kind"], item["metadata"]
        root = "/api/v1" if version == "v1" else f"/apis/{version}"
        resource = self._resources(root)[kind]
        inside = ""
        if resource["namespaced"]:
            inside = f"/namespaces/{about.get('namespace', 'default')}"
        return f"{root}{inside}/{resource['name']}/{about['name']}"

    def _resources(self, root: str) -> dict[str, Object]:
        if root not in self._known:
            self._known[root] = {
                resource["kind"]: resource
                for resource in self._api.get(root)["resources"]
                if "/" not in resource["name"]
            }
        return self._known[root]


def unfinished(api: Objects, items: Iterable[Object]) -> list[str]:
    """Name the objects that are not yet in force, each with how far it is."""
    paths = Paths(api)
    return [
        f"{item['kind']} {item['metadata']['name']}: {state}"
        for item in items
        if item["kind"] in _STATES
        and (state := _STATES[item["kind"]](api.get(paths.of(item))))
    ]


def _daemon_set(item: Object) -> str:
    status = item.get("status", {})
    wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady")
    seen = status.get("observedGeneration") == item["metadata"]["generation"]
    return "" if seen and wanted and ready == wanted else f"{ready or 0} of {wanted}"


def _deployment(item: Object) -> str:
    wanted, ready = (
        item["spec"]["replicas"],
        item.get("status", {}).get("readyReplicas"),
    )
    return "" if ready == wanted else f"{ready or 0} of {wanted}"


def _condition(wanted: str) -> Callable[[Object], str]:
    def state(item: Object) -> str:
        there = _conditions(item).get(wanted) == "True"
        return "" if there else f"not {wanted.lower()}"

    return state


_STATES = {
    "DaemonSet": _daemon_set,
    "Deployment": _deployment,
    "CustomResourceDefinition": _condition("Established"),
    "GatewayClass": _condition("Accepted"),
}


def trouble(pod: Object) -> str:
    """Say what a Pod's containers wait for, or ended with; "" when nothing."""
    status, found = pod.get("status", {}), []
    for field in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(field) or ():
            state = container.get("state", {})
            ended = state.get("terminated", {})
            for what in (
                state.get("waiting"),
                ended if ended.get("exitCode") else None,
            ):
                if what:
                    said = f"{what.get('reason', '')} {what.get('message', '')}".strip()
                    found.append(f"{container['name']}: {said}")
    return f"Pod {pod['metadata']['name']}: {'; '.join(found)}" if found else ""


def containers(items: Iterable[Object]) -> Iterator[Object]:
    """Yield every container of every Pod template."""
    for item in items:
        if item["kind"] in {"DaemonSet", "Deployment"}:
            spec = item["spec"]["template"]["spec"]
            yield from (*spec.get("initContainers", ()), *spec["containers"])


def ask_often(items: Iterable[Object]) -> None:
    """Let the kubelet notice at once that something is ready.

    Manifests are made for clusters that live long: with their pauses a cluster waits
    for seconds on what has been serving all along.
    """
    for container in containers(items):
        for name in ("startupProbe", "readinessProbe"):
            if probe := container.get(name):
                # The same patience as before, in shorter steps.
                patience = probe.get("periodSeconds", 10) * probe.get(
                    "failureThreshold", 3
                )
                probe["initialDelaySeconds"] = 0
                probe["periodSeconds"] = 1
                probe["failureThreshold"] = patience


def drop_capability(items: Iterable[Object], name: str) -> None:
    """Ask for no capability that the machine's root does not have.

    A container that does cannot be started at all.
    """
    for container in containers(items):
        capabilities = container.get("securityContext", {}).get("capabilities", {})
        if name in capabilities.get("add", ()):
            capabilities["add"] = [c for c in capabilities["add"] if c != name]


def node_ready(node: Object) -> bool:
    """Say whether a Node is ready and takes Pods; the taint goes a moment later."""
    return _conditions(node).get("Ready") == "True" and not any(
        taint["key"] == "node.kubernetes.io/not-ready"
        for taint in node["spec"].get("taints", ())
    )


def node_heartbeat(node: Object) -> str:
    """Return when the Node's kubelet last said whether it is ready."""
    return next(
        str(condition["lastHeartbeatTime"])
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    )


def node_connected(node: Object) -> bool:
    """Say whether the network plugin itself calls a Node's network available."""
    return _conditions(node).get("NetworkUnavailable") == "False"


def _conditions(item: Object) -> dict[str, str]:
    found = item.get("status", {}).get("conditions", ())
    return {condition["type"]: condition["status"] for condition in found}
