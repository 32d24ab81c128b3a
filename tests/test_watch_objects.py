"""What a watch makes in the cluster, and along which paths it asks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scenes import DUAL, facts

from pytest_k8snet import manifests, watch_objects
from pytest_k8snet.cluster.apply import agent_sources
from pytest_k8snet.manifests import LabSpec
from pytest_k8snet.model import Family, ServiceState
from pytest_k8snet.outages import Path, Way
from pytest_k8snet.watch_objects import MOST_TARGETS, daemon_set, paths, service

if TYPE_CHECKING:
    from typing import Any

    from pytest_k8snet.model import ClusterFacts

SPEC = LabSpec("7f3a21", "k8snet", "python", {}, 0)
SERVICE = ServiceState(
    "watch", "ns", ("10.96.0.9", "fd00:96::9"), {"main": 80}, {"main": 30123}
)
REPLICAS = ("10.244.0.2", "fd00::2")


def pods(known: ClusterFacts) -> dict[str, tuple[str, ...]]:
    return {
        node.name: (f"10.244.{rank}.7", f"fd00:{rank:x}::7")
        for rank, node in enumerate(known.nodes)
    }


def laid(known: ClusterFacts, **more: Any) -> dict[Path, dict[str, Any]]:
    settings = {"outside": True, **more}
    return paths(known, pods(known), SERVICE, REPLICAS, **settings)


def count(found: dict[Path, Any], way: Way, *, kept: bool = False) -> int:
    return sum(path.way is way and path.kept is kept for path in found)


def test_three_nodes_are_asked_along_every_path_in_both_families() -> None:
    found = laid(facts(3, DUAL))

    assert count(found, Way.POD) == count(found, Way.POD, kept=True) == 9 * 2
    assert count(found, Way.SERVICE) == count(found, Way.SERVICE, kept=True) == 3 * 2
    assert count(found, Way.NODE_PORT) == 3 * 2
    assert count(found, Way.DNS) == 3 * 2 * 2
    assert len(found) == 72 - 6


def test_each_path_has_the_request_of_its_source() -> None:
    found = laid(facts(2))
    cross = Path(Way.POD, "a", "b", Family.IPV4)
    node_port = Path(Way.NODE_PORT, "outside", "b", Family.IPV4)
    replica = Path(Way.DNS, "a", "replica 10.244.0.2", Family.IPV4)

    assert found[cross] == {
        "how": "new",
        "address": "10.244.1.7",
        "port": 8080,
        "who": "watch@b",
    }
    assert (found[node_port]["address"], found[node_port]["port"]) == (
        "192.0.2.11",
        30123,
    )
    assert found[replica]["name"] == "kubernetes.default.svc.cluster.local"
    assert found[replica]["type"] == "A"


def test_where_there_is_no_outside_no_node_port_is_asked() -> None:
    assert count(laid(facts(3), outside=False), Way.NODE_PORT) == 0


def test_a_node_without_an_agent_neither_asks_nor_is_asked() -> None:
    known = facts(3)
    some = {name: found for name, found in pods(known).items() if name != "b"}

    found = paths(known, some, SERVICE, REPLICAS, outside=True)

    ends = {(path.source, path.target) for path in found if path.way is Way.POD}
    assert ends == {("a", "a"), ("a", "c"), ("c", "a"), ("c", "c")}
    assert Path(Way.NODE_PORT, "outside", "b", Family.IPV4) in found


def test_on_many_nodes_each_asks_and_is_asked_by_a_few() -> None:
    found = laid(facts(40))

    direct = [p for p in found if p.way is Way.POD and not p.kept]
    assert len(direct) == 40 * MOST_TARGETS
    targets = [p.target for p in direct]
    assert {targets.count(target) for target in targets} == {MOST_TARGETS}


def test_the_daemon_set_is_restricted_and_where_the_facts_are() -> None:
    made = daemon_set(SPEC, facts(2))
    body = made["spec"]["template"]["spec"]
    (container,) = body["containers"]
    affinity = body["affinity"]["nodeAffinity"]
    (terms,) = affinity.values()
    names = [t["matchFields"][0]["values"] for t in terms["nodeSelectorTerms"]]

    assert names == [["a"], ["b"]]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert body["securityContext"]["runAsNonRoot"]
    assert "watch@$(NODE)" in container["command"]
    assert {v["name"] for v in body["volumes"]} == {
        m["name"] for m in container["volumeMounts"]
    }


def test_the_service_selects_the_agents() -> None:
    labels = daemon_set(SPEC, facts(2))["spec"]["template"]["metadata"]["labels"]

    made = service(SPEC)["spec"]

    assert made["type"] == "NodePort"
    assert made["selector"].items() <= labels.items()


def test_the_config_map_carries_the_agent_that_the_command_names() -> None:
    sources = manifests.agent_config_map(replace(SPEC, agent=agent_sources()))

    package, _, module = watch_objects.WATCHER[-1].partition(".")
    assert package == manifests.MODULE
    assert {"__init__.py", f"{module}.py"} <= set(sources["data"])
