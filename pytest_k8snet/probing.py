"""Sends probes and waits: through the agents, or to the API server itself."""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_k8snet import wire
from pytest_k8snet.api_probes import API_OPS, Silent
from pytest_k8snet.cluster.errors import ClusterError
from pytest_k8snet.convergence import Convergence
from pytest_k8snet.model import (
    BUDGETS,
    NO_ANSWER,
    TIMEOUTS,
    Family,
    Kind,
    Observation,
    Op,
    Outcome,
    Role,
)
from pytest_k8snet.pulses import Pulses
from pytest_k8snet.result import excused

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from pytest_k8snet.cluster.api import Api
    from pytest_k8snet.cluster.channel import Channel
    from pytest_k8snet.model import Actor, Probe, Scene, Step

API_WORKERS = 16
PAUSE = 0.1
"""Seconds between two rounds of what is asked again and again."""

PROGRESS = 0.05
"""What part of the cells has to settle to count: chance alone settles one or two."""

STALE = 6.0
"""Seconds for which a name server may repeat what it said too early: by default CoreDNS
keeps its answers for 5 s."""

MOST_SLACK = 4.0
"""By how much the time of an attempt grows, at most, while a machine is too busy."""

Ends = tuple[Role, str, str, Family | None]
"""Who asks, from which Node, Pods of which Node, in which IP family."""


