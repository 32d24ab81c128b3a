"""The turns that checks take: most of them at once, some after what they need.

Each kind of check is probed as soon as it can be, on threads of one pool, and its
results are published as soon as what they rest on is answered.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pytest_k8snet.cluster.errors import ClusterError
from pytest_k8snet.model import Outcome, Word
from pytest_k8snet.plan import roles_of
from pytest_k8snet.result import (
    Result,
    conclude,
    excused,
    heirs,
    inconclusive,
    is_unanswered_replica,
    withdrawn,
)
from pytest_k8snet.schedule import (
    HEAVY,
    POLICED,
    SLOW,
    asked,
    awaited,
    changed_roles,
    expects_silence,
    gate,
    is_quick,
    is_rough,
    leads_in,
    roughness,
)
from pytest_k8snet.verdict import all_refused

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pytest_k8snet.model import Observation, Observations, Probe, Role
    from pytest_k8snet.plan import CheckPlan, Plan
    from pytest_k8snet.probing import Prober
    from pytest_k8snet.stage import Stage

HEAD_START = 1.0
"""Seconds that probes have before heavy transfers begin beside them."""

ROUNDS = 5
"""How often a probe is sent, at most, on a machine too busy to run the agents."""

WAVES = 4
"""What is probed side by side: most of it, and what has to be made first."""

HOLDS = frozenset({Word.PASS, Word.KNOWN_DEVIATION})
TWICE = 2

RATION = 2.0
"""Seconds of quiet after which a kernel that sends each address one ICMP error a second
has one for each transport again."""

PATIENCE = 2.0
"""Seconds without any cell settling after which the rest is judged as it is."""


class Turns:
    """Probes what a plan asks, of Pods that are there.

    Args:
        plan: what to ask.
        stage: where; it makes the Pods that are made later.
        prober: asks.
        results: what was published, by the id of its check.
        publish: puts a result there.
        stopped: whether to give up.
        scale: multiplies every budget.

    """

    def __init__(
        self,
        plan: Plan,
        stage: Stage,
        prober: Prober,
        results: Mapping[str, Result],
        publish: Callable[[Result], None],
        stopped: threading.Event,
        scale: float,
    ) -> None:
        self._plan = plan
        self._stage = stage
        self._prober = prober
        self._results = results
        self._publish = publish
        self._stopped = stopped
        self._scale = scale
        self._changing = [c for c in plan.checks if c.check.rule.steps]
        self._quick = [c for c in plan.checks if is_quick(c)]
        # What has to be made or restarted takes longest: it begins at once.
        self._early = [c for c in self._changing if changed_roles(c)]
        self._under_way: list[Future[None]] = []

    @contextmanager
    def begun(self) -> Iterator[ThreadPoolExecutor]:
        """Begin with what takes longest; at the end nothing is under way."""
        once = [c for c in self._plan.checks if not c.check.rule.steps]
        slow = [c for c in once if roles_of(c.check.rule) & SLOW]
        policed = [c for c in once if roles_of(c.check.rule) & POLICED]
        entering = [c for c in once if leads_in(c)]
        with ThreadPoolExecutor(len(self._changing) + WAVES) as pool:
            self._under_way = self._watch_changes(self._early, pool)
            self._under_way.append(pool.submit(self._second_wave, slow))
            self._under_way.append(pool.submit(self._policy_wave, policed))
            self._under_way.append(pool.submit(self._entry_wave, entering))
            yield pool

    def settle(self) -> tuple[float, list[Observation]]:
        """Wait until what is asked once works, as far as it comes to.

        Returns:
            (seconds it took, observations of what did not).

        """
        if self._asks_for("pod-addresses") or self._asks_for("addresses-in-range"):
            with suppress(ClusterError):  # the result of whoever needs it
                self._stage.note_pod_addresses()
        wanted = gate(self._quick)
        took, missing = self._prober.until_settled(wanted, PATIENCE)
        starved = self._prober.pulses.starved_since(time.monotonic() - PATIENCE)
        silent = [excused(one, starved, self._scale) for one in missing]
        self._prober.note_cut_off(wanted, silent)
        with suppress(ClusterError):  # they count as they were then
            self._stage.look_again()
        return took, missing

    def take(self, pool: ThreadPoolExecutor) -> None:
        """Ask the rest, and wait for everything."""
        refused = [c for c in self._quick if c.check.rule.judge is all_refused]
        rest = [c for c in self._quick if c not in refused]
        self._under_way.append(pool.submit(self._ask_once, rest))
        unsure = self._ask_first(refused)
        # A new Service refuses at first, and a Node refuses only so often each
        # second: until here, others count on being refused.
        late = [c for c in self._changing if c not in self._early]
        self._under_way += self._watch_changes(late, pool)
        for one in as_completed(self._under_way):
            one.result()
        if unsure:
            self._stopped.wait(RATION)
            self._ask_once(unsure)

    def _second_wave(self, slow: Sequence[CheckPlan]) -> None:
        """Probe what needs the Pods that start slowly, while the rest goes on."""
        if slow:
            # After those that are watched: waiting for the kubelet is most of that.
            for role in (*sorted(self._plan.late_roles - POLICED), *SLOW):
                with suppress(ClusterError):  # the result of whoever needs it
                    self._stage.create(role)
            self._prober.until_settled(gate(slow), PATIENCE)
            self._ask_once(slow)

    def _entry_wave(self, entering: Sequence[CheckPlan]) -> None:
        """Probe what leads into the cluster, once the API says where it does."""
        if not entering:
            return
        try:
            self._stage.publish(awaited(entering, self._stage.scene))
        except ClusterError as error:
            for plan in entering:
                self._publish(inconclusive(plan.check, str(error)))
            return
        self._prober.until_settled(gate(entering), PATIENCE)
        self._ask_once(entering)

    def _policy_wave(self, policed: Sequence[CheckPlan]) -> None:
        """Probe what policies allow and what they do not, while the rest goes on.

        Silence takes as long as a time-out: so nothing is asked before it counts. A
        check that does not hold at once has to hold twice in a row, with its controls.
        """
        with suppress(ClusterError):  # the result of whoever needs it
            self._make({r for c in policed for r in roles_of(c.check.rule)})
        held = dict.fromkeys((c.check.id for c in policed), 1)
        pending, improved = list(policed), time.monotonic()
        while pending:
            seen = self._seen(p for plan in pending for p in asked(plan))
            results = {c.check.id: self._concluded(c, seen) for c in pending}
            good = {i for i, r in results.items() if r.word in HOLDS}
            first = set(held.values()) == {1}
            if first or any(held[i] < 1 for i in good):
                improved = time.monotonic()
            held = {i: held[i] + 1 if i in good else 0 for i in results}
            over = time.monotonic() - improved > PATIENCE or self._stopped.is_set()
            for one, result in results.items():
                if over or held[one] >= TWICE:
                    self._publish(result)
            pending = [c for c in pending if c.check.id not in self._results]

    def _make(self, roles: Iterable[Role]) -> None:
        """Make the Pods of those roles that policy rules need."""
        wanted = POLICED.intersection(roles) - self._plan.late_roles
        with ThreadPoolExecutor(len(POLICED)) as pool:
            list(pool.map(self._stage.create, wanted))

    def _asks_for(self, name: str) -> bool:
        return any(p.target.name == name for c in self._plan.checks for p in c.probes)

    def _ask_first(self, planned: Sequence[CheckPlan]) -> list[CheckPlan]:
        """Ask for the first time, and give the checks that fail.

        What else a Node refuses meanwhile may have used up its refusals.
        """
        seen = self._seen(p for plan in planned for p in asked(plan))
        unsure = []
        for plan in planned:
            result = self._concluded(plan, seen)
            if result.word is Word.FAIL:
                unsure.append(plan)
            else:
                self._publish(result)
        return unsure

    def _ask_once(self, planned: Sequence[CheckPlan]) -> None:
        """Send everything that is asked once, heavy transfers after the rest.

        What waits for the dead does not hold them up.
        """
        everything = [p for plan in planned for p in asked(plan)]
        light = [p for p in everything if p.ask.op not in HEAVY]
        heavy = [p for p in everything if p.ask.op in HEAVY]
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(self._seen, light)
            wait([first], HEAD_START)
            second = pool.submit(self._seen, heavy)
            seen = first.result()
            for plan in planned:
                if seen.keys() >= set(plan.probes):
                    self._publish(self._concluded(plan, seen))
            seen |= second.result()
        for plan in planned:
            if plan.check.id not in self._results:
                self._publish(self._concluded(plan, seen))

    def _seen(self, probes: Iterable[Probe]) -> dict[Probe, Observation]:
        """Ask once, and again only what a starved machine kept from being probed.

        What is to hear nothing is judged apart, as soon as its time is over: what
        happens to the machine while others wait for the dead is not held against it.
        """
        groups: dict[bool, list[Probe]] = {}
        for probe in probes:
            groups.setdefault(expects_silence(probe), []).append(probe)
        with ThreadPoolExecutor(2) as pool:
            parts = list(pool.map(self._probed, groups.values()))
        seen = {probe: one for part in parts for probe, one in part.items()}
        if any(map(is_unanswered_replica, seen.values())):
            with suppress(ClusterError):  # then they count as they were
                seen |= self._replaced(tuple(seen.values()))
        return seen

    def _probed(self, pending: Sequence[Probe]) -> dict[Probe, Observation]:
        seen: dict[Probe, Observation] = {}
        for _ in range(ROUNDS):
            since = time.monotonic()
            answers = self._prober.ask(pending)
            got = {probe: answer.result() for probe, answer in answers.items()}
            starved = self._starved(got.values(), since)
            told = {p: self._prober.excuse(one, starved) for p, one in got.items()}
            seen |= told
            pending = [p for p, one in told.items() if one is not got[p]]
            if not pending or self._stopped.is_set():
                break
        return seen

    def _starved(
        self, seen: Iterable[Observation], since: float
    ) -> Callable[[float], Mapping[str, float]]:
        """Learn who was not let run from then to now, from all who have to say so."""
        until = time.monotonic()
        if any(one.outcome is Outcome.TIMED_OUT for one in seen):
            self._prober.pulses.hear_out()
        return self._prober.pulses.starved_since(since, until)

    def _replaced(self, seen: Observations) -> dict[Probe, Observation]:
        """Ask the replicas of the cluster DNS that came in place of others."""
        replicas = self._stage.dns_replicas()
        found = {one.probe: withdrawn(one, replicas) for one in seen}
        instead = heirs(seen, replicas)
        answers = self._prober.ask(instead.values())
        for gone, heir in instead.items():
            told = answers[heir].result()
            if not is_unanswered_replica(told):
                found[gone] = told
        return found

    def _concluded(self, plan: CheckPlan, seen: Mapping[Probe, Observation]) -> Result:
        controls = [(c, tuple(seen[p] for p in probes)) for c, probes in plan.controls]
        told = tuple(seen[p] for p in plan.probes)
        return conclude(plan.check, controls, told, self._stage.scene)

    # ------------------------------------------------------------------------ changes

    def _watch_changes(
        self, changing: Sequence[CheckPlan], pool: ThreadPoolExecutor
    ) -> list[Future[None]]:
        """Start every rule that watches a change.

        What leaves less of a role's Pods waits for what needs more of them: with its
        rough change for those that are gentle, with everything for those that are not.
        """
        started: list[tuple[CheckPlan, Future[None]]] = []
        for plan in sorted(changing, key=roughness):
            before = [
                (other, done)
                for other, done in started
                if roughness(other) < roughness(plan)
                and changed_roles(other) & changed_roles(plan)
            ]
            gentle = [done for other, done in before if not roughness(other)]
            rough = [done for other, done in before if roughness(other)]
            started.append((plan, pool.submit(self._watch, plan, rough, gentle)))
        return [done for _, done in started]

    def _watch(
        self,
        plan: CheckPlan,
        rough: Sequence[Future[None]],
        gentle: Sequence[Future[None]],
    ) -> None:
        wait(rough)
        try:
            self._publish(self._watched(plan, gentle))
        except ClusterError as error:
            self._publish(inconclusive(plan.check, str(error)))

    def _watched(self, plan: CheckPlan, gentle: Sequence[Future[None]]) -> Result:
        self._make(roles_of(plan.check.rule))
        controls = [
            (control, tuple(self._seen(probes).values()))
            for control, probes in plan.controls
        ]
        seen: list[Observation] = []
        for step, probes in plan.steps:
            if is_rough(step):
                wait(gentle)
            for change in step.changes:
                self._stage.change(change)
            since = time.monotonic()
            told = self._prober.watch_change(step, probes, self._scale)
            # What conforms was held against each attempt already, and what is cut off
            # was silent before.
            amiss = [one for one in told if not step.until(one)]
            unsure = {one for one in amiss if not self._prober.is_cut_off(one)}
            starved = self._starved(unsure, since)
            seen += [
                excused(one, starved, self._scale) if one in unsure else one
                for one in told
            ]
            if amiss:
                break  # What comes next would build on it.
        return conclude(plan.check, controls, tuple(seen), self._stage.scene)
