"""What the shop promises of its network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_k8snet.workbench import Workbench

WEB = "web.shop.svc:80"
DB = "db.shop.svc:8080"


def test_visitors_reach_the_web_from_every_node(k8snet: Workbench) -> None:
    for rank, node in enumerate(k8snet.facts.nodes):
        visitor = k8snet.pod(f"visitor-{rank}", node=node.name)

        assert k8snet.connect(visitor.name, WEB).connected, f"from {node.name}"


def test_the_web_is_open_on_one_port_only(k8snet: Workbench) -> None:
    assert k8snet.connect("visitor", WEB).connected
    assert not k8snet.connect("visitor", "web.shop.svc:8080").connected


def test_the_name_of_the_database_gives_its_pod(k8snet: Workbench) -> None:
    domain = k8snet.facts.domain

    assert len(k8snet.resolve("visitor", f"db.shop.svc.{domain}")) == 1
    assert not k8snet.resolve("visitor", f"cache.shop.svc.{domain}")


def test_the_front_reaches_the_database(k8snet: Workbench) -> None:
    k8snet.pod("front", labels={"tier": "front"})

    assert k8snet.connect("front", DB).connected


def test_nobody_else_reaches_the_database(k8snet: Workbench) -> None:
    if "NetworkPolicy" not in k8snet.facts.features:
        pytest.skip("no network plugin enforces NetworkPolicy")

    assert not k8snet.connect("visitor", DB).connected
