"""The cluster file: a kind configuration, and what kind has no field for.

The first YAML document is kind's own (kind.x-k8s.io/v1alpha4), so that the same file
serves both providers; the optional second one is ours.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import yaml

from .cluster_file import (
    KIND_API,
    OUR_API,
    AddonName,
    ClusterExtras,
    Cni,
    FlannelBackend,
    FlannelOptions,
    KindCluster,
    ProxyMode,
    validate,
)
from .component import KUBERNETES_VERSION, NODE_VERSIONS
from .errors import ClusterConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_k8snet.model import Feature

Family = Literal["ipv4", "ipv6"]
FAMILIES: dict[str, tuple[Family, ...]] = {
    "ipv4": ("ipv4",),
    "ipv6": ("ipv6",),
    "dual": ("ipv4", "ipv6"),
}
# kind's own defaults, so that a file means the same for both providers.
POD_SUBNETS = {"ipv4": "10.244.0.0/16", "ipv6": "fd00:10:244::/56"}
SERVICE_SUBNETS = {"ipv4": "10.96.0.0/16", "ipv6": "fd00:10:96::/112"}
# The control plane gives each Node a /24 and a /64, and can number 2**16 of them.
NODE_PREFIX = {"ipv4": 24, "ipv6": 64}
MOST_PREFIX_DIFFERENCE = 16
LONGEST_NAME = 63 - len("-control-plane")


@dataclass(frozen=True)
class NodeSpec:
    """A Node that a cluster file asks for."""

    name: str
    short: str
    control_plane: bool
    labels: dict[str, str]


@dataclass(frozen=True)
class ClusterSpec:
    """What a cluster file asks for."""

    name: str
    file: Path
    nodes: tuple[NodeSpec, ...]
    families: tuple[Family, ...]
    pod_subnets: tuple[str, ...]
    service_subnets: tuple[str, ...]
    proxy_mode: ProxyMode
    # None when the file wants none, and Nodes that are never ready.
    cni: Cni | None
    flannel_backend: FlannelBackend
    addons: tuple[AddonName, ...]
    features: tuple[Feature, ...]
    # Of the kubelets and kube-proxies; the control plane's is always the newest.
    node_version: str
    dns_search: tuple[str, ...]
    feature_gates: dict[str, bool]
    runtime_config: dict[str, str]
    # Fields that only one provider can honour, and where they stand.
    kind_only: tuple[str, ...]
    netns_only: tuple[str, ...]
    # The document for kind, as it was written.
    kind_document: str


def load(file: Path, name: str | None = None) -> ClusterSpec:
    """Read a cluster file; `name` replaces the one in it."""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterConfigError(
            f"the cluster file {file} could not be read: {error}"
        ) from error
    return parse(text, file, name)


def parse(text: str, file: Path, name: str | None = None) -> ClusterSpec:
    """Understand the text of a cluster file."""
    kind_document, extras_document = _documents(text, file)
    kind = validate(KindCluster, kind_document, file, KIND_API)
    extras = ClusterExtras(kind="ClusterExtras", apiVersion="k8snet/v1alpha1")
    if extras_document is not None:
        extras = validate(ClusterExtras, extras_document, file, OUR_API)
    families = FAMILIES[kind.networking.ipFamily]
    chosen = _name(name or kind.name or file.stem, file)
    pods = _subnets(kind.networking.podSubnet, POD_SUBNETS, families, "podSubnet", file)
    services = _subnets(
        kind.networking.serviceSubnet, SERVICE_SUBNETS, families, "serviceSubnet", file
    )
    _check_sizes(pods, services, file)
    return ClusterSpec(
        name=chosen,
        file=file,
        nodes=_nodes(kind, chosen),
        families=families,
        pod_subnets=pods,
        service_subnets=services,
        proxy_mode=kind.networking.kubeProxyMode,
        cni=_cni(kind, extras, file),
        flannel_backend=(extras.flannel or FlannelOptions()).backend,
        addons=tuple(dict.fromkeys(extras.addons)),
        features=tuple(extras.features),
        node_version=_node_version(extras),
        dns_search=tuple(kind.networking.dnsSearch or ()),
        feature_gates=kind.featureGates,
        runtime_config=kind.runtimeConfig,
        kind_only=_kind_only(kind),
        netns_only=("nodeVersion",) if extras.nodeVersion else (),
        kind_document=_for_kind(kind_document, extras),
    )


def _for_kind(document: dict[str, Any], extras: ClusterExtras) -> str:
    """Return kind's document: whose pod network is ours has to leave out its own."""
    if extras.cni not in {None, "bridge"}:
        networking = {**(document.get("networking") or {}), "disableDefaultCNI": True}
        document = {**document, "networking": networking}
    return yaml.safe_dump(document, sort_keys=False)


