"""The one orchestrator: lay out, wait once, probe everything at once, conclude.

One lab per run, in the controller process, on threads of its own. Results come out
as soon as what they rest on is answered.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_k8snet import manifests
from pytest_k8snet.cluster.errors import ClusterError
from pytest_k8snet.evidence import Sources, gather
from pytest_k8snet.model import Feature, Role, Word
from pytest_k8snet.plan import roles_of, uses_services
from pytest_k8snet.policies import allows_nothing, interference
from pytest_k8snet.probing import Prober
from pytest_k8snet.result import (
    Result,
    conclude,
    describe,
    excused,
    inconclusive,
    is_unanswered_replica,
    not_applicable,
    withdrawn,
)
from pytest_k8snet.schedule import (
    HEAVY,
    POLICED,
    SLOW,
    asked,
    awaited,
    changed_roles,
    gate,
    is_quick,
    is_rough,
    leads_in,
    roughness,
)
from pytest_k8snet.stage import Stage, Waits, summarize
from pytest_k8snet.verdict import all_refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pytest_k8snet.cluster.api import Api
    from pytest_k8snet.diagnose import Answer, Question
    from pytest_k8snet.manifests import LabSpec
    from pytest_k8snet.model import Check, Observation, Probe, Rule
    from pytest_k8snet.plan import CheckPlan, Plan

HEAD_START = 1.0
"""Seconds that probes have before heavy transfers begin beside them."""

ROUNDS = 4
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


@dataclass
class Timings:
    """How long each phase took, in seconds, in the order they ran.

    Attributes:
        phases: by name.
        settle: until every Service and name answered, or nothing improved.
        unsettled: what had not answered by then.

    """

    phases: dict[str, float] = field(default_factory=dict)
    settle: float = 0.0
    unsettled: list[Observation] = field(default_factory=list)


class Lab:
    """Runs a plan.

    Args:
        api: the client.
        plan: what to lay out and to ask.
        spec: what its objects have in common.
        outside: argv prefix that runs a command outside; None when there is none.
        waits: the user's time-outs.
        progress: told what is being done, a line at a time.
        on_result: told of every result.

    """

    def __init__(
        self,
        api: Api,
        plan: Plan,
        spec: LabSpec,
        *,
        outside: Sequence[str] | None = None,
        waits: Waits | None = None,
        progress: Callable[[str], None] = lambda _: None,
        on_result: Callable[[Result], None] = lambda _: None,
    ) -> None:
        self.plan = plan
        self.timings = Timings()
        self.results: dict[str, Result] = {}
        self.ready = threading.Event()
        waits = waits or Waits()
        self._api = api
        self._spec = spec
        self._stage = Stage(api, plan, spec, waits)
        self._prober = Prober(
            api,
            self._stage.channels,
            lambda: self._stage.scene,
            waits.scale,
            self._stage.problems,
            self._stage.unready,
        )
        self._outside = outside
        self._interfering = ""
        self._progress = progress
        self._on_result = on_result
        self._scale = waits.scale
        self._join = waits.connect
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        # A daemon: whatever it waits for, nobody waits for it once all is removed.
        self._thread = threading.Thread(
            target=self._run, name="k8snet lab", daemon=True
        )

    # ------------------------------------------------------------ from other threads

    def start(self) -> None:
        """Begin, on a thread of its own."""
        self._thread.start()

    def result(self, check: Check, timeout: float) -> Result:
        """Wait for the result of a check."""
        with self._changed:
            self._changed.wait_for(
                lambda: check.id in self.results or not self._thread.is_alive(), timeout
            )
            found = self.results.get(check.id)
        return found or inconclusive(check, f"no result within {timeout:.0f} s")

    @property
    def problems(self) -> Mapping[str, str]:
        """Say what does not run, each with why."""
        return self._stage.problems

    @property
    def probes_sent(self) -> int:
        """Count every probe that was sent, the repeated ones included."""
        return self._prober.sent

    def gather(
        self, questions: Sequence[Question], *, inspect: bool, seconds: float
    ) -> dict[Question, Answer]:
        """Look closer at what failed: see ``evidence.gather``."""
        sources = Sources(
            api=self._api,
            facts=self.plan.facts,
            spec=self._spec,
            scene=lambda: self._stage.scene,
            channels=self._stage.channels,
            hopeless=self._stage.hopeless,
        )
        started = time.monotonic()
        found = gather(questions, sources, inspect=inspect, seconds=seconds)
        self.timings.phases["evidence"] = time.monotonic() - started
        return found

    def stop(self) -> bool:
        """Stop soon; give whether it is still at it.

        What is in the cluster the caller removes, by the run's label. That also wakes
        up whoever waits for a Pod.
        """
        self._stopped.set()
        self._stage.close()
        self._prober.close()
        return self._thread.is_alive()

    def join(self) -> None:
        """Wait until it has stopped."""
        self._thread.join(self._join)

    # ------------------------------------------------------------------- on its thread

    def _run(self) -> None:
        try:
            for check, reason in self.plan.skipped:
                self._publish(not_applicable(check, reason))
            if self.plan.checks:
                self._set_up()
                self._probe_all()
        except ClusterError as error:
            self._abandon(str(error))
        except Exception as error:
            if self._stopped.is_set():  # what it needs is closed
                self._abandon("the run was stopped")
                return
            # A bug: every check says so.
            self._abandon(f"internal error: {error!r}")
            raise
        finally:
            self.ready.set()
            with self._changed:
                self._changed.notify_all()

    def _abandon(self, why: str) -> None:
        for planned in self.plan.checks:
            if planned.check.id not in self.results:
                self._publish(inconclusive(planned.check, why))

    def _publish(self, result: Result) -> None:
        if result.word is Word.FAIL and (why := self._to_blame(result.check.rule)):
            why = f"{why}: {describe(result.verdict.violations[0])}"
            result = inconclusive(result.check, why, result.seen)
        with self._changed:
            self.results[result.check.id] = result
            self._changed.notify_all()
        self._on_result(result)

    def _to_blame(self, rule: Rule) -> str:
        """Say what else than what a rule is about may violate it; "" if nothing."""
        if not self._interfering and self._stage.unready and uses_services(rule):
            return f"Services leave out {summarize(self._stage.unready)}"
        return self._interfering

    @contextmanager
    def _phase(self, name: str, say: Callable[[], str]) -> Iterator[None]:
        if self._stopped.is_set():
            raise ClusterError("the run was stopped")
        started = time.monotonic()
        yield
        self.timings.phases[name] = seconds = time.monotonic() - started
        self._progress(f"{say()}  {seconds:.1f} s")

    def _set_up(self) -> None:
        made = ""
        early = {r for r in self.plan.roles if r in manifests.NAMESPACE_OF}
        early -= self.plan.late_roles | SLOW
        if any(is_quick(c) for c in self.plan.checks):
            early -= POLICED
        with self._phase("create", lambda: f"made {made}"):
            made = self._stage.lay_out(early)
        with self._phase(
            "agents", lambda: f"opened {len(self._stage.channels)} agents"
        ):
            # While the Pods start, and before what policies select is attached.
            if Role.OUTSIDE in self.plan.roles and self._outside is not None:
                self._stage.open_outside(self._outside)
            self._stage.make_outside_policies()
            self._stage.bring_up(early)
            if early and not self._stage.scene.pods:
                why = summarize(self.problems)
                raise ClusterError(f"no probe Pod runs: {why}")
            self._stage.make_slices()
            if Feature.NETWORK_POLICY in self.plan.facts.features:
                self._note_policies_of_others()
        if self.problems:
            self._progress(f"not running: {summarize(self.problems)}")
        if self._stage.unready:
            self._progress(f"not ready: {summarize(self._stage.unready)}")

    def _note_policies_of_others(self) -> None:
        found: list[dict[str, Any]] = []
        with suppress(ClusterError):  # without permission: it helps the words alone
            found = self._stage.policies_of_others()
        self._interfering = interference(found)
        if any(map(allows_nothing, found)):
            # There is no network to be seen behind it.
            raise ClusterError(self._interfering)

    # ------------------------------------------------------------------------ probing

    def _probe_all(self) -> None:
        changing = [c for c in self.plan.checks if c.check.rule.steps]
        once = [c for c in self.plan.checks if not c.check.rule.steps]
        slow = [c for c in once if roles_of(c.check.rule) & SLOW]
        policed = [c for c in once if roles_of(c.check.rule) & POLICED]
        entering = [c for c in once if leads_in(c)]
        quick = [c for c in once if is_quick(c)]
        with ThreadPoolExecutor(len(changing) + WAVES) as pool:
            # What has to be made or restarted takes longest: it begins at once.
            early = [c for c in changing if changed_roles(c)]
            others = self._watch_changes(early, pool)
            others.append(pool.submit(self._second_wave, slow))
            others.append(pool.submit(self._policy_wave, policed))
            others.append(pool.submit(self._entry_wave, entering))
            self._settle(quick)
            self.ready.set()
            with self._phase("probe", lambda: f"sent {self.probes_sent} probes"):
                refused = [c for c in quick if c.check.rule.judge is all_refused]
                others.append(
                    pool.submit(self._ask_once, [c for c in quick if c not in refused])
                )
                unsure = self._ask_first(refused)
                # A new Service refuses at first, and a Node refuses only so often
                # each second: until here, others count on being refused.
                others += self._watch_changes(
                    [c for c in changing if c not in early], pool
                )
                for one in as_completed(others):
                    one.result()
                if unsure:
                    self._stopped.wait(RATION)
                    self._ask_once(unsure)

    def _second_wave(self, slow: Sequence[CheckPlan]) -> None:
        """Probe what needs the Pods that start slowly, while the rest goes on."""
        if slow:
            # After those that are watched: waiting for the kubelet is most of that.
            for role in (*sorted(self.plan.late_roles - POLICED), *SLOW):
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
            pending = [c for c in pending if c.check.id not in self.results]

    def _make(self, roles: Iterable[Role]) -> None:
        """Make the Pods of those roles that policy rules need."""
        wanted = POLICED.intersection(roles) - self.plan.late_roles
        with ThreadPoolExecutor(len(POLICED)) as pool:
            list(pool.map(self._stage.create, wanted))

    def _settle(self, planned: Sequence[CheckPlan]) -> None:
        with self._phase("settle", self._say_settled):
            if self._asks_for("pod-addresses") or self._asks_for("addresses-in-range"):
                self._stage.note_pod_addresses()
            wanted = gate(planned)
            took, missing = self._prober.until_settled(wanted, PATIENCE)
            self._prober.note_cut_off(wanted, missing)
            self.timings.settle, self.timings.unsettled = took, missing
            with suppress(ClusterError):  # then they count as they were
                self._stage.look_again()

    def _asks_for(self, name: str) -> bool:
        return any(p.target.name == name for c in self.plan.checks for p in c.probes)

    def _say_settled(self) -> str:
        missing = len(self.timings.unsettled)
        return f"settled, {missing} cells never did" if missing else "settled"

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
            if plan.check.id not in self.results:
                self._publish(self._concluded(plan, seen))

    def _seen(self, probes: Iterable[Probe]) -> dict[Probe, Observation]:
        """Ask once, and again only what a starved machine kept from being probed."""
        seen: dict[Probe, Observation] = {}
        pending = list(probes)
        for _ in range(ROUNDS):
            since = time.monotonic()
            answers = self._prober.ask(pending)
            got = {probe: answer.result() for probe, answer in answers.items()}
            starved = self._prober.starved_since(since)
            told = {probe: excused(one, starved) for probe, one in got.items()}
            seen |= told
            pending = [p for p, one in told.items() if one is not got[p]]
            if not pending or self._stopped.is_set():
                break
        if any(map(is_unanswered_replica, seen.values())):
            with suppress(ClusterError):  # then they count as they were
                replicas = self._stage.dns_replicas()
                seen = {probe: withdrawn(one, replicas) for probe, one in seen.items()}
        return seen

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
        started = time.monotonic()
        seen: list[Observation] = []
        for step, probes in plan.steps:
            if is_rough(step):
                wait(gentle)
            for change in step.changes:
                self._stage.change(change)
            told = self._prober.watch_change(step, probes, self._scale)
            seen += told
            if not all(map(step.until, told)):
                break  # What comes next would build on it.
        starved = self._prober.starved_since(started)
        # Silence that conforms was held against each attempt already.
        judged = tuple(
            one if one.probe.ask.blocked else excused(one, starved) for one in seen
        )
        return conclude(plan.check, controls, judged, self._stage.scene)
