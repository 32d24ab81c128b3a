"""From the API server to facts: asked once, in the controller."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from pytest_k8snet.cluster.errors import ApiError, ClusterError, Forbidden, NotFound
from pytest_k8snet.model import ClusterFacts, Family, Feature, Node

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_k8snet.cluster.api import Api

NETWORK_PLUGINS = (
    # (DaemonSet name, what people call it, whether it enforces NetworkPolicy)
    ("cilium", "Cilium", True),
    ("calico-node", "Calico", True),
    ("antrea-agent", "Antrea", True),
    ("kube-router", "kube-router", True),
    ("ovnkube-node", "OVN-Kubernetes", True),
    ("weave-net", "Weave Net", True),
    ("kube-flannel-ds", "flannel", False),
    ("kindnet", "kindnet", True),
    ("aws-node", "Amazon VPC CNI", False),
    ("azure-cns", "Azure CNI", False),
)
LISTENER_PORTS = {"traefik.io/gateway-controller": (8000, 8443)}
"""Where a controller counts a Gateway's ports as its own Pods do: its chart's ports."""

CLOUDS = ("k8s.aws/", "amazonaws.com/", "gke.io/", "azure.io/", "azure/")
"""Parts of the names of controllers that make something which costs money and time:
they are used only where somebody claims the feature."""

TAG = re.compile(r":v?(\d+(?:\.\d+)+)[^:/]*$")
"""The version in the name of an image."""

DEFAULT_INGRESS_CLASS = "ingressclass.kubernetes.io/is-default-class"

LOAD_BALANCERS = frozenset({"speaker", "metallb-speaker", "kube-vip-ds"})
"""DaemonSets that give Services addresses. Others, such as a cloud's, are claimed."""

KUBE_PROXY = "kube-proxy"
SAME_NODE_SINCE = 35
"""The minor version from which every API server takes PreferSameNode."""

# Not "verified", which knows a Pod by its first address only.
POD_RECORDS = re.compile(r"^\s*pods\s+insecure\b", re.MULTILINE)
DNS_SERVICE_LABEL = "k8s-app=kube-dns"
ROLE_LABEL = "node-role.kubernetes.io/"
ZONE_LABEL = "topology.kubernetes.io/zone"


class NoNodes(ClusterError):  # noqa: N818 - reads as what is wrong
    """Nothing can be probed: the cluster has no Node that takes our Pods."""


def discover(
    api: Api,
    context: str,
    *,
    selector: str = "",
    tolerations: Sequence[dict[str, Any]] = ({"operator": "Exists"},),
    claimed: frozenset[Feature] = frozenset(),
) -> ClusterFacts:
    """Ask the API server for everything that the plan needs.

    Args:
        api: the client.
        context: the kubeconfig context, for reports.
        selector: a label selector for Nodes; "" takes all.
        tolerations: what the probe Pods tolerate.
        claimed: features that the cluster has, whether they are found or not.

    Raises:
        NoNodes: when no Node is left to probe from.
        ClusterError: when the server cannot be asked.

    """
    found = [
        _node(item, tolerations)
        for item in api.list("/api/v1/nodes", labelSelector=selector or None)
    ]
    usable = sorted((n for n in found if not n.problem), key=lambda n: n.name)
    left_out = sorted((n for n in found if n.problem), key=lambda n: n.name)
    if not usable:
        raise NoNodes(_no_nodes(context, selector, left_out))
    dns_name, dns_addresses = _dns_service(api)
    api_service = api.get("/api/v1/namespaces/default/services/kubernetes")
    service_cidrs = _service_cidrs(api)
    families = _families(
        usable, dns_addresses, service_cidrs, both=Feature.DUAL_STACK in claimed
    )
    daemons = _optional(api, "/apis/apps/v1/daemonsets")
    plugin, plugin_version, enforces = _network_plugin(daemons)
    version, proxy = api.version(), _service_proxy(api, daemons)
    ingress_class = _ingress_class(api, costly=Feature.INGRESS in claimed)
    gateway_class, controller = _gateway_class(api, costly=Feature.GATEWAY in claimed)
    corefile = _corefile(api)
    found_features = {
        Feature.LOAD_BALANCER: any(
            d["metadata"]["name"] in LOAD_BALANCERS for d in daemons
        ),
        Feature.INGRESS: bool(ingress_class),
        Feature.GATEWAY: bool(gateway_class),
        Feature.NETWORK_POLICY: enforces,
        Feature.DUAL_STACK: len(families) > 1,
        Feature.TRAFFIC_DISTRIBUTION: proxy.startswith(KUBE_PROXY)
        and minor(version) >= SAME_NODE_SINCE,
        Feature.HEALTH_CHECK_NODE_PORT: proxy.startswith(KUBE_PROXY),
        Feature.POD_RECORDS: bool(POD_RECORDS.search(corefile)),
        Feature.SERVICE_RANGE: bool(service_cidrs),
    }
    return ClusterFacts(
        context=context,
        server=api.server,
        version=version,
        nodes=tuple(usable),
        families=families,
        dns_addresses=dns_addresses,
        dns_replicas=_dns_replicas(api, dns_name, families),
        domain=_domain(corefile),
        api_addresses=_cluster_ips(api_service),
        service_cidrs=service_cidrs,
        network_plugin=plugin,
        network_plugin_version=plugin_version,
        service_proxy=proxy,
        features=claimed | {f for f, there in found_features.items() if there},
        claimed=claimed,
        ingress_class=ingress_class,
        gateway_class=gateway_class,
        gateway_ports=LISTENER_PORTS.get(controller, (80, 443)),
        left_out=tuple(left_out),
    )


