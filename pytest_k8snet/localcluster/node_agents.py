"""What runs on every Node: the kubelet and kube-proxy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_k8snet import pki

from . import containerd
from .control_plane import service_address, write_kubeconfig

if TYPE_CHECKING:
    from .config import ClusterSpec
    from .control_plane import Credentials
    from .node import Node

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


def write_files(node: Node, spec: ClusterSpec, made: Credentials) -> None:
    """Write the configuration and the credentials of a Node's agents."""
    kubelet = pki.issue(
        made.ca,
        f"system:node:{node.name}",
        group="system:nodes",
        usages=[pki.CLIENT, pki.SERVER],
        alternatives=[node.name, *node.record.addresses],
    )
    node.write("k8s/ca.crt", made.ca.cert_pem)
    node.write("k8s/kubelet.crt", kubelet.cert_pem)
    node.write("k8s/kubelet.key", kubelet.key_pem, 0o600)
    write_kubeconfig(node, "kubelet", made, kubelet)
    proxy = pki.issue(made.ca, "system:kube-proxy")
    write_kubeconfig(node, "kube-proxy", made, proxy)
    node.write("kubelet.yaml", json.dumps(kubelet_config(node, spec), indent=1))
    config = {**proxy_config(spec), "hostnameOverride": node.name}
    node.write("kube-proxy.yaml", json.dumps(config, indent=1))


def kubelet_config(node: Node, spec: ClusterSpec) -> dict[str, Any]:
    """Return the kubelet's configuration on a Node."""
    certs = "/mnt/k8s"
    config: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{certs}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{certs}/kubelet.crt",
        "tlsPrivateKeyFile": f"{certs}/kubelet.key",
        "rotateCertificates": False,
        "clusterDomain": "cluster.local",
        "clusterDNS": [service_address(spec.service_subnets[0], 10)],
        "resolvConf": "/mnt/resolv.conf",
        "containerRuntimeEndpoint": f"unix://{containerd.SOCKET}",
        "cgroupDriver": "cgroupfs",
        # A version 1 host is a host; the kubelet would rather not start on it.
        "failCgroupV1": False,
        "failSwapOn": False,
        # Lowering it needs CAP_SYS_RESOURCE.
        "oomScoreAdj": 0,
        # The disk is the machine's, and no business of a Node.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
        },
        # The usual folder is on a file system that a Node cannot write.
        "volumePluginDir": "/var/lib/kubelet/volumeplugins",
        "healthzBindAddress": "127.0.0.1",
        "nodeStatusUpdateFrequency": "2s",
        "serializeImagePulls": False,
        "maxPods": 200,
        "featureGates": spec.feature_gates,
    }
    if node.record.control_plane:
        taint = {"key": CONTROL_PLANE, "effect": "NoSchedule"}
        config["registerWithTaints"] = [taint]
    return config


def proxy_config(spec: ClusterSpec) -> dict[str, Any]:
    """Return kube-proxy's configuration, the same on all Nodes."""
    # With the usual second between two updates a Service takes 1 s to answer, not 0.3.
    pace = {"minSyncPeriod": "20ms", "syncPeriod": "30s"}
    everywhere = "0.0.0.0" if spec.families[0] == "ipv4" else "[::]"  # noqa: S104
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": spec.proxy_mode,
        "clusterCIDR": ",".join(spec.pod_subnets),
        "clientConnection": {"kubeconfig": "/mnt/k8s/kube-proxy.conf"},
        # The kernel allows these only to the machine's own namespace.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "oomScoreAdj": 0,
        "iptables": pace,
        "nftables": pace,
        "metricsBindAddress": "127.0.0.1:10249",
        "healthzBindAddress": f"{everywhere}:10256",
        "nodePortAddresses": ["primary"],
        "featureGates": spec.feature_gates,
    }


def start_kubelet(node: Node) -> None:
    """Start a Node's kubelet; containerd must serve already."""
    argv = [f"{node.programs}/kubelet", "--config=/mnt/kubelet.yaml"]
    argv += ["--kubeconfig=/mnt/k8s/kubelet.conf", f"--hostname-override={node.name}"]
    argv += [f"--node-ip={','.join(node.record.addresses)}"]
    node.start("kubelet", [*argv, "--root-dir=/var/lib/kubelet"])


def start_proxy(node: Node) -> None:
    """Start a Node's kube-proxy.

    It is a process and no DaemonSet: a Pod could start only after the Node is Ready.
    """
    program = f"{node.programs}/kube-proxy"
    node.start("kube-proxy", [program, "--config=/mnt/kube-proxy.yaml"])
