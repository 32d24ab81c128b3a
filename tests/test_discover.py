"""Features are found by what runs in the cluster, and not taken for granted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import pytest
from fake_api import initial, node

from pytest_k8snet.cluster.discover import discover
from pytest_k8snet.cluster.errors import NotFound
from pytest_k8snet.model import Feature

if TYPE_CHECKING:
    from pytest_k8snet.cluster.api import Api

DAEMONS = "/apis/apps/v1/daemonsets"
INGRESS = "/apis/networking.k8s.io/v1/ingressclasses"
CIDRS = "/apis/networking.k8s.io/v1/servicecidrs"
GATEWAY = "/apis/gateway.networking.k8s.io/v1/gatewayclasses"


class Server:
    """An API of lists and objects; what is not there is not found."""

    server = "https://192.0.2.1:6443"

    def __init__(self, **lists: list[dict[str, Any]]) -> None:
        self.objects = initial()
        dns = self.objects["/api/v1/namespaces/kube-system/services/kube-dns"]
        self.lists = {
            "/api/v1/nodes": [node("node-a")],
            "/api/v1/namespaces/kube-system/services": [dns],
            "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices": [],
            **lists,
        }

    def version(self) -> str:
        return "v1.36.1"

    def get(self, path: str) -> dict[str, Any]:
        return found_in(self.objects, path)

    def list(self, path: str, **_: object) -> list[dict[str, Any]]:
        return found_in(self.lists, path)


T = TypeVar("T")


def found_in(there: dict[str, T], path: str) -> T:
    if path not in there:
        raise NotFound(path, status=404, reason="NotFound", message="not there")
    return there[path]


def named(name: str, **rest: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, **rest}


def daemon(name: str, image: str = "") -> dict[str, Any]:
    containers = [{"image": image}, {"image": "sidecar:v9.9"}]
    return named(name, spec={"template": {"spec": {"containers": containers}}})


def accepted(status: str) -> dict[str, Any]:
    conditions = [{"type": "Accepted", "status": status}]
    return named("traefik", status={"conditions": conditions})


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({}, set()),
        ({DAEMONS: [daemon("cilium")]}, {Feature.NETWORK_POLICY}),
        ({DAEMONS: [daemon("kube-flannel-ds")]}, set()),
        ({DAEMONS: [daemon("speaker")]}, {Feature.LOAD_BALANCER}),
        ({INGRESS: []}, set()),
        ({INGRESS: [named("traefik")]}, {Feature.INGRESS}),
        ({GATEWAY: [accepted("False"), named("nobody's")]}, set()),
        ({GATEWAY: [accepted("True")]}, {Feature.GATEWAY}),
    ],
)
def test_a_feature_is_there_when_something_provides_it(
    lists: dict[str, Any], expected: set[Feature]
) -> None:
    api = cast("Api", Server(**lists))

    assert discover(api, "c").features == expected


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("quay.io/cilium/cilium:v1.15.19@sha256:0123", "1.15.19"),
        ("registry.example:5000/cilium:1.18.0-rc.1", "1.18.0"),
        ("registry.example:5000/cilium@sha256:0123", ""),
        ("registry.example:5000/1.16/cilium", ""),
        ("cilium:latest", ""),
    ],
)
def test_the_version_of_a_network_plugin_is_that_of_its_image(
    image: str, version: str
) -> None:
    api = cast("Api", Server(**{DAEMONS: [daemon("cilium", image)]}))

    found = discover(api, "c")

    assert (found.network_plugin, found.network_plugin_version) == ("Cilium", version)


def test_a_class_is_chosen_and_the_ports_that_its_controller_counts_by() -> None:
    default = {"ingressclass.kubernetes.io/is-default-class": "true"}
    classes = [named("a"), named("b")]
    classes[1]["metadata"]["annotations"] = default
    taken = accepted("True") | {
        "spec": {"controllerName": "traefik.io/gateway-controller"}
    }
    nobodys = named("first")
    lists: dict[str, Any] = {INGRESS: classes, GATEWAY: [taken, nobodys]}

    found = discover(cast("Api", Server(**lists)), "c")
    other = discover(cast("Api", Server(**{GATEWAY: [accepted("True")]})), "c")

    assert (found.ingress_class, found.gateway_class) == ("b", "traefik")
    assert found.gateway_ports == (8000, 8443)
    assert (other.ingress_class, other.gateway_ports) == ("", (80, 443))


DUAL = ["10.96.0.0/16", "fd00:96::/112"]
PODS = {"ipv4": "10.244.1.0/24", "ipv6": "fd00:244::/64"}


@pytest.mark.parametrize(
    ("pods", "ranges", "claimed", "families"),
    [
        ("ipv4", [], False, "ipv4"),
        ("ipv4 ipv6", [], False, "ipv4 ipv6"),
        ("ipv4 ipv6", DUAL, False, "ipv4 ipv6"),
        ("ipv4 ipv6", DUAL[:1], False, "ipv4"),
        ("ipv4", DUAL, False, "ipv4"),
        ("", DUAL, False, "ipv4"),
        ("", DUAL, True, "ipv4 ipv6"),
        ("ipv4", DUAL[:1], True, "ipv4 ipv6"),
    ],
)
def test_families_are_those_of_pods_and_services_or_claimed(
    pods: str, ranges: list[str], claimed: bool, families: str
) -> None:
    one = node("node-a")
    one["spec"]["podCIDRs"] = [PODS[family] for family in pods.split()]
    lists: dict[str, Any] = {"/api/v1/nodes": [one]}
    if ranges:
        lists[CIDRS] = [named("kubernetes", spec={"cidrs": ranges})]
    claims = frozenset({Feature.DUAL_STACK}) if claimed else frozenset()

    found = discover(cast("Api", Server(**lists)), "c", claimed=claims)

    assert " ".join(found.families) == families


def test_a_node_that_runs_no_linux_is_left_out_and_named() -> None:
    other = node("node-w")
    other["status"]["nodeInfo"] = {"operatingSystem": "windows"}
    lists = {"/api/v1/nodes": [node("node-a"), other]}

    found = discover(cast("Api", Server(**lists)), "c")

    assert [one.name for one in found.nodes] == ["node-a"]
    assert found.left_out[0].problem == "runs windows, where probe Pods do not"


def test_what_costs_money_is_used_only_when_it_is_claimed() -> None:
    alb = named("alb", spec={"controller": "ingress.k8s.aws/alb"})
    gke = accepted("True") | {"spec": {"controllerName": "networking.gke.io/gateway"}}
    api = cast("Api", Server(**{INGRESS: [alb], GATEWAY: [gke]}))
    both = frozenset({Feature.INGRESS, Feature.GATEWAY})

    found, claimed = discover(api, "c"), discover(api, "c", claimed=both)

    assert found.features == frozenset()
    assert (found.ingress_class, found.gateway_class) == ("", "")
    assert (claimed.ingress_class, claimed.gateway_class) == ("alb", "traefik")


def test_what_is_claimed_is_there_whatever_is_found() -> None:
    api = cast("Api", Server(**{INGRESS: [named("traefik")]}))
    claimed = frozenset({Feature.LOAD_BALANCER})

    found = discover(api, "c", claimed=claimed)

    assert found.claimed == claimed
    assert found.features == {Feature.LOAD_BALANCER, Feature.INGRESS}
