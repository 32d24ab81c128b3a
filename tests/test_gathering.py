"""Evidence is gathered from agents that run, in time, and never at any price."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fake_api import FakeApi, served
from scenes import facts, scene, spec

from pytest_k8snet.agent.node import SETTINGS
from pytest_k8snet.cluster.api import Api
from pytest_k8snet.cluster.channel import child_channel
from pytest_k8snet.cluster.errors import NoStream
from pytest_k8snet.diagnose import Answer, Look, Question
from pytest_k8snet.evidence import Sources, gather
from pytest_k8snet.evidence.gathering import NEEDS_INSPECTOR
from pytest_k8snet.model import Actor, Role
from pytest_k8snet.stage import OUTSIDE_AGENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FACTS = facts(2)
A, B = (node.name for node in FACTS.nodes)
NO_API: Any = None
AGENT = [*OUTSIDE_AGENT, "control", "--name", "test"]

SILENT = """
import time
print('{"hello": 1, "name": "test", "ports": {}}', flush=True)
time.sleep(60)
"""


@pytest.fixture
def sources() -> Iterator[Sources]:
    """An agent on the first Node, and nobody anywhere else."""
    channel = child_channel(AGENT)
    roles = (Role.HOST, Role.CLIENT)
    channels = {Actor(role, A): channel for role in roles}
    yield Sources(NO_API, FACTS, spec(), lambda: scene(FACTS), channels)
    channel.close()


def ask(sources: Sources, *questions: Question, seconds: float = 10) -> list[Answer]:
    found = gather(questions, sources, inspect=False, seconds=seconds)
    return [found[question] for question in questions]


def test_agents_say_what_they_see_without_privileges(sources: Sources) -> None:
    settings, trace, neighbour, kubelet = ask(
        sources,
        Question(Look.SETTINGS, A),
        Question(Look.TRACE, A, "127.0.0.1"),
        Question(Look.NEIGHBOUR, A, "127.0.0.1"),
        Question(Look.KUBELET, A),
    )

    assert [v.partition("=")[0] for v in settings.values] == list(SETTINGS)
    assert trace == Answer(("127.0.0.1",))
    assert neighbour.values[0].startswith("127.0.0.1 dev lo ")
    assert kubelet == Answer(("refused",))  # There is none on this machine itself.


def test_what_cannot_be_seen_says_why(sources: Sources) -> None:
    rules, flows, links, conditions = ask(
        sources,
        Question(Look.RULES, A),
        Question(Look.FLOWS, A),
        Question(Look.LINKS, B),
        Question(Look.CONDITIONS, B),
    )

    assert rules == flows == Answer(problem=NEEDS_INSPECTOR)
    assert links == Answer(problem=f"host@{B} does not run")
    assert conditions.problem.startswith("internal error: ")
    assert not conditions.values


def test_what_takes_too_long_is_not_waited_for(sources: Sources) -> None:
    channel = child_channel([sys.executable, "-c", SILENT])
    slow = replace(sources, channels={Actor(Role.HOST, A): channel})
    started = time.monotonic()

    (settings,) = ask(slow, Question(Look.SETTINGS, A), seconds=0.7)

    assert time.monotonic() - started < 10
    assert settings == Answer(problem="not within 0.7 s")
    channel.close()


class Running(FakeApi):
    """Every Pod runs at once; its first container says one setting."""

    def create(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status, made = super().create(path, body)
        message = f"{Look.SETTINGS} net.ipv4.ip_forward=0"
        made["status"] = {
            "conditions": [{"type": "Ready", "status": "True"}],
            "initContainerStatuses": [{"state": {"terminated": {"message": message}}}],
        }
        return status, made


def test_where_no_stream_begins_none_is_tried_for_what_is_left_behind(
    tmp_path: Path,
) -> None:
    why = NoStream("https://api", "timed out")
    settings, plugins = Question(Look.SETTINGS, B), Question(Look.PLUGINS, B)
    with served(Running()) as fake:
        api = Api.connect("fake", str(fake.kubeconfig(tmp_path)))
        there = Sources(api, FACTS, spec(), lambda: scene(FACTS), {}, hopeless={B: why})
        found = gather([settings, plugins], there, inspect=True, seconds=10)
        api.close()

    assert found[settings] == Answer(("net.ipv4.ip_forward=0",))
    assert found[plugins] == Answer(problem=str(why))
    assert not fake.did("GET", "/exec")