def pod_addresses(api: Api) -> dict[str, list[str]]:
    """Give "address owner" of every running Pod off the host network, by Node."""
    found: dict[str, list[str]] = {}
    for pod in api.list("/api/v1/pods", fieldSelector="status.phase=Running"):
        if pod["spec"].get("hostNetwork") or "deletionTimestamp" in pod["metadata"]:
            continue
        owner = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        entries = found.setdefault(pod["spec"].get("nodeName", ""), [])
        for address in pod["status"].get("podIPs", ()):
            entries.append(f"{address['ip']} {owner}")
    return found


def _no_nodes(context: str, selector: str, left_out: Iterable[Node]) -> str:
    why = "; ".join(f"{n.name}: {n.problem}" for n in left_out)
    if why:
        return f"no Node of {context} takes probe Pods ({why})"
    if selector:
        return f"no Node of {context} has the labels {selector!r} (--k8snet-nodes)"
    return f"the cluster of {context} has no Nodes"


def _node(item: dict[str, Any], tolerations: Sequence[dict[str, Any]]) -> Node:
    spec, status = item.get("spec", {}), item.get("status", {})
    labels = item["metadata"].get("labels", {})
    conditions = {c["type"]: c["status"] for c in status.get("conditions", ())}
    taints = tuple(
        (t["key"], t.get("value", ""), t["effect"]) for t in spec.get("taints", ())
    )
    ready = conditions.get("Ready") == "True"
    refused = [t for t in taints if not any(_tolerates(x, t) for x in tolerations)]
    info = status.get("nodeInfo", {})
    system = info.get("operatingSystem") or "linux"
    problem = "" if ready else f"NotReady ({_why_not_ready(status)})"
    if not problem and system != "linux":
        problem = f"runs {system}, where probe Pods do not"
    if not problem and refused:
        key, _, effect = refused[0]
        problem = f"taint {key}:{effect} is not tolerated (--k8snet-tolerations)"
    return Node(
        name=item["metadata"]["name"],
        addresses=tuple(
            a["address"]
            for a in status.get("addresses", ())
            if a["type"] == "InternalIP"
        ),
        pod_cidrs=tuple(spec.get("podCIDRs", ())),
        ready=ready,
        network_unavailable=conditions.get("NetworkUnavailable") == "True",
        schedulable=not spec.get("unschedulable", False),
        taints=taints,
        problem=problem,
        kubelet_version=info.get("kubeletVersion", ""),
        zone=labels.get(ZONE_LABEL, ""),
        roles=tuple(
            sorted(name[len(ROLE_LABEL) :] for name in labels if ROLE_LABEL in name)
        ),
    )


def _why_not_ready(status: dict[str, Any]) -> str:
    for condition in status.get("conditions", ()):
        if condition["type"] == "Ready":
            reason: str = condition.get("reason", "") or "no reason given"
            return reason
    return "no Ready condition"


def _tolerates(toleration: dict[str, Any], taint: tuple[str, str, str]) -> bool:
    key, value, effect = taint
    if effect == "PreferNoSchedule":
        return True
    if toleration.get("effect") not in (None, "", effect):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", key)
    return toleration.get("key") == key and toleration.get("value", "") == value


def _cluster_ips(service: dict[str, Any]) -> tuple[str, ...]:
    spec = service.get("spec", {})
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP", "")]
    return tuple(a for a in addresses if a and a != "None")


def _dns_service(api: Api) -> tuple[str, tuple[str, ...]]:
    items = api.list(
        "/api/v1/namespaces/kube-system/services", labelSelector=DNS_SERVICE_LABEL
    )
    for item in items:
        if addresses := _cluster_ips(item):
            return item["metadata"]["name"], addresses
    return "", ()


def dns_replicas(api: Api, families: tuple[Family, ...]) -> tuple[str, ...]:
    """Give the addresses of the cluster DNS's replicas, as they are now."""
    return _dns_replicas(api, _dns_service(api)[0], families)


def _dns_replicas(api: Api, name: str, families: tuple[Family, ...]) -> tuple[str, ...]:
    if not name:
        return ()
    slices = api.list(
        "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices",
        labelSelector=f"kubernetes.io/service-name={name}",
    )
    addresses = {
        address
        for one in slices
        for endpoint in one.get("endpoints") or ()
        if endpoint.get("conditions", {}).get("ready", True)
        for address in endpoint["addresses"]
    }
    return tuple(sorted(a for a in addresses if family_of(a) in families))


