"""Clusters of kind with what we add: the probe image, a pod network, add-ons.

Their objects and images are those of netns clusters. They are applied with the kubectl
that kind's Nodes have.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from . import addons, images, kind, objects, packages
from .build import Binaries, build_all
from .cluster import PROBE_IMAGE
from .commands import run, wait_for
from .component import CNI
from .config import require_kind
from .errors import CommandError, UnsupportedMachineError
from .manifests import DEPLOYMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .cluster import Cluster
    from .config import ClusterSpec
    from .progress import Progress

KUBECTL = ("kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf")
# Plugins that others call, and that kind's Nodes may lack.
PLUGINS = "/opt/cni/bin"
READY_SECONDS = 180


def up(
    spec: ClusterSpec, progress: Progress, *, kubeconfig: Path | None, retain: bool
) -> Cluster:
    """Make a cluster with kind, and with what the cluster file asks for beyond it."""
    require_kind(spec)
    chosen = addons.all_of(spec)
    materials = _prepare(chosen, progress) if chosen else None
    made = kind.up(spec, progress, kubeconfig=kubeconfig, retain=retain)
    cluster = replace(made, features=frozenset(spec.features))
    try:
        if materials:
            _install(spec, cluster, materials, progress)
        if packages.is_linux():
            progress.stage("kind load image-archive: the probe image")
            kind.load_image(cluster.name, images.probe_archive(progress))
            cluster = replace(cluster, image=PROBE_IMAGE)
        if spec.cni:
            # kind waits for control-plane Nodes only.
            progress.stage("Nodes and DNS ready")
            api = Kubectl(cluster)
            wait_for(
                "readiness of all Nodes",
                api.ready,
                timeout=READY_SECONDS,
                hint=lambda: _kubelets(cluster),
            )
            if spec.proxy_mode != "none":
                wait_for("readiness of CoreDNS", api.resolving, timeout=READY_SECONDS)
    except BaseException:
        if not retain:
            kind.down(spec.name)
        raise
    return cluster


def _kubelets(cluster: Cluster) -> str:
    """Give the last words of each Node's kubelet."""
    asked = ["journalctl", "--unit=kubelet", "--lines=3", "--no-pager", "--output=cat"]
    said = []
    for node in cluster.nodes:
        argv = kind.node_command(cluster.name, node, asked)
        said.append(f"{node} kubelet: {run(argv, check=False).stdout.strip()}")
    return "\n".join(said)


@dataclass(frozen=True)
class _Materials:
    binaries: Binaries
    archives: dict[str, Path]


def _prepare(chosen: Sequence[addons.Addon], progress: Progress) -> _Materials:
    if not packages.is_linux():
        raise UnsupportedMachineError(
            "the images of a pod network and of add-ons are made from this machine's "
            "own programs, which have to be Linux's; leave cni and addons out"
        )
    programs = ["ldd", *addons.programs_of(chosen)]
    packages.require(programs, install=False, say=progress.stage)
    binaries = build_all(progress, (CNI, *addons.components_of(chosen)))
    progress.stage("images")
    wanted = addons.images_of(chosen, binaries)
    return _Materials(binaries, images.archives(wanted, progress))


def _install(
    spec: ClusterSpec, cluster: Cluster, materials: _Materials, progress: Progress
) -> None:
    progress.stage("kind load image-archive")
    for name, archive in materials.archives.items():
        progress.detail(name)
        kind.load_image(cluster.name, archive)
    api = Kubectl(cluster)
    first, *_ = api.get("/api/v1/nodes")["items"]
    addresses = tuple(
        address["address"]
        for address in first["status"]["addresses"]
        if address["type"] == "InternalIP"
    )
    setting = addons.Setting(spec, materials.binaries, addresses)
    network = addons.network_of(spec)
    for addon in addons.all_of(spec):
        progress.stage(addon.name)
        if addon is network:
            _copy_plugins(cluster, materials.binaries)
        addons.install(addon, setting, api, wait_for, progress)
        if addon is network:
            wait_for("readiness of all Nodes", api.connected, timeout=READY_SECONDS)


def _copy_plugins(cluster: Cluster, binaries: Binaries) -> None:
    engine = kind.engine() or ""
    for plugin in sorted(binaries["cni"].iterdir()):
        for node in cluster.nodes:
            run([engine, "cp", str(plugin), f"{node}:{PLUGINS}/{plugin.name}"])


class Kubectl:
    """The API server of a cluster, by the kubectl of its first Node.

    What cannot be done now is an OSError: whoever waits tries again.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def get(self, path: str) -> dict[str, Any]:
        """Read an object or a list."""
        return dict(json.loads(self._run(["get", "--raw", path])))

    def apply(self, path: str, item: dict[str, Any]) -> None:
        """Create an object, or give it these fields."""
        del path
        argv = ["apply", "--server-side", "--force-conflicts", "-f", "-"]
        self._run(argv, json.dumps(item))

    def connected(self) -> bool:
        """Say whether all Nodes are ready, and their networks available."""
        nodes = self.get("/api/v1/nodes")["items"]
        return all(objects.node_ready(n) and objects.node_connected(n) for n in nodes)

    def ready(self) -> bool:
        """Say whether all Nodes have joined and are ready."""
        nodes = self.get("/api/v1/nodes")["items"]
        ready = {n["metadata"]["name"] for n in nodes if objects.node_ready(n)}
        return ready >= set(self._cluster.nodes)

    def resolving(self) -> bool:
        """Say whether all replicas of the cluster DNS are ready."""
        found = self.get(f"{DEPLOYMENTS}/coredns")
        ready: int = found["status"].get("readyReplicas", 0)
        wanted: int = found["spec"]["replicas"]
        return ready == wanted

    def _run(self, argv: list[str], text: str | None = None) -> str:
        cluster = self._cluster
        inside = [*KUBECTL, *argv]
        command = kind.node_command(cluster.name, cluster.nodes[0], inside)
        try:
            return run(command, text=text).stdout
        except CommandError as error:
            raise OSError(str(error)) from error
