"""Looks at clusters that run: their state, logs and kubeconfigs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UnknownClusterError
from .lifecycle import node_command, require

if TYPE_CHECKING:
    from .cluster import Cluster

EVERYWHERE = ("containerd", "kubelet", "kube-proxy")
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


@dataclass(frozen=True)
class NodeStatus:
    """Which of its components a Node runs."""

    name: str
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

        nodes = tuple(NodeStatus(node, (), (), ()) for node in cluster.nodes)
        return Status(cluster, kind.api_ready(cluster), nodes)
    from . import cgroups, netns, state  # noqa: PLC0415 - not with kind, nor off Linux

    record = state.load(cluster.name)
    assert record is not None
    found = []
    for node in record.nodes:
        alive = {_program(pid) for pid in cgroups.processes(record.name, node.name)}
        wanted = [*EVERYWHERE, *(CONTROL_PLANE if node.control_plane else ())]
        if not record.service_proxy:
            wanted.remove("kube-proxy")
        running = tuple(part for part in wanted if part in alive)
        stopped = tuple(part for part in wanted if part not in alive)
        found.append(NodeStatus(node.name, node.addresses, running, stopped))
    return Status(cluster, netns.healthy(record), tuple(found))


def _program(pid: int) -> str:
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    # Its whole path: the short name of a process is cut after 15 letters.
    return argv.partition(b"\0")[0].decode(errors="replace").rpartition("/")[2]


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
