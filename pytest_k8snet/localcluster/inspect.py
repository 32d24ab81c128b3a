"""Looks at clusters that run: their state, logs and kubeconfigs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UnknownClusterError
from .lifecycle import node_command, require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .cluster import Cluster
    from .state import ClusterRecord

EVERYWHERE = ("containerd", "kubelet", "kube-proxy")
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


@dataclass(frozen=True)
class NodeStatus:
    """Which of its components a Node runs; the version is its kubelet's."""

    name: str
    version: str
    addresses: tuple[str, ...]
    running: tuple[str, ...]
    stopped: tuple[str, ...]


@dataclass(frozen=True)
class Status:
    """What runs of a cluster."""

    cluster: Cluster
    api_ready: bool
    nodes: tuple[NodeStatus, ...]

    @property
    def healthy(self) -> bool:
        return self.api_ready and not any(node.stopped for node in self.nodes)


def status(name: str | None) -> Status:
    """Say what runs of a cluster, or of the only one."""
    cluster = require(name)
    if cluster.provider == "kind":
        from . import kind  # noqa: PLC0415 - only for its clusters

        found = [NodeStatus(*node, (), (), ()) for node in kind.versions(cluster)]
        return Status(cluster, kind.api_ready(cluster), tuple(found))
    from . import netns, state  # noqa: PLC0415 - not with kind, nor off Linux

    record = state.load(cluster.name)
    assert record is not None
    return Status(cluster, netns.healthy(record), tuple(_node_states(record)))


def _node_states(record: ClusterRecord) -> Iterator[NodeStatus]:
    from .node import nodes  # noqa: PLC0415 - not with kind, nor off Linux

    for node in nodes(record):
        wanted = [*EVERYWHERE, *(CONTROL_PLANE if node.record.control_plane else ())]
        if not record.service_proxy:
            wanted.remove("kube-proxy")
        alive = {part: [*node.processes(part).values()] for part in wanted}
        yield NodeStatus(
            name=node.name,
            # What was built for us lies in a folder of its version.
            version="".join(Path(path).parent.name for path in alive["kubelet"][:1]),
            addresses=node.record.addresses,
            running=tuple(part for part in wanted if alive[part]),
            stopped=tuple(part for part in wanted if not alive[part]),
        )


def versions(cluster: Cluster) -> list[str]:
    """Return the versions that the cluster's kubelets have."""
    if cluster.provider == "kind":
        from . import kind  # noqa: PLC0415 - only for its clusters

        found = {version for _, version in kind.versions(cluster)}
    else:
        from . import state  # noqa: PLC0415 - not with kind, nor off Linux

        record = state.load(cluster.name)
        found = {node.version for node in _node_states(record)} if record else set()
    return sorted(found - {""})


def logs_command(
    name: str | None, node: str, component: str, *, follow: bool
) -> list[str]:
    """Return argv that prints a component's log."""
    cluster = require(name)
    more = ["--follow"] if follow else []
    if cluster.provider == "kind":
        # kind's Nodes run systemd for what is not a Pod.
        unit = ["journalctl", "--no-pager", "-u", component, *more]
        return node_command(cluster.name, node, unit)
    from . import state  # noqa: PLC0415 - not with kind, nor off Linux

    record = state.load(cluster.name)
    assert record is not None
    for each in record.nodes:
        if node in (each.name, each.short):
            log = record.folder / "nodes" / each.name / "log" / f"{component}.log"
            if log.exists():
                return ["tail", "-n", "+1", *more, "--", str(log)]
            raise UnknownClusterError(f"{each.name} runs no {component}")
    raise UnknownClusterError(
        f'the cluster "{cluster.name}" has no Node {node}, but it has '
        f"{', '.join(cluster.nodes)}"
    )


def kubeconfig_text(name: str | None) -> str:
    """Return a kubeconfig with only that cluster in it."""
    cluster = require(name)
    if cluster.provider == "kind":
        from . import kind  # noqa: PLC0415 - only for its clusters

        return kind.kubeconfig_text(cluster.name)
    return cluster.kubeconfig.read_text()