def _cni(kind: KindCluster, extras: ClusterExtras, file: Path) -> Cni | None:
    """Choose the pod network: ours replaces the default, which kind can disable."""
    if extras.flannel and extras.cni != "flannel":
        raise ClusterConfigError(
            f"{file}: flannel: these options are flannel's, but cni is "
            f"{extras.cni or 'bridge'}; set `cni: flannel`, or remove them"
        )
    disabled = kind.networking.disableDefaultCNI
    if disabled and extras.cni == "bridge":
        raise ClusterConfigError(
            f"{file}: cni is bridge, which is the default that "
            "networking.disableDefaultCNI disables; remove one of the two"
        )
    if disabled and not extras.cni and extras.addons:
        raise ClusterConfigError(
            f"{file}: addons: {', '.join(extras.addons)} are Pods, but with "
            "networking.disableDefaultCNI and no cni no Pod gets a network"
        )
    network = [extras.cni] if extras.cni and extras.cni != "bridge" else []
    of_pods = [*network, *extras.addons]
    if of_pods and kind.networking.kubeProxyMode == "none":
        raise ClusterConfigError(
            f"{file}: networking.kubeProxyMode is none, but {', '.join(of_pods)} reach "
            "the API server through its Service; set it to nftables or iptables"
        )
    return extras.cni or (None if disabled else "bridge")


def _node_version(extras: ClusterExtras) -> str:
    """Complete a minor version to the one that we have of it."""
    if extras.nodeVersion is None:
        return KUBERNETES_VERSION
    return next(v for v in NODE_VERSIONS if v.startswith(f"v{extras.nodeVersion}."))


def _documents(text: str, file: Path) -> tuple[Any, Any]:
    try:
        documents = [d for d in yaml.safe_load_all(text) if d is not None]
    except yaml.YAMLError as error:
        raise ClusterConfigError(f"{file} is not YAML: {error}") from error
    if not documents:
        raise ClusterConfigError(
            f"{file} is empty, but should hold a kind configuration "
            f"(kind: Cluster, apiVersion: {KIND_API})"
        )
    most = 2
    if len(documents) > most:
        raise ClusterConfigError(
            f"{file} holds {len(documents)} documents, but should hold a kind "
            f"configuration and at most one ClusterExtras (apiVersion: {OUR_API})"
        )
    return documents[0], documents[1] if len(documents) == most else None


def _name(name: str, file: Path) -> str:
    if re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name) and (
        len(name) <= LONGEST_NAME
    ):
        return name
    raise ClusterConfigError(
        f"{file}: name: the cluster's name is {name!r}, but should be at most "
        f"{LONGEST_NAME} lower-case letters, digits and dashes, and begin and end "
        "with a letter or digit; set `name:`, or give --name"
    )


def _nodes(kind: KindCluster, name: str) -> tuple[NodeSpec, ...]:
    """Name the Nodes as kind does: NAME-worker, NAME-worker2, ..."""
    counts: dict[str, int] = {}
    found = []
    # The control plane first: that is where the API server is.
    for node in sorted(kind.nodes, key=lambda node: node.role != "control-plane"):
        counts[node.role] = number = counts.get(node.role, 0) + 1
        short = node.role if number == 1 else f"{node.role}{number}"
        control = node.role == "control-plane"
        found.append(NodeSpec(f"{name}-{short}", short, control, node.labels))
    return tuple(found)


