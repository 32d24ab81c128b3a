"""A cluster finds its own namespaces, and addresses that nobody else has."""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_k8snet.localcluster import LocalClusterError, fabric

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no links; its routes are in a file."""
    monkeypatch.setenv("K8SNET_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "routes").write_text("[]")
    (tmp_path / "links").mkdir()
    monkeypatch.setattr(fabric, "LINKS", tmp_path / "links")
    monkeypatch.setattr(fabric, "NAMESPACES", tmp_path / "netns")

    def run(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(argv, 0, (tmp_path / "routes").read_text())

    monkeypatch.setattr(fabric, "run", run)
    return tmp_path


def test_the_first_free_index_is_taken(machine: Path) -> None:
    assert fabric.free_index([]) == 0
    (machine / "links" / "k8snet0").touch()
    assert fabric.free_index([]) == 1


def test_what_the_machine_routes_elsewhere_is_avoided(machine: Path) -> None:
    routes = [{"dst": "default"}, {"dst": "10.203.0.0/23"}, {"dst": "fd00:203:2::1"}]
    (machine / "routes").write_text(json.dumps(routes))

    assert fabric.free_index([]) == 3


def test_the_clusters_own_subnets_are_avoided() -> None:
    assert fabric.free_index([ipaddress.ip_network("10.203.0.0/24")]) == 1


def test_no_free_index_says_why() -> None:
    with pytest.raises(LocalClusterError, match="no Node network is free"):
        fabric.free_index([ipaddress.ip_network("10.203.0.0/16")])


def test_a_name_does_not_find_what_belongs_to_a_longer_one(machine: Path) -> None:
    (machine / "netns").mkdir()
    mine = ["k8snet-a-control-plane", "k8snet-a-fabric", "k8snet-a-worker12"]
    for name in (*mine, "k8snet-a-b-fabric", "k8snet-a-b-worker", "a-fabric"):
        (machine / "netns" / name).touch()

    assert fabric.namespaces("a") == mine
    assert fabric.namespaces("c") == []


def test_no_address_is_tentative() -> None:
    lines = fabric._address_lines(["10.203.0.1", "fd00:203::1"], "br0")

    assert lines == [
        "addr add 10.203.0.1/24 dev br0",
        "addr add fd00:203::1/64 dev br0 nodad",
    ]
    assert re.search("icmp_ratelimit", fabric.FORWARD)
