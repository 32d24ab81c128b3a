"""What kubeadm would create in kube-system: CoreDNS, and kube-proxy's settings."""

from __future__ import annotations

import json
from typing import Any

from .images import COREDNS_IMAGE

COREFILE = """.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
"""
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_CORE = "/api/v1/namespaces/kube-system"
_LABELS = {"k8s-app": "kube-dns"}
REPLICAS = 2
DEPLOYMENTS = "/apis/apps/v1/namespaces/kube-system/deployments"


def addons(
    dns: list[str], proxy_config: dict[str, Any]
) -> list[tuple[str, dict[str, Any]]]:
    """Return everything but the CoreDNS Deployment, with the path to create it at."""
    role = {
        "kind": "ClusterRole",
        "name": "system:coredns",
        "apiGroup": "rbac.authorization.k8s.io",
    }
    account = {"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}
    core = ["services", "pods", "namespaces"]
    read = ["list", "watch"]
    rules = [
        {"apiGroups": [""], "resources": core, "verbs": read},
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": read,
        },
    ]
    published = {"config.conf": json.dumps(proxy_config, indent=1)}
    return [
        (f"{_CORE}/serviceaccounts", {"metadata": {"name": "coredns"}}),
        (
            f"{_RBAC}/clusterroles",
            {"metadata": {"name": "system:coredns"}, "rules": rules},
        ),
        (
            f"{_RBAC}/clusterrolebindings",
            {
                "metadata": {"name": "system:coredns"},
                "roleRef": role,
                "subjects": [account],
            },
        ),
        (
            f"{_CORE}/configmaps",
            {"metadata": {"name": "coredns"}, "data": {"Corefile": COREFILE}},
        ),
        (
            f"{_CORE}/configmaps",
            {
                "metadata": {"name": "kube-proxy", "labels": {"app": "kube-proxy"}},
                "data": published,
            },
        ),
        (f"{_CORE}/services", _dns_service(dns)),
    ]


def _dns_service(addresses: list[str]) -> dict[str, Any]:
    families = ["IPv6" if ":" in address else "IPv4" for address in addresses]
    policy = "SingleStack" if len(families) == 1 else "RequireDualStack"
    labels = {
        **_LABELS,
        "kubernetes.io/cluster-service": "true",
        "kubernetes.io/name": "CoreDNS",
    }
    return {
        "metadata": {"name": "kube-dns", "labels": labels},
        "spec": {
            "selector": _LABELS,
            "clusterIP": addresses[0],
            "clusterIPs": addresses,
            "ipFamilies": families,
            "ipFamilyPolicy": policy,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
                {"name": "metrics", "port": 9153, "protocol": "TCP"},
            ],
        },
    }


def coredns() -> dict[str, Any]:
    """Return the CoreDNS Deployment.

    To be created when all Nodes can take Pods: only then do the replicas spread.
    """
    spread = {
        "podAffinityTerm": {
            "labelSelector": {"matchLabels": _LABELS},
            "topologyKey": "kubernetes.io/hostname",
        },
        "weight": 100,
    }
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    control_plane = "node-role.kubernetes.io/control-plane"
    pod = {
        "priorityClassName": "system-cluster-critical",
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "affinity": {"podAntiAffinity": {preferred: [spread]}},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [
            {"key": "CriticalAddonsOnly", "operator": "Exists"},
            {"key": control_plane, "effect": "NoSchedule"},
        ],
        "containers": [_coredns_container()],
        "volumes": [{"name": "config-volume", "configMap": {"name": "coredns"}}],
    }
    return {
        "metadata": {"name": "coredns", "labels": _LABELS},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": _LABELS},
            "strategy": {"rollingUpdate": {"maxUnavailable": 1}},
            "template": {"metadata": {"labels": _LABELS}, "spec": pod},
        },
    }


def _coredns_container() -> dict[str, Any]:
    return {
        "name": "coredns",
        "image": COREDNS_IMAGE,
        # There is nowhere to pull it from.
        "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "resources": {
            "limits": {"memory": "170Mi"},
            "requests": {"cpu": "100m", "memory": "70Mi"},
        },
        "ports": [
            {"containerPort": 53, "name": "dns", "protocol": "UDP"},
            {"containerPort": 53, "name": "dns-tcp", "protocol": "TCP"},
            {"containerPort": 9153, "name": "metrics", "protocol": "TCP"},
        ],
        "livenessProbe": {
            "httpGet": {"path": "/health", "port": 8080},
            "initialDelaySeconds": 60,
            "timeoutSeconds": 5,
        },
        # Asked each second: with kubeadm's ten, a first answer that comes a moment too
        # early delays the whole cluster.
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": 8181},
            "periodSeconds": 1,
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "config-volume", "mountPath": "/etc/coredns", "readOnly": True}
        ],
    }
