"""How the vocabulary names itself: in ids, in answers and in lines for people."""

from __future__ import annotations

import pytest
from scenes import facts, scene

from pytest_k8snet.model import (
    Actor,
    Ask,
    Family,
    Kind,
    Op,
    Probe,
    Protocol,
    Role,
    Target,
)


@pytest.mark.parametrize(
    ("actor", "name"),
    [
        (Actor(Role.OUTSIDE), "outside"),
        (Actor(Role.CLIENT, "a"), "client@a"),
        (Actor(Role.EDGE, "a", "sidecar"), "edge@a/sidecar"),
    ],
)
def test_an_actor_is_its_role_its_node_and_its_container(
    actor: Actor, name: str
) -> None:
    assert str(actor) == name


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (Target(Kind.NONE), "-"),
        (Target(Kind.POD, "server", node="a"), "server@a"),
        (Target(Kind.POD, "server", "closed", "a"), "server@a:closed"),
        (Target(Kind.CLUSTER_IP, "few", "p82"), "ClusterIP few:p82"),
    ],
)
def test_a_target_is_named_as_a_person_would(target: Target, name: str) -> None:
    assert str(target) == name


def test_a_probe_is_one_line() -> None:
    ask = Ask(Role.CLIENT, Op.CONNECT, Target(Kind.POD, "server"))
    actor = Actor(Role.CLIENT, "a")

    told = Probe(ask, actor, ask.to, Protocol.TCP, Family.IPV6)
    fact = Probe(ask, actor, Target(Kind.NONE, "netns"))

    assert str(told) == "client@a -> server tcp/ipv6"
    assert str(fact) == "client@a"


def test_a_scene_gives_the_service_of_a_nodes_own_server_first() -> None:
    on = scene(facts(2))

    assert on.service("server", "b") == on.services["server-1"]
    assert on.service("few", "b") == on.services["few"]
    assert on.service("server") is None
    assert on.pod(Role.UNREADY, "b") is None
    assert on.facts.node("b").name == "b"