def family_of(address: str) -> Family:
    """Give the family of an address or range."""
    version = ipaddress.ip_network(address, strict=False).version
    return Family.IPV6 if version == 6 else Family.IPV4  # noqa: PLR2004 - IP's own


def _families(
    nodes: Sequence[Node], dns: Sequence[str], ranges: Sequence[str], *, both: bool
) -> tuple[Family, ...]:
    """Take what Pods and Services both have, the Services' primary first.

    Args:
        nodes: with the ranges of their Pods, where the API has those.
        dns: the addresses of the cluster DNS: often of one family where there are two.
        ranges: those of the Services; () where the API does not say.
        both: whether the user claims both.

    """
    found = list(dict.fromkeys(family_of(a) for a in dns))
    of_pods = {family_of(c) for n in nodes for c in n.pod_cidrs}
    if of_pods:
        of_services = {family_of(c) for c in ranges} or of_pods
        found = [f for f in found if f in of_pods]
        found += sorted(of_pods & of_services - set(found))
    if both:
        found += sorted(set(Family) - set(found))
    return tuple(found) or (Family.IPV4,)


def _optional(api: Api, path: str) -> list[dict[str, Any]]:
    """List what only makes the report better: no permission is no failure."""
    try:
        return api.list(path)
    except (Forbidden, NotFound, ApiError):
        return []


def _network_plugin(daemons: Iterable[dict[str, Any]]) -> tuple[str, str, bool]:
    """Give its name, its version and whether it enforces NetworkPolicy."""
    found = {d["metadata"]["name"]: d for d in daemons}
    for daemon, plugin, enforces in NETWORK_PLUGINS:
        if daemon in found:
            return plugin, _version(found[daemon]), enforces
    return "unknown", "", False


def _version(daemon: dict[str, Any]) -> str:
    """Give what the tag of its first container's image says; "" for none."""
    first = daemon["spec"]["template"]["spec"]["containers"][0]
    tag = TAG.search(first["image"].partition("@")[0])
    return tag[1] if tag else ""


def _is_free(controller: str) -> bool:
    """Whether what a controller makes costs nothing."""
    return not any(cloud in controller for cloud in CLOUDS)


def _ingress_class(api: Api, *, costly: bool) -> str:
    """Choose the cluster's default, else the first by name; "" when there is none."""
    found = _optional(api, "/apis/networking.k8s.io/v1/ingressclasses")
    classes = [
        one
        for one in found
        if costly or _is_free(one.get("spec", {}).get("controller", ""))
    ]

    def order(one: dict[str, Any]) -> tuple[bool, str]:
        notes = one["metadata"].get("annotations") or {}
        return notes.get(DEFAULT_INGRESS_CLASS) != "true", one["metadata"]["name"]

    return next((str(c["metadata"]["name"]) for c in sorted(classes, key=order)), "")


def _gateway_class(api: Api, *, costly: bool) -> tuple[str, str]:
    """Choose the first GatewayClass by name that a controller took; name that, too."""
    classes = _optional(api, "/apis/gateway.networking.k8s.io/v1/gatewayclasses")
    taken = sorted(
        (c["metadata"]["name"], c.get("spec", {}).get("controllerName", ""))
        for c in classes
        if _accepted(c)
    )
    usable = (one for one in taken if costly or _is_free(one[1]))
    return next(usable, ("", ""))


def _accepted(gateway_class: dict[str, Any]) -> bool:
    """Whether a controller took a GatewayClass for its own."""
    conditions = gateway_class.get("status", {}).get("conditions", ())
    return any(c["type"] == "Accepted" and c["status"] == "True" for c in conditions)


def _service_proxy(api: Api, daemons: Iterable[dict[str, Any]]) -> str:
    try:
        config = api.get("/api/v1/namespaces/kube-system/configmaps/kube-proxy")
    except (Forbidden, NotFound):
        names = {d["metadata"]["name"] for d in daemons}
        return "kube-proxy" if "kube-proxy" in names else "unknown"
    text = "\n".join(config.get("data", {}).values())
    mode = re.search(r"""^\s*"?mode"?:\s*["']?([a-z]*)""", text, re.MULTILINE)
    return f"kube-proxy {(mode and mode[1]) or 'iptables'}"


def _service_cidrs(api: Api) -> tuple[str, ...]:
    items = _optional(api, "/apis/networking.k8s.io/v1/servicecidrs")
    return tuple(c for item in items for c in item.get("spec", {}).get("cidrs", ()))


def minor(version: str) -> int:
    """Give the 37 of v1.37.0-rc.1; 0 when it says something else."""
    found = re.match(r"v1\.(\d+)", version)
    return int(found[1]) if found else 0


def _corefile(api: Api) -> str:
    try:
        config = api.get("/api/v1/namespaces/kube-system/configmaps/coredns")
    except (Forbidden, NotFound):
        return ""
    return str(config.get("data", {}).get("Corefile", ""))


def _domain(corefile: str) -> str:
    zone = re.search(r"^\s*kubernetes\s+([a-z0-9.-]+)", corefile, re.MULTILINE)
    return zone[1].rstrip(".") if zone else "cluster.local"
