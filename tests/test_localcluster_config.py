"""A cluster file is understood as kind understands it, and errors say where."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import yaml

from pytest_k8snet.localcluster import ClusterConfigError, config
from pytest_k8snet.localcluster.cluster_file import NodeVersion
from pytest_k8snet.localcluster.component import KUBERNETES_VERSION, NODE_VERSIONS
from pytest_k8snet.model import Feature

HEAD = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"
EXTRAS = "---\nkind: ClusterExtras\napiVersion: k8snet/v1alpha1\n"
FILE = Path("my-cluster.yaml")
SHIPPED = sorted((Path(__file__).parents[1] / "clusters").glob("*.yaml"))


def parse(text: str, name: str | None = None) -> config.ClusterSpec:
    return config.parse(HEAD + text, FILE, name)


def message(text: str) -> str:
    with pytest.raises(ClusterConfigError) as caught:
        parse(text)
    return str(caught.value)


def test_an_almost_empty_file_means_what_it_means_to_kind() -> None:
    spec = parse("")

    assert spec.name == "my-cluster"
    assert [node.name for node in spec.nodes] == ["my-cluster-control-plane"]
    assert spec.families == ("ipv4",)
    assert spec.pod_subnets == ("10.244.0.0/16",)
    assert spec.service_subnets == ("10.96.0.0/16",)
    assert (spec.cni, spec.addons, spec.features) == ("bridge", (), ())


def test_nodes_are_named_as_kind_names_them_control_plane_first() -> None:
    spec = parse(
        "name: a\nnodes: [{role: worker}, {role: worker, labels: {zone: z}}, "
        "{role: control-plane}]\n"
    )

    assert [(node.name, node.short) for node in spec.nodes] == [
        ("a-control-plane", "control-plane"),
        ("a-worker", "worker"),
        ("a-worker2", "worker2"),
    ]
    assert spec.nodes[2].labels == {"zone": "z"}


def test_dual_stack_has_ipv4_first_and_one_subnet_of_each() -> None:
    spec = parse("networking: {ipFamily: dual, podSubnet: 'fd00:1::/56,10.1.0.0/16'}\n")

    assert spec.families == ("ipv4", "ipv6")
    assert spec.pod_subnets == ("10.1.0.0/16", "fd00:1::/56")
    assert spec.service_subnets == ("10.96.0.0/16", "fd00:10:96::/112")


def test_a_given_name_replaces_the_one_in_the_file() -> None:
    spec = parse("name: a\n", "b")

    assert spec.name == "b"
    assert spec.nodes[0].name == "b-control-plane"


def test_the_second_document_is_ours_and_kind_never_sees_it() -> None:
    spec = parse(f"name: a\n{EXTRAS}cni: bridge\nfeatures: [NetworkPolicy]\n")

    assert spec.features == ("NetworkPolicy",)
    assert yaml.safe_load(spec.kind_document) == {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": "a",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nodse: []\n", "my-cluster.yaml: nodse: kind.x-k8s.io/v1alpha4 has no such"),
        ("nodes: [{role: boss}]\n", "nodes[0].role: Input should be 'control-plane'"),
        (f"{EXTRAS}adons: []\n", "adons: k8snet/v1alpha1 has no such field"),
        (
            f"{EXTRAS}cni: magic\n",
            ("cni: Input should be 'bridge', 'flannel' or 'cilium', but it is 'magic'"),
        ),
        (
            f"{EXTRAS}addons: [metallb, istio]\n",
            "addons[1]: Input should be 'metallb' or 'traefik', but it is 'istio'",
        ),
        (
            f"{EXTRAS}features: [Teleport]\n",
            "features[0]: Input should be 'NetworkPolicy'",
        ),
        (
            f"{EXTRAS}flannel: {{backend: host-gw}}\n",
            "flannel: these options are flannel's, but cni is bridge",
        ),
        (
            f"{EXTRAS}cni: flannel\nflannel: {{backend: udp}}\n",
            "flannel.backend: Input should be 'vxlan' or 'host-gw', but it is 'udp'",
        ),
        (
            f"networking: {{disableDefaultCNI: true}}\n{EXTRAS}cni: bridge\n",
            "cni is bridge, which is the default that",
        ),
        (
            f"networking: {{kubeProxyMode: none}}\n{EXTRAS}cni: cilium\n",
            "networking.kubeProxyMode is none, but cilium reach the API server",
        ),
        (
            f"networking: {{disableDefaultCNI: true}}\n{EXTRAS}addons: [metallb]\n",
            "addons: metallb are Pods, but with networking.disableDefaultCNI",
        ),
        (
            f"{EXTRAS}nodeVersion: 1.35\n",
            "nodeVersion: Input should be '1.35' or '1.36', but it is 1.35",
        ),
        (f"{EXTRAS}---\nx: 1\n", "holds 3 documents, but should hold"),
        ("name: [\n", "my-cluster.yaml is not YAML"),
        ("name: Big_Name\n", "the cluster's name is 'Big_Name', but should be"),
        (f"name: {'x' * 60}\n", "but should be at most 49"),
        ("networking: {podSubnet: x}\n", "networking.podSubnet: 'x' does not appear"),
        (
            "networking: {ipFamily: dual, podSubnet: 10.0.0.0/16}\n",
            (
                "networking.podSubnet is '10.0.0.0/16', but should be one subnet of "
                "ipv4 and one of ipv6"
            ),
        ),
        ("networking: {podSubnet: 10.0.0.0/25}\n", "between /8 and /24"),
        (
            "networking: {podSubnet: 10.96.0.0/16}\n",
            "podSubnet 10.96.0.0/16 and serviceSubnet 10.96.0.0/16 overlap",
        ),
    ],
)
def test_an_error_says_what_is_wrong_and_where(text: str, said: str) -> None:
    assert said in message(text)


def test_a_document_of_another_kind_is_refused() -> None:
    with pytest.raises(ClusterConfigError, match=r"kind: Input should be 'Cluster'"):
        config.parse("kind: Pod\napiVersion: v1\n", FILE)


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(ClusterConfigError, match="is empty, but should hold"):
        config.parse("", FILE)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterConfigError, match=r"none\.yaml could not be read"):
        config.load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "kubeadmConfigPatches: [x]\nnodes: [{role: control-plane, image: i}]\n",
            r"kubeadmConfigPatches, nodes\[0\]\.image: only kind can do this",
        ),
        ("networking: {kubeProxyMode: ipvs}\n", "kubeProxyMode is 'ipvs', but"),
        (
            "nodes: [{role: control-plane}, {role: control-plane}]\n",
            "2 are control-plane Nodes, but the netns provider needs exactly one",
        ),
        ("nodes: [{role: worker}]\n", "0 are control-plane Nodes"),
        (
            "nodes: [{role: control-plane}, {role: worker}, {role: worker}]\n",
            "3 are more than the 2",
        ),
    ],
)
def test_netns_refuses_what_it_cannot_give(text: str, said: str) -> None:
    with pytest.raises(ClusterConfigError, match=said):
        config.require_netns(parse(text), most_nodes=2)


def test_netns_ignores_where_kind_would_publish_the_api() -> None:
    config.require_netns(parse("networking: {apiServerPort: 6443}\n"), most_nodes=2)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_cluster_has_the_name_of_its_file_and_suits_netns(
    file: Path,
) -> None:
    spec = config.load(file)

    assert spec.name == file.stem
    config.require_netns(spec, most_nodes=20)


@pytest.mark.parametrize(
    ("text", "cni", "disabled"),
    [
        ("", "bridge", None),
        (f"{EXTRAS}cni: bridge\n", "bridge", None),
        (f"{EXTRAS}cni: cilium\n", "cilium", True),
        ("networking: {disableDefaultCNI: true}\n", None, True),
        (
            f"networking: {{disableDefaultCNI: true}}\n{EXTRAS}cni: flannel\n",
            "flannel",
            True,
        ),
    ],
)
def test_a_pod_network_of_ours_replaces_the_one_of_kind(
    text: str, cni: str | None, disabled: bool | None
) -> None:
    spec = parse(text)

    assert spec.cni == cni
    networking = yaml.safe_load(spec.kind_document).get("networking", {})
    assert networking.get("disableDefaultCNI") is disabled


def test_flannels_backend_and_the_addons_are_read() -> None:
    spec = parse(
        f"{EXTRAS}cni: flannel\nflannel: {{backend: host-gw}}\n"
        "addons: [traefik, metallb, traefik]\nfeatures: [Ingress]\n"
    )

    assert (spec.cni, spec.flannel_backend) == ("flannel", "host-gw")
    assert spec.addons == ("traefik", "metallb")
    assert spec.features == (Feature.INGRESS,)


def test_nodes_may_be_a_version_behind_the_control_plane() -> None:
    written = {
        minor: parse(f'{EXTRAS}nodeVersion: "{minor}"\n').node_version
        for minor in get_args(NodeVersion)
    }

    assert parse("").node_version == KUBERNETES_VERSION
    assert set(written.values()) == set(NODE_VERSIONS)
    assert all(version.startswith(f"v{m}.") for m, version in written.items())


def test_kind_refuses_a_version_that_it_takes_from_an_image() -> None:
    config.require_kind(parse(""))
    with pytest.raises(ClusterConfigError, match="nodeVersion: only netns can do"):
        config.require_kind(parse(f'{EXTRAS}nodeVersion: "1.35"\n'))
