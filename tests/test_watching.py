"""Watching a change: each cell is judged by its own answers, not by others' pace."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from scenes import facts
from scenes import scene as on_paper

from pytest_k8snet import probing
from pytest_k8snet.api_probes import API_OPS
from pytest_k8snet.cluster.channel import child_channel
from pytest_k8snet.cluster.errors import ClusterError
from pytest_k8snet.cluster.transports import ChildTransport
from pytest_k8snet.convergence import MOST_LOST
from pytest_k8snet.model import (
    BUDGETS,
    Actor,
    Ask,
    Family,
    Kind,
    Observation,
    Op,
    Outcome,
    Probe,
    Role,
    Step,
    Target,
)
from pytest_k8snet.probing import Prober
from pytest_k8snet.result import excused
from pytest_k8snet.stage import OUTSIDE_AGENT
from pytest_k8snet.verdict import is_connected

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

ASK = Ask(Role.CLIENT, Op.CONNECT, timeout="poll")
HEALTHY, DEAD = (
    Probe(ASK, Actor(Role.CLIENT, node), Target(Kind.POD, Role.SERVER, node=node))
    for node in ("a", "b")
)
BUDGET = 0.04
"""Of the usual ten seconds: too little for twelve answers, 50 ms apart."""


class Scripted(Prober):
    """Answers at once for one cell, and after a while for the other."""

    def __init__(
        self,
        lost: Collection[str] = (),
        unready: Collection[str] = (),
        channels: Mapping[Actor, Any] | None = None,
    ) -> None:
        nothing: Any = None
        scene = on_paper(facts(2))
        super().__init__(
            nothing, channels or {}, lambda: scene, lost=lost, unready=unready
        )
        self.asked: list[Probe] = []

    def ask(self, probes: Iterable[Probe]) -> dict[Probe, Future[Observation]]:
        answers: dict[Probe, Future[Observation]] = {}
        for probe in probes:
            self.asked.append(probe)
            answer: Future[Observation] = Future()
            answers[probe] = answer
            if probe == HEALTHY:
                answer.set_result(Observation(probe, Outcome.CONNECTED))
            else:
                late = Observation(probe, Outcome.TIMED_OUT)
                threading.Timer(0.3, answer.set_result, (late,)).start()
        return answers


def test_a_cell_that_times_out_does_not_hold_up_the_others() -> None:
    prober = Scripted()
    step = Step(asks=(ASK,), until=is_connected, consecutive=12)

    seen = prober.watch_change(step, [HEALTHY, DEAD], BUDGET)
    prober.close()

    assert [one.outcome for one in seen] == [Outcome.CONNECTED, Outcome.TIMED_OUT]
    assert prober.asked.count(HEALTHY) == 12
    assert prober.asked.count(DEAD) <= 3


def test_the_seconds_of_a_dead_cell_are_those_without_an_answer() -> None:
    prober = Scripted()
    step = Step(asks=(ASK,), until=is_connected)

    _, dead = prober.watch_change(step, [HEALTHY, DEAD], BUDGET)
    prober.close()

    assert dead.seconds == dead.after
    longer = replace(dead, seconds=10.0)
    assert excused(dead, lambda _: {"b": 0.6}).outcome is Outcome.NOT_PROBED
    assert excused(longer, lambda _: {"b": 0.6}) == longer


def cell(to: str, kind: Kind = Kind.POD, name: str = Role.SERVER) -> Probe:
    """Ask from Node a."""
    target = Target(kind, name, node=to)
    return Probe(ASK, Actor(Role.CLIENT, "a"), target, family=Family.IPV4)


def unanswered(probe: Probe, *may_answer: str) -> Observation:
    return Observation(probe, Outcome.TIMED_OUT, may_answer=may_answer)


@pytest.mark.parametrize(
    ("waited_for", "cut_off"),
    [
        (unanswered(cell("b", name=Role.SPARE)), True),
        (unanswered(cell("a", name=Role.SPARE)), False),
        (unanswered(cell("a", Kind.CLUSTER_IP, "x"), "server@b"), True),
        (unanswered(cell("a", Kind.CLUSTER_IP, "x"), "server@b", "server@a"), False),
        (unanswered(cell("a", Kind.CLUSTER_IP, "x")), False),
    ],
)
def test_where_no_pod_is_reached_nothing_is_waited_for(
    waited_for: Observation, cut_off: bool
) -> None:
    prober = Scripted()
    asked = [cell("a"), cell("b"), cell("b", name=Role.HOST), cell("b", Kind.NODE)]

    prober.note_cut_off(asked, [unanswered(cell("b"))])
    prober.close()

    assert prober.is_cut_off(waited_for) is cut_off


def test_one_pod_that_answers_shows_that_its_node_is_not_cut_off() -> None:
    prober = Scripted()
    asked = [cell("b"), cell("b", name=Role.UNREADY)]

    prober.note_cut_off(asked, [unanswered(cell("b"))])
    prober.close()

    assert not prober.is_cut_off(unanswered(cell("b")))


def test_a_cell_that_is_cut_off_has_the_time_of_one_attempt() -> None:
    prober = Scripted()
    dead = cell("b")
    prober.note_cut_off([dead], [unanswered(dead)])
    step = Step(asks=(ASK,), until=is_connected)

    (seen,) = prober.watch_change(step, [dead], BUDGET)
    prober.close()

    assert seen.outcome is Outcome.TIMED_OUT
    assert prober.asked == [dead]


class Deserted(Scripted):
    """Has nobody to ask."""

    def ask(self, probes: Iterable[Probe]) -> dict[Probe, Future[Observation]]:
        answers: dict[Probe, Future[Observation]] = {}
        for probe in probes:
            self.asked.append(probe)
            answers[probe] = Future()
            answers[probe].set_result(Observation(probe, Outcome.NOT_PROBED))
        return answers


@pytest.mark.parametrize("lost", ["server@b", "client@a"])
def test_who_does_not_run_is_not_waited_for(lost: str) -> None:
    prober = Deserted({lost})

    (seen,) = prober.watch_change(Step(asks=(ASK,), until=is_connected), [cell("b")])
    _, missing = prober.until_settled({cell("b"): is_connected}, patience=60.0)
    prober.close()

    assert [seen.outcome, *(one.outcome for one in missing)] == [Outcome.NOT_PROBED] * 2
    assert prober.asked == [cell("b")] * 2


def test_who_may_still_come_is_waited_for() -> None:
    prober = Deserted({"server@a"})
    step = Step(asks=(ASK,), until=is_connected)

    prober.watch_change(step, [cell("b")], BUDGET)
    prober.close()

    assert len(prober.asked) > 1


def test_an_attempt_that_a_starved_machine_spoilt_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starved = iter([{"a": 1.0}])

    def starved_since(_: float) -> Callable[[float], dict[str, float]]:
        late = next(starved, {})
        return lambda _: late

    prober = Scripted()
    monkeypatch.setattr(prober.pulses, "starved_since", starved_since)
    dead = cell("b")
    prober.note_cut_off([dead], [unanswered(dead)])

    (seen,) = prober.watch_change(Step(asks=(ASK,), until=is_connected), [dead], BUDGET)
    prober.close()

    assert seen.outcome is Outcome.TIMED_OUT
    assert prober.asked == [dead, dead]


def test_what_a_starved_machine_spoilt_twice_has_longer_when_asked_again() -> None:
    asked: list[float] = []

    def lately(late: float, _: float) -> dict[str, float]:
        return {"a": late}

    class Noting:
        def submit(self, requests: Sequence[Mapping[str, Any]]) -> list[Future[Any]]:
            asked.extend(request["timeout"] for request in requests)
            return [Future() for _ in requests]

    nothing: Any = None
    channels: dict[Actor, Any] = {HEALTHY.source: Noting()}
    prober = Prober(nothing, channels, lambda: on_paper(facts(2)))
    for late in (0.0, 1.0, 1.0, 1.0, 1.0):
        prober.ask([HEALTHY])
        prober.excuse(Observation(HEALTHY, Outcome.TIMED_OUT), partial(lately, late))
    prober.ask([HEALTHY])
    prober.close()

    assert asked == [asked[0] * times for times in (1, 1, 1, 2, 4, 4)]


class NeverRun:
    """The channel to an agent that is never let run."""

    def late(self, since: float) -> list[tuple[float, float]]:
        now = time.monotonic()
        return [(now, now - since)]

    def submit(self, requests: Sequence[Mapping[str, Any]]) -> list[Future[Any]]:
        del requests
        return []


def test_the_time_that_a_starved_machine_took_does_not_count() -> None:
    prober = Scripted(channels={HEALTHY.source: NeverRun()})
    dead = cell("b")

    step = Step(asks=(ASK,), until=is_connected)
    (seen,) = prober.watch_change(step, [dead], BUDGET)
    prober.close()

    budget = BUDGETS[step.budget] * BUDGET
    assert seen.after
    assert seen.after > budget * (1 + MOST_LOST)


def test_agents_that_are_not_let_run_are_heard_out() -> None:
    channel = child_channel([*OUTSIDE_AGENT, "control", "--name", "outside"])
    nothing: Any = None
    prober = Prober(nothing, {HEALTHY.source: channel}, lambda: on_paper(facts(2)))
    transport = channel._transport
    assert isinstance(transport, ChildTransport)
    agent = transport._process

    prober.pulses.hear_out()  # its pulses have begun
    began = time.monotonic()
    agent.send_signal(signal.SIGSTOP)
    threading.Timer(1.0, agent.send_signal, (signal.SIGCONT,)).start()
    prober.pulses.hear_out()
    late = prober.pulses.starved_since(began)(60.0)
    prober.close()
    channel.close()

    assert late[HEALTHY.source.node] > 0


def test_who_is_in_the_api_servers_queue_is_not_waited_for_once_it_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    going, over = threading.Event(), threading.Event()

    def slow(*_: object) -> list[str]:
        going.set()
        over.wait(10)
        return []

    monkeypatch.setattr(probing, "API_WORKERS", 1)
    monkeypatch.setitem(API_OPS, Op.STATUS, slow)
    asks = [Ask(Role.API, Op.STATUS), Ask(Role.API, Op.STATUS, timeout="poll")]
    probes = [Probe(ask, Actor(Role.API, ""), HEALTHY.target) for ask in asks]
    prober = Scripted()

    answers = Prober.ask(prober, probes)
    assert going.wait(10)
    prober.close()
    over.set()

    under_way, queued = (answers[probe] for probe in probes)
    assert under_way.result(10).outcome is Outcome.ANSWERED
    assert isinstance(queued.exception(10), ClusterError)


def test_silence_alone_cuts_nodes_off() -> None:
    prober = Scripted()
    not_asked = Observation(cell("b"), Outcome.NOT_PROBED)

    prober.note_cut_off([cell("b")], [not_asked])
    prober.close()

    assert not prober.is_cut_off(unanswered(cell("b")))


def test_what_is_given_up_stays_as_it_was_judged() -> None:
    """An attempt that was on its way meanwhile says nothing any more."""
    late: Future[Observation] = Future()

    class Slow(Scripted):
        def ask(self, probes: Iterable[Probe]) -> dict[Probe, Future[Observation]]:
            again = DEAD in self.asked
            answers = super().ask(probes)
            if again and DEAD in answers:
                answers[DEAD] = late
            return answers

    prober = Slow()
    pending = dict.fromkeys([HEALTHY, DEAD])
    seen: list[Observation] = []
    for answered in prober._again(pending):
        seen += [one for one, _ in answered]
        if prober.asked.count(DEAD) > 1 and DEAD in pending:
            del pending[DEAD]
            late.set_result(Observation(DEAD, Outcome.NOT_PROBED))
        elif late.done():
            pending.clear()
    prober.close()

    assert Outcome.NOT_PROBED not in {one.outcome for one in seen}


@pytest.mark.parametrize("stale", [Outcome.NAME_NOT_FOUND, Outcome.ANSWERED])
def test_what_a_name_server_said_too_early_is_waited_out(
    stale: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "STALE", 60.0)
    question = replace(HEALTHY, ask=Ask(Role.CLIENT, Op.DNS, timeout="poll"))
    outcomes = iter([stale, stale, Outcome.CONNECTED])

    class Caching(Scripted):
        def ask(self, probes: Iterable[Probe]) -> dict[Probe, Future[Observation]]:
            answer: Future[Observation] = Future()
            answer.set_result(Observation(question, next(outcomes)))
            return dict.fromkeys(probes, answer)

    prober = Caching()

    _, missing = prober.until_settled({question: is_connected}, patience=0.0)
    prober.close()

    assert missing == []


@pytest.mark.parametrize(
    "named",
    ["{address}", "{name}.headless.ns.svc.test", "8080 {name}.headless.ns.svc.test"],
)
def test_a_name_of_a_pod_that_is_not_ready_is_not_waited_out(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "STALE", 60.0)
    question = replace(HEALTHY, ask=Ask(Role.CLIENT, Op.DNS, timeout="poll"))
    late = on_paper(facts(2)).pods[Role.SERVER, "b"]
    expected = (named.format(name=late.name, address=late.addresses[0]),)

    class Served(Scripted):
        def ask(self, probes: Iterable[Probe]) -> dict[Probe, Future[Observation]]:
            answer: Future[Observation] = Future()
            told = Observation(question, Outcome.ANSWERED, expected=expected)
            answer.set_result(told)
            return dict.fromkeys(probes, answer)

    prober = Served(unready={"server@b"})

    _, missing = prober.until_settled({question: is_connected}, patience=0.0)
    prober.close()

    assert [one.expected for one in missing] == [expected]


def test_who_is_stopped_waits_for_nothing_any_more() -> None:
    prober = Scripted()
    step = Step(asks=(ASK,), until=is_connected)
    prober.close()

    _, missing = prober.until_settled({DEAD: is_connected}, patience=60.0)
    (seen,) = prober.watch_change(step, [DEAD])

    assert [one.probe for one in missing] == [DEAD]
    assert seen.outcome is Outcome.TIMED_OUT
    assert prober.asked == [DEAD, DEAD]
