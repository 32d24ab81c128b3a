"""What a watch makes of what its agents saw, over streams that come and go."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import Future
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from scenes import facts

from pytest_k8snet import manifests, watch_objects
from pytest_k8snet.cluster.channel import child_channel
from pytest_k8snet.cluster.transports import ChildTransport
from pytest_k8snet.model import Family, Outcome, ServiceState, Word
from pytest_k8snet.outages import PROFILES, Path, Way
from pytest_k8snet.stage import Waits
from pytest_k8snet.watching import Watch
from pytest_k8snet.watching import watch as watch_module
from pytest_k8snet.watching.agents import Agent

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = Path(Way.POD, "a", "b", Family.IPV4)
NODE_PORT = Path(Way.NODE_PORT, "outside", "a", Family.IPV4)
SPEC = manifests.LabSpec("7f3a21", "k8snet", "python", {}, 0)
ALONE = [*watch_objects.OUR_WATCHER, "alone"]
BUDGETS = PROFILES["upgrade"]


def on_paper(*agents: Agent) -> Watch:
    """Give a watch without a cluster, whose agents ask on this machine."""
    nothing: Any = None
    made = Watch(nothing, SPEC, facts(2), Waits())
    made.agents = {agent.name: agent for agent in agents}
    made._pods = {"a": ("127.0.0.1",), "b": ("127.0.0.1",)}
    made._service = ServiceState("watch", "ns", (), {"main": 80}, {})
    made._replicas = ()
    made._lay_paths()
    return made


def idle(name: str) -> Agent:
    def connect() -> Any:
        raise AssertionError("nobody asks")

    return Agent(name, connect)


def batch(*runs: list[Any], **more: Any) -> dict[str, Any]:
    return {"number": 1, "runs": list(runs), "broken": [], "late": [], **more}


def take(watch: Watch, *runs: tuple[str, float, float, int], **more: Any) -> None:
    """Let the agent on Node a have seen something on PATH; its clock is ours."""
    number = watch._seen._numbers[PATH]
    watch._seen.take([batch(*[[number, *run] for run in runs], **more)], 0.0)
    watch.agents["a"].covered = max(last for _, _, last, _ in runs)


def begun() -> tuple[Watch, float]:
    watch = on_paper(idle("a"), idle("b"))
    take(watch, ("answered", 1.0, 1.2, 2))
    watch.begin()
    assert watch._seen.begun
    return watch, watch._seen.begun


def of(watch: Watch, path: Path = PATH) -> Any:
    return next(one for one in watch.records(BUDGETS) if one.path == path)


def test_what_was_seen_before_it_began_does_not_count() -> None:
    watch, origin = begun()

    take(watch, ("refused", origin - 2.0, origin + 0.4, 13))

    (outage,) = of(watch).outages
    assert (outage.start, outage.failed) == (0.0, 3)


def test_what_is_seen_after_its_end_does_not_count() -> None:
    watch, origin = begun()
    watch._seen.ended = origin + 5.0

    take(watch, ("answered", origin + 0.1, origin + 9.9, 50))

    assert of(watch).asked == pytest.approx(25, abs=1)


def test_a_path_that_never_answered_is_not_judged() -> None:
    watch, _ = begun()
    kept = Path(Way.POD, "a", "b", Family.IPV4, kept=True)

    assert of(watch, kept).word is Word.NOT_APPLICABLE
    assert of(watch).word is not Word.NOT_APPLICABLE


def test_clocks_are_told_apart_by_their_offset() -> None:
    watch, origin = begun()
    seen = [watch._seen._numbers[PATH], "timed out", 501.0, 501.8, 5]

    watch._seen.take([batch(seen)], origin - 500.0)
    watch.agents["a"].covered = origin + 2.0

    assert of(watch).outages[0].start == pytest.approx(1.0)


def test_a_connection_that_broke_is_told() -> None:
    watch, origin = begun()
    number = watch._seen._numbers[PATH]

    seen = ("answered", origin, origin + 3, 15)
    take(watch, seen, broken=[[number, origin + 2.0, "reset"]])

    assert of(watch).broken == ((pytest.approx(2.0), Outcome.RESET),)


def test_an_agent_that_was_not_let_run_excuses_those_who_asked_it() -> None:
    watch, origin = begun()
    take(
        watch,
        ("answered", origin + 0.1, origin + 0.9, 5),
        ("timed out", origin + 1.1, origin + 1.5, 3),
        ("answered", origin + 1.7, origin + 2.9, 7),
    )
    assert len(of(watch).outages) == 1

    watch.agents["b"].absences.append((origin + 1.2, origin + 1.9))

    assert of(watch).outages == ()


def test_what_is_taken_away_is_asked_no_more_and_what_comes_is() -> None:
    watch, _ = begun()
    before = len(watch.agents["a"].wanted)

    watch._replicas = ("10.244.0.9",)
    watch._lay_paths()
    added = Path(Way.DNS, "a", "replica 10.244.0.9", Family.IPV4)
    assert len(watch.agents["a"].wanted) == before + 1
    assert watch._seen._trails[added].until is None

    watch._replicas = ()
    watch._lay_paths()
    assert len(watch.agents["a"].wanted) == before
    assert watch._seen._trails[added].until is not None


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Watch, Agent]]:
    """Have an agent that asks by itself, and is fetched from."""
    monkeypatch.setattr(watch_module, "PERIOD", 0.1)
    monkeypatch.setattr(watch_module, "PAUSES", (0.1,))
    argv = [*ALONE, "--name", "a"]
    agent = Agent("a", partial(child_channel, argv, timeout=5.0))
    watch = on_paper(agent, idle("b"))
    thread = threading.Thread(target=watch._fetch_on, args=(agent,))
    thread.start()
    yield watch, agent
    watch._stopped.set()
    agent.hang_up()
    thread.join(5)


def until(holds: Any) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def kill(agent: Agent) -> None:
    assert agent.channel
    transport = agent.channel._transport
    assert isinstance(transport, ChildTransport)
    os.kill(transport._process.pid, signal.SIGKILL)


def test_a_lost_stream_is_opened_again_and_the_agent_told_anew(
    alone: tuple[Watch, Agent],
) -> None:
    watch, agent = alone
    until(lambda: agent.number > 0)
    watch.begin()
    first = agent.incarnation

    kill(agent)
    until(lambda: agent.incarnation != first and agent.number > 0)

    assert agent.sent == (agent.incarnation, agent.wanted)
    ((start, end),) = agent.absences
    assert start < end
    until(lambda: of(watch).word is Word.NOT_APPLICABLE)


def test_the_end_waits_until_all_is_known(alone: tuple[Watch, Agent]) -> None:
    watch, agent = alone
    del watch.agents["b"]
    until(lambda: agent.number > 0)
    watch.begin()

    watch.end()

    assert watch._seen.ended is not None
    assert agent.covered >= watch._seen.ended


def test_a_channel_that_is_lost_is_closed_before_another_is_opened() -> None:
    events: list[str] = []

    def connect() -> Any:
        events.append("connect")
        return reply_with(outcome="answered", incarnation="b")

    agent = Agent("a", connect)
    agent.channel = reply_with(outcome="not probed")
    agent.channel.lost = True
    agent.channel.close = lambda: events.append("close")  # type: ignore[method-assign]

    agent.ask(op="fetch")

    assert events == ["close", "connect"]


def reply_with(**reply: str) -> Any:
    """Give a channel that answers everything so."""
    answer: Future[dict[str, str]] = Future()
    answer.set_result(reply)
    return SimpleNamespace(lost=False, submit=lambda _: [answer])


@pytest.mark.parametrize("later", [0.0, 4.0], ids=["restarted", "moved"])
def test_who_is_asked_at_a_former_address_is_excused_until_that_is_known(
    later: float,
) -> None:
    agent = idle("a")
    agent.incarnation = "before"
    agent.moved = time.monotonic() + later

    agent._note_life("after")

    ((_, end),) = agent.absences
    assert end >= agent.moved