def _subnets(
    written: str | None,
    defaults: dict[str, str],
    families: tuple[Family, ...],
    field: str,
    file: Path,
) -> tuple[str, ...]:
    place = f"{file}: networking.{field}"
    if not written:
        return tuple(defaults[family] for family in families)
    try:
        networks = [ipaddress.ip_network(part.strip()) for part in written.split(",")]
    except ValueError as error:
        raise ClusterConfigError(f"{place}: {error}") from error
    by_family = {f"ipv{network.version}": network for network in networks}
    if len(networks) != len(families) or set(by_family) != set(families):
        wanted = " and one of ".join(families)
        raise ClusterConfigError(
            f"{place} is {written!r}, but should be one subnet of {wanted}, "
            "because of networking.ipFamily"
        )
    # The first is the primary family; kind lets the file choose the order.
    return tuple(str(by_family[family]) for family in families)


def _check_sizes(pods: tuple[str, ...], services: tuple[str, ...], file: Path) -> None:
    for pod, service in zip(pods, services, strict=True):
        network = ipaddress.ip_network(pod)
        per_node = NODE_PREFIX[f"ipv{network.version}"]
        if not per_node - MOST_PREFIX_DIFFERENCE <= network.prefixlen <= per_node:
            raise ClusterConfigError(
                f"{file}: networking.podSubnet: {pod} is cut into a /{per_node} per "
                f"Node, so that its prefix should be between "
                f"/{per_node - MOST_PREFIX_DIFFERENCE} and /{per_node}"
            )
        if network.overlaps(ipaddress.ip_network(service)):
            raise ClusterConfigError(
                f"{file}: networking: podSubnet {pod} and serviceSubnet {service} "
                "overlap, but every address must be one or the other"
            )


_KIND_ONLY = (
    "kubeadmConfigPatches",
    "kubeadmConfigPatchesJSON6902",
    "containerdConfigPatches",
    "containerdConfigPatchesJSON6902",
    "image",
    "extraMounts",
    "extraPortMappings",
)


def _kind_only(kind: KindCluster) -> tuple[str, ...]:
    found = [field for field in _KIND_ONLY if getattr(kind, field, None)]
    for number, node in enumerate(kind.nodes):
        found += [f"nodes[{number}].{f}" for f in _KIND_ONLY if getattr(node, f, None)]
    return tuple(found)


def require_netns(spec: ClusterSpec, most_nodes: int) -> None:
    """Raise when a file asks for what only kind can give.

    Where the API server is published (apiServerAddress, apiServerPort) is of no
    consequence here: it is reached at the Node's own address.
    """
    place = f"{spec.file}: "
    if spec.kind_only:
        raise ClusterConfigError(
            f"{place}{', '.join(spec.kind_only)}: only kind can do this; remove it, "
            "or use --provider kind"
        )
    if spec.proxy_mode == "ipvs":
        raise ClusterConfigError(
            f"{place}networking.kubeProxyMode is 'ipvs', but the netns provider has "
            "nftables, iptables and none"
        )
    control = sum(node.control_plane for node in spec.nodes)
    if control != 1:
        raise ClusterConfigError(
            f"{place}nodes: {control} are control-plane Nodes, but the netns provider "
            "needs exactly one; use --provider kind for more"
        )
    if len(spec.nodes) > most_nodes:
        raise ClusterConfigError(
            f"{place}nodes: {len(spec.nodes)} are more than the {most_nodes} that the "
            "netns provider has addresses for"
        )


def require_kind(spec: ClusterSpec) -> None:
    """Raise when a file asks for what only netns can give."""
    if spec.netns_only:
        raise ClusterConfigError(
            f"{spec.file}: {', '.join(spec.netns_only)}: only netns can do this; "
            "choose the Nodes' image instead, or use --provider netns"
        )
