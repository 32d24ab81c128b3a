"""Add-ons: what is built, what their images hold, and what they make of a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pytest_k8snet.localcluster import addons, config, state, userland
from pytest_k8snet.localcluster.addons import cilium, flannel, metallb, traefik
from pytest_k8snet.localcluster.addons.installer import install
from pytest_k8snet.localcluster.build import Binaries
from pytest_k8snet.localcluster.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable

CLUSTERS = Path(__file__).parents[1] / "clusters"
HEAD = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"
EXTRAS = "---\nkind: ClusterExtras\napiVersion: k8snet/v1alpha1\n"
EVERY = pytest.mark.parametrize("addon", addons.ADDONS.values(), ids=lambda a: a.name)


def spec(networking: str = "{}", extras: str = "") -> config.ClusterSpec:
    text = f"{HEAD}networking: {networking}\n{EXTRAS}{extras}"
    return config.parse(text, Path("c.yaml"))


def setting(of: config.ClusterSpec, folder: Path = Path()) -> addons.Setting:
    folders = dict.fromkeys(("flannel", "metallb", "traefik"), folder)
    return addons.Setting(of, Binaries(folders), ("10.203.0.11", "fd00:203::11"))


def test_a_cluster_without_addons_builds_nothing_for_them() -> None:
    assert addons.all_of(config.load(CLUSTERS / "three-node.yaml")) == []


def test_the_pod_network_comes_before_the_rest() -> None:
    chosen = addons.all_of(config.load(CLUSTERS / "cilium.yaml"))

    assert [addon.name for addon in chosen] == ["cilium"]
    chosen = addons.all_of(spec(extras="cni: flannel\naddons: [traefik, metallb]\n"))
    assert [addon.name for addon in chosen] == ["flannel", "traefik", "metallb"]


@EVERY
def test_every_component_is_pinned_and_complete(addon: addons.Addon) -> None:
    for component in addon.components:
        pinned = (component.folder / "go.mod").read_text()
        sums = (component.folder / "go.sum").read_text()
        for module in {s.module for s in component.sources}:
            assert f"{module} v" in pinned
            # Its content is checked, also where a changed copy is built.
            assert any(
                line.startswith(f"{module} v") and "/go.mod" not in line
                for line in sums.splitlines()
            )


@EVERY
def test_every_program_of_the_distribution_has_a_known_package(
    addon: addons.Addon,
) -> None:
    from pytest_k8snet.localcluster import packages  # noqa: PLC0415 - one use

    assert set(addon.programs) <= {*packages.PROGRAMS, *packages.MORE_PROGRAMS}


# ---------------------------------------------------------------------------- flannel

MANIFEST = """
kind: ConfigMap
apiVersion: v1
metadata: {name: kube-flannel-cfg, namespace: kube-flannel}
data: {cni-conf.json: "{}", net-conf.json: "{}"}
---
kind: DaemonSet
apiVersion: apps/v1
metadata: {name: kube-flannel-ds, namespace: kube-flannel}
spec: {template: {spec: {containers: [{name: kube-flannel}]}}}
"""


@pytest.mark.parametrize(
    ("networking", "extras", "expected"),
    [
        (
            "{ipFamily: dual}",
            "cni: flannel\n",
            {
                "EnableIPv4": True,
                "EnableIPv6": True,
                "Network": "10.244.0.0/16",
                "IPv6Network": "fd00:10:244::/56",
                "Backend": {"Type": "vxlan"},
            },
        ),
        (
            "{ipFamily: ipv6}",
            "cni: flannel\nflannel: {backend: host-gw}\n",
            {
                "EnableIPv4": False,
                "EnableIPv6": True,
                "IPv6Network": "fd00:10:244::/56",
                "Backend": {"Type": "host-gw"},
            },
        ),
    ],
)
def test_flannel_learns_the_clusters_networks_and_nothing_else_changes(
    tmp_path: Path, networking: str, extras: str, expected: dict[str, Any]
) -> None:
    (tmp_path / flannel.MANIFEST).write_text(MANIFEST)

    (items,) = flannel.steps(setting(spec(networking, extras), tmp_path))

    network = json.loads(items[0]["data"].pop("net-conf.json"))
    assert network == {**expected, "EnableNFTables": False}
    original = list(yaml.safe_load_all(MANIFEST))
    del original[0]["data"]["net-conf.json"]
    assert items == original


# ----------------------------------------------------------------------------- Cilium


def test_cilium_has_the_clusters_families_and_leaves_kube_proxy_its_work() -> None:
    values = cilium.values(setting(spec("{ipFamily: ipv6}", "cni: cilium\n")))

    assert values["ipv4"] == {"enabled": False}
    assert values["ipv6"] == {"enabled": True}
    assert values["kubeProxyReplacement"] == "false"
    assert values["socketLB"] == {"enabled": False}


def test_the_stand_ins_of_cilium_are_scripts() -> None:
    for path, text in cilium.STAND_INS.items():
        assert path.startswith("usr/local/bin/")
        assert text.startswith("#!/bin/bash\n")
    answer = cilium.STAND_INS["usr/local/bin/bpftool"].splitlines()[1]
    assert json.loads(answer.removeprefix("echo '").removesuffix("'"))


# ---------------------------------------------------------------- MetalLB and Traefik


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("10.203.7.11", "10.203.7.230-10.203.7.239"),
        ("fd00:203:7::11", "fd00:203:7::230-fd00:203:7::239"),
    ],
)
def test_metallbs_addresses_are_beside_the_nodes_and_nobody_elses(
    node: str, expected: str
) -> None:
    assert metallb.addresses(node) == expected
    taken = {state.FABRIC_HOST, state.OUTSIDE_HOST, state.MACHINE_HOST}
    ours = range(metallb.FIRST, metallb.LAST + 1)
    assert not taken & set(ours)
    assert state.FIRST_NODE_HOST + state.MOST_NODES <= metallb.FIRST


METALLB = """
kind: Deployment
apiVersion: apps/v1
metadata: {name: controller, namespace: metallb-system}
---
kind: DaemonSet
apiVersion: apps/v1
metadata: {name: speaker, namespace: metallb-system}
"""


def test_metallb_gets_its_addresses_when_its_webhook_can_judge_them(
    tmp_path: Path,
) -> None:
    (tmp_path / metallb.MANIFEST).write_text(METALLB)

    kinds = [
        [item["kind"] for item in items]
        for items in metallb.steps(setting(spec(), tmp_path))
    ]

    assert kinds == [
        ["Deployment"],
        ["DaemonSet"],
        ["IPAddressPool", "L2Advertisement"],
    ]


def test_traefik_comes_after_the_definitions_it_serves(tmp_path: Path) -> None:
    (tmp_path / "standard").mkdir()
    definition = "kind: CustomResourceDefinition\nmetadata: {name: gateways}\n"
    (tmp_path / "standard/gateways.yaml").write_text(definition)
    (tmp_path / "standard/kustomization.txt").write_text("not: ours")

    definitions, items = traefik.steps(setting(spec(), tmp_path))

    assert [item["metadata"]["name"] for item in definitions] == ["gateways"]
    assert {"IngressClass", "GatewayClass"} <= {item["kind"] for item in items}
    (deployment,) = (item for item in items if item["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == traefik.IMAGE
    (service,) = (item for item in items if item["kind"] == "Service")
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


# ----------------------------------------------------------------------------- images


def test_a_program_comes_with_what_it_is_linked_to() -> None:
    found = userland.programs(["cat"])

    assert "usr/bin/cat" in found.files
    assert any(path.endswith("/libc.so.6") for path in {*found.files, *found.links})


def test_iptables_is_one_program_under_all_its_names() -> None:
    found = userland.iptables()

    assert {"usr/sbin/iptables", "usr/sbin/ip6tables-restore"} <= set(found.links)
    assert any(path.endswith("/libxt_comment.so") for path in found.files)


def test_what_two_parts_share_is_there_once() -> None:
    one = userland.Found({"usr/lib/a": b"", "usr/bin/x": b""}, {"lib": "usr/lib"})
    two = userland.Found({"usr/lib/a": b""}, {"usr/bin/x": "/usr/bin/y"})

    joined = userland.joined(one, two)

    assert set(joined.files) == {"usr/lib/a", "usr/bin/x"}
    assert joined.links == {"lib": "usr/lib"}


# ------------------------------------------------------------------------ installation


class Server:
    """An API server on which everything that is applied is in force at once."""

    def __init__(self) -> None:
        self.applied: list[str] = []

    def get(self, path: str) -> dict[str, Any]:
        if path == "/api/v1":
            names = [("Namespace", "namespaces", False)]
            names.append(("ConfigMap", "configmaps", True))
            return {
                "resources": [
                    {"kind": kind, "name": name, "namespaced": inside}
                    for kind, name, inside in names
                ]
            }
        raise AssertionError(path)

    def apply(self, path: str, item: dict[str, Any]) -> None:
        del item
        self.applied.append(path)


def test_each_step_is_applied_when_the_one_before_is_in_force() -> None:
    waited: list[str] = []
    server = Server()

    def wait(what: str, happened: Callable[[], bool], **_: object) -> None:
        assert happened()
        waited.append(f"{what} after {len(server.applied)}")

    def thing(name: str) -> dict[str, Any]:
        about = {"name": name}
        return {"kind": "Namespace", "apiVersion": "v1", "metadata": about}

    addon = addons.Addon(
        name="thing",
        components=(),
        images=lambda _: {},
        steps=lambda _: iter([[thing("a"), thing("b")], [thing("c")]]),
    )

    install(addon, setting(spec()), server, wait, Silent())

    assert waited == [
        "creation of thing after 2",
        "readiness of thing after 2",
        "creation of thing after 3",
        "readiness of thing after 3",
    ]