class Prober:
    """Turns probes into observations.

    Attributes:
        pulses: for how long the agents were not let run.

    Args:
        api: for the probes whose source is the API server.
        channels: the agents' control streams, by actor; may grow.
        scene: gives the scene as it is now.
        scale: multiplies every time-out.
        lost: who does not run and will not, by identity; may grow.
        unready: who runs and did not become ready, likewise.

    """

    def __init__(
        self,
        api: Api,
        channels: Mapping[Actor, Channel],
        scene: Callable[[], Scene],
        scale: float = 1.0,
        lost: Collection[str] = (),
        unready: Collection[str] = (),
    ) -> None:
        self._api = api
        self._channels = channels
        self.pulses = Pulses(channels, scale)
        self._scene = scene
        self._scale = scale
        self._lost = lost
        self._unready = unready
        self._pool = ThreadPoolExecutor(API_WORKERS, thread_name_prefix="k8snet api")
        self.sent = 0
        self._cut_off: frozenset[Ends] = frozenset()
        self._slack: dict[Probe, float] = {}
        self._closed = threading.Event()

    def close(self) -> None:
        """Stop asking, and waiting for what cannot come any more."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def ask(self, probes: Iterable[Probe]) -> dict[Probe, Future[Observation]]:
        """Send probes, all at the same time; each future gets its observation."""
        answers: dict[Probe, Future[Observation]] = {}
        batches: dict[Actor, list[tuple[Probe, dict[str, Any]]]] = {}
        scene = self._scene()
        for probe in dict.fromkeys(probes):
            answers[probe] = Future()
            if probe.source.role is Role.API:
                self._ask_api(probe, answers[probe])
                continue
            try:
                scale = self._scale * self._slack.get(probe, 1.0)
                asked = wire.request(probe, scene, scale)
            except wire.Lacking as why:
                answers[probe].set_result(wire.lacking(probe, scene, str(why)))
            except wire.Unresolved as why:
                answers[probe].set_result(wire.not_probed(probe, scene, str(why)))
            else:
                batches.setdefault(probe.source, []).append((probe, asked))
        for actor, batch in batches.items():
            self._submit(actor, batch, answers)
        return answers

    def _submit(
        self,
        actor: Actor,
        batch: list[tuple[Probe, dict[str, Any]]],
        answers: Mapping[Probe, Future[Observation]],
    ) -> None:
        channel = self._channels.get(actor)
        if channel is None:
            for probe, _ in batch:
                seen = wire.not_probed(probe, self._scene(), f"{actor} does not run")
                answers[probe].set_result(seen)
            return
        replies = channel.submit([asked for _, asked in batch])
        self.sent += len(batch)
        for (probe, asked), reply in zip(batch, replies, strict=True):
            reply.add_done_callback(self._on_reply(probe, asked, answers[probe]))

    def _on_reply(
        self, probe: Probe, asked: dict[str, Any], answer: Future[Observation]
    ) -> Callable[[Future[Mapping[str, Any]]], None]:
        def done(reply: Future[Mapping[str, Any]]) -> None:
            try:
                answer.set_result(
                    wire.observe(probe, reply.result(), self._scene(), asked)
                )
            except Exception as error:  # noqa: BLE001 - a bug must not hang the run
                answer.set_exception(error)

        return done

    def _ask_api(self, probe: Probe, answer: Future[Observation]) -> None:
        def work() -> None:
            started = time.monotonic()
            scene = self._scene()
            reply: dict[str, Any]
            try:
                values = API_OPS[probe.ask.op](self._api, probe, scene)
                reply = {"outcome": Outcome.ANSWERED, "values": values}
            except wire.Lacking as why:
                reply = {"outcome": Outcome.UNSUPPORTED, "detail": str(why)}
            except wire.Unresolved as why:
                reply = {"outcome": Outcome.NOT_PROBED, "detail": str(why)}
            except Silent as why:
                reply = {"outcome": Outcome.TIMED_OUT, "detail": str(why)}
            except ClusterError as error:
                reply = {"outcome": Outcome.ANSWERED_WRONGLY, "detail": str(error)}
            except Exception as error:  # noqa: BLE001 - a bug must not hang the run
                reply = {"outcome": Outcome.NOT_PROBED, "detail": repr(error)}
            reply["seconds"] = round(time.monotonic() - started, 4)
            try:
                answer.set_result(wire.observe(probe, reply, scene))
            except Exception as error:  # noqa: BLE001 - a bug must not hang the run
                answer.set_exception(error)

        def dropped(sent: Future[None]) -> None:
            if sent.cancelled():  # nobody may wait for ever
                answer.set_exception(ClusterError("the run was stopped"))

        self.sent += 1
        self._pool.submit(work).add_done_callback(dropped)

    def excuse(
        self, told: Observation, starved: Callable[[float], Mapping[str, float]]
    ) -> Observation:
        """Take back a time-out as ``excused`` does.

        From the second time on, what is asked again has twice as long as before: where
        a machine lets nobody run for half a second now and then, a second of silence
        never counts, and some seconds do.
        """
        seen = excused(told, starved, self._scale)
        if seen is not told:
            slack = 2 * self._slack.get(told.probe, 0.5)
            self._slack[told.probe] = min(slack, MOST_SLACK)
        return seen

    def until_settled(
        self, wanted: Mapping[Probe, Callable[[Observation], bool]], patience: float
    ) -> tuple[float, list[Observation]]:
        """Ask again and again until everything is as wanted, or nothing improves.

        Args:
            wanted: probes, each with when it is as wanted.
            patience: seconds without any improvement after which to go on; STALE
                while a name server says something else.

        Returns:
            (seconds it took, observations of what is not as wanted).

        """
        started = improved = time.monotonic()
        pending = dict(wanted)
        level = len(pending)
        last: dict[Probe, Observation] = {}
        unnamed = self._unnamed()
        for answered in self._again(pending):
            last |= {seen.probe: seen for seen, _ in answered}
            for seen, _ in answered:
                if wanted[seen.probe](seen):
                    pending.pop(seen.probe, None)
            if len(pending) < level * (1 - PROGRESS):
                level, improved = len(pending), time.monotonic()
            if not last.keys() >= pending.keys():
                continue
            left = [last[probe] for probe in pending]
            if all(self.is_cut_off(one) or self.is_lost(one) for one in left):
                break
            stale = any(_may_be_stale(one, unnamed) for one in left)
            waited = max(patience, STALE) if stale else patience
            if time.monotonic() - improved > waited or self._closed.is_set():
                break
        missing = [last[probe] for probe in pending]
        return time.monotonic() - started, missing

    def _unnamed(self) -> frozenset[str]:
        """Give names and addresses of Pods that name servers leave out: not ready."""
        pods = self._scene().pods.values()
        late = (p for p in pods if f"{p.role}@{p.node}" in self._unready)
        return frozenset(word for p in late for word in (p.name, *p.addresses))

    def _again(
        self, pending: Collection[Probe]
    ) -> Iterator[list[tuple[Observation, float]]]:
        """Ask every cell again as soon as it was answered, while it is pending.

        Each at its own pace: dead ones must not hold up the others. Whoever iterates
        takes out of ``pending`` what is done.

        Yields:
            what was answered meanwhile of what is still pending, each with when it
            was sent, on the monotonic clock.

        """
        asked: dict[Future[Observation], tuple[Probe, float]] = {}
        while pending:
            waiting = {probe for probe, _ in asked.values()}
            answers = self.ask(p for p in pending if p not in waiting)
            sent = time.monotonic()
            asked |= {answer: (probe, sent) for probe, answer in answers.items()}
            done, _ = wait(asked, return_when=FIRST_COMPLETED)
            ended = [(answer.result(), *asked.pop(answer)) for answer in done]
            yield [(seen, sent) for seen, probe, sent in ended if probe in pending]
            if pending:
                time.sleep(PAUSE)

    def note_cut_off(
        self, asked: Iterable[Probe], missing: Iterable[Observation]
    ) -> None:
        """Learn between which Nodes no Pod reaches any other.

        Whoever watches a change need not wait there for what cannot come.

        Args:
            asked: what had the time to settle.
            missing: what did not.

        """
        missing = list(missing)
        # A host-network Pod is reached at its Node's address: another way altogether.
        pods = (p for p in asked if p.target.kind is Kind.POD)
        direct = {p for p in pods if p.target.name != Role.HOST}
        dead = direct & {o.probe for o in missing if o.outcome in NO_ANSWER}
        alive = {_ends(p) for p in direct - {o.probe for o in missing}}
        self._cut_off = frozenset(_ends(p) for p in dead) - alive

    def is_cut_off(self, seen: Observation) -> bool:
        """Whether whoever may answer is where this source reaches no Pod."""
        probe = seen.probe
        nodes = {identity.partition("@")[2] for identity in seen.may_answer}
        if probe.target.kind is Kind.POD:
            nodes = {probe.target.node}
        families = (probe.family,) if probe.family else self._scene().facts.families
        ends = {
            (probe.source.role, probe.source.node, node, family)
            for node in nodes
            for family in families
        }
        return bool(ends) and ends <= self._cut_off

    def is_lost(self, seen: Observation) -> bool:
        """Whether an end of what was not probed does not run, and will not."""
        source, target = seen.probe.source, seen.probe.target
        ends = {str(source), str(replace(source, container="main"))}
        if target.kind is Kind.POD:
            ends.add(f"{target.name}@{target.node}")
        return seen.outcome is Outcome.NOT_PROBED and not ends.isdisjoint(self._lost)

    def watch_change(
        self, step: Step, probes: Sequence[Probe], scale: float = 1.0
    ) -> list[Observation]:
        """Ask until every cell conforms or the step's budget is used up.

        Cells across which no Pod is reached have no more than the time of one attempt,
        and those with an end that does not run have none.

        Returns the last observation of every cell: see ``Convergence``.
        """
        started = time.monotonic()
        budget = BUDGETS[step.budget] * scale
        cells = {probe: Convergence(step, budget) for probe in probes}
        pending = dict.fromkeys(probes)
        for answered in self._again(pending):
            now = time.monotonic() - started
            lost = 0.0
            if now > budget:
                self.pulses.hear_out()
                lost = self.pulses.lost_since(started)
            for probe in pending:
                cells[probe].lost = lost
            for told, sent in answered:
                seen = self.excuse(told, self.pulses.starved_since(sent))
                cells[told.probe].hear(seen, now, spoilt=seen is not told)
            attempted = now > TIMEOUTS["dead"] * scale
            for probe in list(pending):
                cell = cells[probe]
                if cell.last is None:
                    continue  # What could not be asked yet must be.
                asked = cell.last.outcome is not Outcome.NOT_PROBED
                hopeless = attempted and asked and self.is_cut_off(cell.last)
                hopeless |= self.is_lost(cell.last)
                over = cell.is_over(now, hopeless=hopeless)
                if cell.done or over or self._closed.is_set():
                    del pending[probe]
        return [cell.last for cell in cells.values() if cell.last]


def _may_be_stale(seen: Observation, unnamed: Collection[str]) -> bool:
    """Whether a name server answered, with something else than may still come."""
    said = seen.outcome in {Outcome.ANSWERED, Outcome.NAME_NOT_FOUND}
    missing = set(seen.expected) - set(seen.values)
    never = missing and all(_pod_in(value) in unnamed for value in missing)
    return said and not never and seen.probe.ask.op in {Op.DNS, Op.LOOKUP}


def _pod_in(value: str) -> str:
    """Give what a name server's answer says of a Pod: its name, or its address."""
    word = value.rpartition(" ")[2]
    return word if wire.is_address(word) else word.partition(".")[0]


def _ends(probe: Probe) -> Ends:
    return probe.source.role, probe.source.node, probe.target.node, probe.family
