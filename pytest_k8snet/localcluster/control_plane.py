"""The control plane: processes of the first Node, with kubeadm's settings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from pytest_k8snet import pki

from . import kubeconfig
from .component import KUBERNETES_VERSION
from .config import NODE_PREFIX

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from pytest_k8snet.pki import KeyPair

    from .config import ClusterSpec
    from .node import Node
    from .state import ClusterRecord

PROGRAMS = f"/mnt/bin/{KUBERNETES_VERSION}"
CERTS = "/mnt/k8s"
# A controller-manager with the usual 20 requests a second is throttled by itself for
# more than 4 s before the first Node gets its Pod CIDR.
FAST = ("--kube-api-qps=500", "--kube-api-burst=1000")


@dataclass(frozen=True)
class Credentials:
    """The cluster's authorities, and the administrator."""

    ca: KeyPair
    front_proxy: KeyPair
    admin: KeyPair
    service_accounts: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls) -> Credentials:
        """Make new ones."""
        ca = pki.authority("kubernetes")
        return cls(
            ca,
            pki.authority("front-proxy-ca"),
            pki.issue(ca, "kubernetes-admin", group="system:masters"),
            pki.new_key(),
        )


def service_address(subnet: str, number: int) -> str:
    """Return an address that the cluster itself uses: 1 is the API's, 10 the DNS's."""
    return str(ip_network(subnet)[number])


def write_files(node: Node, spec: ClusterSpec, made: Credentials) -> None:
    """Write the control plane's certificates and kubeconfigs onto its Node."""
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    names += ["kubernetes.default.svc.cluster.local", "localhost", node.name]
    names += ["127.0.0.1", "::1", *node.record.addresses]
    names += [service_address(subnet, 1) for subnet in spec.service_subnets]
    pairs = {
        "ca": made.ca,
        "front-proxy-ca": made.front_proxy,
        "apiserver": pki.issue(
            made.ca, "kube-apiserver", usages=[pki.SERVER], alternatives=names
        ),
        "apiserver-kubelet-client": pki.issue(
            made.ca, "kube-apiserver-kubelet-client", group="system:masters"
        ),
        "front-proxy-client": pki.issue(made.front_proxy, "front-proxy-client"),
    }
    for name, pair in pairs.items():
        node.write(f"k8s/{name}.crt", pair.cert_pem)
        node.write(f"k8s/{name}.key", pair.key_pem, 0o600)
    node.write("k8s/sa.key", pki.private_pem(made.service_accounts), 0o600)
    node.write("k8s/sa.pub", pki.public_pem(made.service_accounts))
    for component in ("kube-controller-manager", "kube-scheduler"):
        write_kubeconfig(
            node, component, made, pki.issue(made.ca, f"system:{component}")
        )


def write_kubeconfig(
    node: Node, component: str, made: Credentials, user: KeyPair
) -> None:
    """Write the kubeconfig with which a component on a Node reaches the API."""
    config = kubeconfig.single(component, node.cluster.server, made.ca, user)
    node.write(f"k8s/{component}.conf", json.dumps(config), 0o600)


def write_admin(cluster: ClusterRecord, made: Credentials) -> dict[str, Any]:
    """Write the administrator's credentials into the cluster's folder."""
    folder = cluster.folder / "pki"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "ca.crt").write_text(made.ca.cert_pem)
    (folder / "admin.crt").write_text(made.admin.cert_pem)
    (folder / "admin.key").write_text(made.admin.key_pem)
    context = f"k8snet-{cluster.name}"
    config = kubeconfig.single(context, cluster.server, made.ca, made.admin)
    file = cluster.folder / "admin.conf"
    file.touch(mode=0o600)
    file.write_text(json.dumps(config, indent=1))
    return config


def start_etcd(node: Node) -> None:
    """Start etcd; its data lie in the Node's /run, where no disk must be waited for."""
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    argv = ["/mnt/bin/etcd/etcd", "--data-dir=/run/etcd", "--unsafe-no-fsync"]
    argv += [f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
    argv += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
    node.start("etcd", [*argv, f"--initial-cluster=default={peer}"])


def start_api_server(node: Node, spec: ClusterSpec) -> int:
    """Start the API server; return its process."""
    argv = [
        f"{PROGRAMS}/kube-apiserver",
        f"--advertise-address={node.record.addresses[0]}",
        "--secure-port=6443",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--service-cluster-ip-range={','.join(spec.service_subnets)}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--client-ca-file={CERTS}/ca.crt",
        f"--tls-cert-file={CERTS}/apiserver.crt",
        f"--tls-private-key-file={CERTS}/apiserver.key",
        f"--kubelet-client-certificate={CERTS}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={CERTS}/apiserver-kubelet-client.key",
        f"--kubelet-certificate-authority={CERTS}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP,Hostname",
        f"--service-account-key-file={CERTS}/sa.pub",
        f"--service-account-signing-key-file={CERTS}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--requestheader-client-ca-file={CERTS}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={CERTS}/front-proxy-client.crt",
        f"--proxy-client-key-file={CERTS}/front-proxy-client.key",
        *feature_gates(spec),
    ]
    if spec.runtime_config:
        pairs = ",".join(f"{key}={value}" for key, value in spec.runtime_config.items())
        argv.append(f"--runtime-config={pairs}")
    return node.start("kube-apiserver", argv)


def start_controllers(node: Node, spec: ClusterSpec) -> None:
    """Start the controller-manager and the scheduler."""
    sizes = [
        f"--node-cidr-mask-size-{family}={NODE_PREFIX[family]}"
        for family in spec.families
    ]
    if len(sizes) == 1:
        # A single-stack cluster must not name the family.
        sizes = [f"--node-cidr-mask-size={NODE_PREFIX[spec.families[0]]}"]
    common = ["--leader-elect=false", "--bind-address=127.0.0.1", *FAST]
    common += feature_gates(spec)
    argv = [
        f"{PROGRAMS}/kube-controller-manager",
        f"--kubeconfig={CERTS}/kube-controller-manager.conf",
        "--use-service-account-credentials=true",
        f"--root-ca-file={CERTS}/ca.crt",
        f"--service-account-private-key-file={CERTS}/sa.key",
        f"--cluster-signing-cert-file={CERTS}/ca.crt",
        f"--cluster-signing-key-file={CERTS}/ca.key",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={','.join(spec.pod_subnets)}",
        f"--service-cluster-ip-range={','.join(spec.service_subnets)}",
        # A Node that became ready keeps its taint until the controller looks again.
        "--node-monitor-period=1s",
        # The usual folder is on a file system that a Node cannot write.
        "--flex-volume-plugin-dir=/run/flexvolume",
        *sizes,
        *common,
    ]
    node.start("kube-controller-manager", argv)
    scheduler = f"--kubeconfig={CERTS}/kube-scheduler.conf"
    node.start("kube-scheduler", [f"{PROGRAMS}/kube-scheduler", scheduler, *common])


def feature_gates(spec: ClusterSpec) -> list[str]:
    """Return the option that sets the file's feature gates, if it has any."""
    if not spec.feature_gates:
        return []
    gates = ",".join(f"{k}={str(v).lower()}" for k, v in spec.feature_gates.items())
    return [f"--feature-gates={gates}"]
