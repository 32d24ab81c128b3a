"""The birth of a netns cluster, from bare namespaces to ready Nodes and DNS."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import (
    addons,
    cgroups,
    containerd,
    control_plane,
    fabric,
    kubeconfig,
    manifests,
    node_agents,
    objects,
    podnet,
    state,
)
from .api import Api
from .commands import tail, wait_for
from .component import KUBERNETES_VERSION, NODE_VERSIONS
from .control_plane import Credentials, service_address
from .errors import LocalClusterError
from .node import Node, nodes

if TYPE_CHECKING:
    from collections.abc import Callable

    from .build import Binaries
    from .config import ClusterSpec
    from .progress import Progress

PARALLEL = 8


@dataclass(frozen=True)
class Materials:
    """What clusters are made of; kept between them."""

    binaries: Binaries
    containerd: str
    images: dict[str, Path]
    store: Path


class Birth:
    """Makes one cluster, step by step."""

    def __init__(
        self,
        spec: ClusterSpec,
        record: state.ClusterRecord,
        materials: Materials,
        progress: Progress,
    ) -> None:
        self.spec, self.record = spec, record
        self.materials, self.progress = materials, progress
        self.nodes = nodes(record)
        self.first = self.nodes[0]

    def run(self) -> state.ClusterRecord:
        self.progress.stage(f"nodes: {', '.join(node.name for node in self.nodes)}")
        fabric.lay(self.record)
        with ThreadPoolExecutor(PARALLEL) as pool:
            made = pool.submit(self._credentials)
            list(pool.map(self._boot, self.nodes))
            control_plane.start_etcd(self.first)
            config = made.result()
            self.progress.stage("control plane")
            server = control_plane.start_api_server(self.first, self.spec)
            started = [pool.submit(containerd.start, node) for node in self.nodes]
            api = self._api(server)
            control_plane.start_controllers(self.first, self.spec)
            for each in started:
                each.result()
            list(pool.map(self._start_agents, self.nodes))
            self._core(api)
            self.progress.stage("Nodes ready")
            self._pod_network(api, pool)
        self._label(api)
        if self.spec.cni:
            self._wait_for_nodes(api)
            api.create(manifests.DEPLOYMENTS, manifests.coredns())
            self._wait_for_dns(api)
            for name in self.spec.addons:
                self._install(addons.ADDONS[name], api)
        else:
            api.create(manifests.DEPLOYMENTS, manifests.coredns())
            self.progress.stage("no pod network (disableDefaultCNI): not waiting")
        kubeconfig.merge(Path(self.record.kubeconfig), config)
        record = replace(self.record, running=True)
        record.save()
        return record

    def _credentials(self) -> dict[str, Any]:
        made = Credentials.make()
        control_plane.write_files(self.first, self.spec, made)
        for node in self.nodes:
            node_agents.write_files(node, self.spec, made)
        return control_plane.write_admin(self.record, made)

    def _boot(self, node: Node) -> None:
        containerd.install_store(node, self.materials.store)
        binaries = self.materials.binaries
        search = " ".join(self.spec.dns_search)
        resolv = f"search {search}\n" if search else "# no upstream name server\n"
        programs = {"etcd": binaries["etcd"]}
        for version in (KUBERNETES_VERSION, self.spec.node_version):
            programs[version] = binaries[NODE_VERSIONS[version].name]
        node.install(self.spec.node_version)
        node.boot(programs, binaries["cni"], resolv)
        containerd.configure(node, self.materials.containerd)

    def _api(self, server: int) -> Api:
        api = Api(self.record.server, self.record.folder / "pki")
        log = self.first.logs / "kube-apiserver.log"

        def ready() -> bool:
            # With a wrong feature gate, for example: it will not come to life.
            if cgroups.dead(server):
                raise LocalClusterError(f"the API server ended:\n{tail(log)}")
            return api.ready()

        self._wait(
            "start of the API server",
            ready,
            timeout=120,
            hint=lambda: tail(log),
        )
        return api

    def _start_agents(self, node: Node) -> None:
        node_agents.start_kubelet(node)
        if self.spec.proxy_mode != "none":
            node_agents.start_proxy(node)

    def _core(self, api: Api) -> None:
        dns = [service_address(subnet, 10) for subnet in self.spec.service_subnets]
        proxy = node_agents.proxy_config(self.spec)
        for path, body in manifests.addons(dns, proxy):
            api.create(path, body)

    def _pod_network(self, api: Api, pool: ThreadPoolExecutor) -> None:
        cidrs: dict[str, list[str]] = {}

        def numbered() -> bool:
            for item in api.items("/api/v1/nodes"):
                if found := item["spec"].get("podCIDRs"):
                    cidrs[item["metadata"]["name"]] = found
            self.progress.detail(f"{len(cidrs)} of {len(self.nodes)} registered")
            return len(cidrs) == len(self.nodes)

        self._wait(
            "registration of all Nodes", numbered, timeout=120, hint=self._kubelet
        )
        if self.spec.cni == "bridge":
            list(
                pool.map(
                    lambda node: podnet.connect(node, self.nodes, cidrs, self.spec),
                    self.nodes,
                )
            )
        elif network := addons.network_of(self.spec):
            self._install(network, api)

    def _install(self, addon: addons.Addon, api: Api) -> None:
        self.progress.stage(addon.name)
        node = self.first.record.addresses
        setting = addons.Setting(self.spec, self.materials.binaries, node)
        addons.install(addon, setting, api, self._wait, self.progress)

    def _label(self, api: Api) -> None:
        # Not by the kubelet: it may not set labels of kubernetes.io on its own Node.
        for node in self.nodes:
            labels = dict(node.record.labels)
            if node.record.control_plane:
                labels[node_agents.CONTROL_PLANE] = ""
            if labels:
                body = {"metadata": {"labels": labels}}
                api.merge(f"/api/v1/nodes/{node.name}", body)

    def _wait_for_nodes(self, api: Api) -> None:
        # A plugin that comes as Pods lets a Node be ready before its network is.
        later = addons.network_of(self.spec) is not None

        def ready() -> bool:
            found = [
                objects.node_ready(item) and (not later or objects.node_connected(item))
                for item in api.items("/api/v1/nodes")
            ]
            self.progress.detail(f"{sum(found)} of {len(self.nodes)}")
            return all(found) and len(found) == len(self.nodes)

        self._wait("readiness of all Nodes", ready, timeout=120, hint=self._kubelet)

    def _wait_for_dns(self, api: Api) -> None:
        if self.spec.proxy_mode == "none":
            self.progress.stage("no service proxy (kubeProxyMode none): not waiting")
            return
        self.progress.stage("cluster DNS")
        path = f"{manifests.DEPLOYMENTS}/coredns"

        def ready() -> bool:
            count = api.get(path).get("status", {}).get("readyReplicas", 0)
            self.progress.detail(f"{count} of 2 replicas")
            return bool(count == manifests.REPLICAS)

        self._wait("readiness of CoreDNS", ready, timeout=120, hint=self._kubelet)

    def _wait(
        self,
        what: str,
        happened: Callable[[], bool],
        *,
        timeout: float,
        hint: Callable[[], str] = str,
    ) -> None:
        """Wait, but not for a cluster that somebody removes meanwhile."""

        def still_ours() -> bool:
            found = state.load(self.record.name)
            if found is None or found.owner != self.record.owner:
                raise LocalClusterError(
                    f'the cluster "{self.record.name}" was removed while it was made'
                )
            return happened()

        wait_for(what, still_ours, timeout=timeout, hint=hint)

    def _kubelet(self) -> str:
        tails = []
        for node in self.nodes:
            text = tail(node.logs / "kubelet.log", 600)
            tails.append(f"{node.name} kubelet: {json.dumps(text)}")
        return "\n".join(tails)
