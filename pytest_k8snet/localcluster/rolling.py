"""Restarts and upgrades what every Node runs, one Node after the other.

As administrators do it without draining: Pods go on running, and what they send goes on
being forwarded by what kube-proxy has left in the kernel.
"""

from __future__ import annotations

import http.client
import json
import shlex
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from . import containerd, node_agents, objects
from .api import Api
from .commands import tail, wait_for
from .errors import UnknownClusterError
from .node import nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .node import Node
    from .objects import Object
    from .progress import Progress
    from .state import ClusterRecord

STARTS: dict[str, Callable[[Node], None]] = {
    "containerd": containerd.start,
    "kubelet": node_agents.start_kubelet,
    "kube-proxy": node_agents.start_proxy,
}
READY_SECONDS = 120
HEALTH_PORT = 10256
FAMILIES = {"ipv4": "IPv4", "ipv6": "IPv6"}


class Rolling:
    """Changes a running cluster, Node by Node, the control plane's first."""

    def __init__(self, cluster: ClusterRecord, progress: Progress) -> None:
        self.cluster, self.progress = cluster, progress
        self.api = Api(cluster.server, cluster.folder / "pki")

    def upgrade(self) -> tuple[str, list[str]]:
        """Bring all Nodes to the version of the control plane.

        Returns that version, and the Nodes that were not at it.
        """
        version = self.api.get("/version")["gitVersion"]
        agents = ["kubelet", *(["kube-proxy"] if self.cluster.service_proxy else [])]
        changed = []
        for node in nodes(self.cluster):
            if self._runs(node, agents, version):
                continue
            self.progress.stage(
                f"{node.name}: {' and '.join(agents)} {node.version} to {version}"
            )
            with self._finished_by("upgrade", self.cluster.name):
                self._stop(node, agents)
                node.install(version)
                self._start(node, agents)
            changed.append(node.name)
        return version, changed

    def restart(self, component: str, only: str | None) -> list[str]:
        """Restart a component on all Nodes, or on one; return the Nodes."""
        if component == "kube-proxy" and not self.cluster.service_proxy:
            raise UnknownClusterError(
                f'the cluster "{self.cluster.name}" has no kube-proxy'
            )
        chosen = [
            node
            for node in nodes(self.cluster)
            if only in (None, node.name, node.record.short)
        ]
        if not chosen:
            known = ", ".join(node.name for node in self.cluster.nodes)
            raise UnknownClusterError(
                f'the cluster "{self.cluster.name}" has no Node {only}, but it has '
                f"{known}"
            )
        for node in chosen:
            self.progress.stage(f"{node.name}: {component}")
            words = ("restart", self.cluster.name, component, "--node", node.name)
            with self._finished_by(*words):
                self._stop(node, [component])
                self._start(node, [component])
        return [node.name for node in chosen]

    def _runs(self, node: Node, agents: Sequence[str], version: str) -> bool:
        """Say whether a Node works, with its agents at a version."""
        paths = [[*node.processes(agent).values()] for agent in agents]
        item = self._object(node)
        return (
            node.version == version
            and paths == [[f"{node.programs}/{agent}"] for agent in agents]
            and _serves(item, version)
        )

    def _stop(self, node: Node, components: Sequence[str]) -> None:
        for component in components:
            node.stop(component)

    def _start(self, node: Node, components: Sequence[str]) -> None:
        """Start components on a Node, and wait until it works with them."""
        before = objects.node_heartbeat(self._object(node))
        for component in components:
            STARTS[component](node)

        def works() -> bool:
            item = self._object(node)
            return objects.node_heartbeat(item) > before and _serves(item, node.version)

        self._wait(node, "kubelet", works)
        if self.cluster.service_proxy:
            self._wait(node, "kube-proxy", lambda: self._programmed(node))

    def _wait(self, node: Node, component: str, works: Callable[[], bool]) -> None:
        self.progress.detail(f"waiting for its {component}")
        wait_for(
            f"readiness of {component} on {node.name}",
            works,
            timeout=READY_SECONDS,
            hint=lambda: tail(node.logs / f"{component}.log"),
        )

    def _object(self, node: Node) -> Object:
        return self.api.get(f"/api/v1/nodes/{node.name}")

    def _programmed(self, node: Node) -> bool:
        """Say whether kube-proxy has put its rules in place, for every family."""
        connection = http.client.HTTPConnection(
            node.record.addresses[0], HEALTH_PORT, timeout=5
        )
        with closing(connection):
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            synced = json.loads(answer.read()).get("status", {})
        return all(
            synced.get(FAMILIES[family], {}).get("healthy")
            for family in self.cluster.families
        )

    @contextmanager
    def _finished_by(self, *words: str) -> Iterator[None]:
        """Note on any error or interruption how to go on."""
        try:
            yield
        except BaseException as error:
            command = shlex.join(["k8snet", "cluster", *words])
            error.add_note(f"what was begun is finished by `{command}`")
            raise


def _serves(item: Object, version: str) -> bool:
    """Say whether a Node is ready, and its kubelet has a version."""
    info = item["status"]["nodeInfo"]
    return objects.node_ready(item) and info["kubeletVersion"] == version
