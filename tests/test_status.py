"""What the API server says of a cluster, in the words that rules compare."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from scenes import DUAL, facts, scene

from pytest_k8snet.status import STATUS
from pytest_k8snet.wire import Unresolved

if TYPE_CHECKING:
    from pytest_k8snet.model import Node, Scene

ON = scene(facts(3, DUAL))


def on(*nodes: Node, **more: Any) -> Scene:
    return replace(ON, facts=replace(ON.facts, nodes=nodes, **more))


def test_a_healthy_cluster_says_what_the_rules_want() -> None:
    said = {field: say("a", ON) for field, say in STATUS.items()}

    assert said.pop("pod-addresses")
    assert said == {
        "pods-ready": ["ready"],
        "pods-given-addresses": ["given"],
        "node-ready": ["ready", "network available", "address"],
        "addresses-in-range": ["in range"],
        "ranges-apart": ["apart"],
        "api-address": ["10.96.0.1"],
        "dns-address": ["10.96.0.10"],
    }


@pytest.mark.parametrize("field", ["pod-addresses", "addresses-in-range"])
def test_addresses_that_could_not_be_listed_are_not_in_range(field: str) -> None:
    with pytest.raises(Unresolved, match="could not be listed"):
        STATUS[field]("a", replace(ON, all_pod_addresses=()))


def test_a_pod_that_got_no_address_is_named_with_why() -> None:
    say = STATUS["pods-given-addresses"]
    told = replace(ON, without_address=(("b", "client-1: no addresses left"),), pods={})

    assert say("b", told) == ["client-1: no addresses left"]
    with pytest.raises(Unresolved, match="client@a does not run"):
        say("a", told)


def test_a_pod_of_another_range_is_named_with_its_owner() -> None:
    stray = ("a", "10.99.0.7 shop/web")

    said = STATUS["addresses-in-range"]("a", replace(ON, all_pod_addresses=(stray,)))

    assert said == ["10.99.0.7 shop/web"]


def test_a_family_without_a_published_range_is_not_judged() -> None:
    node = replace(ON.facts.nodes[0], pod_cidrs=("10.244.0.0/24",))
    there = (("a", "fd00:77::7 shop/web"),)

    said = STATUS["addresses-in-range"]("a", replace(on(node), all_pod_addresses=there))

    assert said == ["in range"]


@pytest.mark.parametrize(
    ("cidr", "clash"),
    [
        ("10.244.1.0/25", "10.244.1.0/25 (pods of a) overlaps 10.244.1.0/24"),
        ("10.96.0.0/24", "10.96.0.0/24 (pods of a) overlaps 10.96.0.0/16 (Services)"),
        ("192.0.2.0/24", "192.0.2.0/24 (pods of a) overlaps 192.0.2.11 (Node b)"),
    ],
)
def test_ranges_that_overlap_are_named(cidr: str, clash: str) -> None:
    first, *others = ON.facts.nodes

    said = STATUS["ranges-apart"]("a", on(replace(first, pod_cidrs=(cidr,)), *others))

    assert any(one.startswith(clash) for one in said)


def test_a_node_without_our_server_says_nothing() -> None:
    with pytest.raises(Unresolved, match="server@a does not run"):
        STATUS["pods-ready"]("a", replace(ON, pods={}))


def test_a_server_that_is_late_is_named() -> None:
    said = STATUS["pods-ready"]("a", replace(ON, ready_pods=frozenset()))

    assert said == ["server-0 is not ready"]
