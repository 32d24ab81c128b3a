"""The one orchestrator: lay out, wait once, give every check its turn.

One lab per run, in the controller process, on threads of its own. Results come out
as soon as what they rest on is answered.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_k8snet import manifests
from pytest_k8snet.cluster.errors import ClusterError
from pytest_k8snet.evidence import Sources, gather
from pytest_k8snet.model import Feature, Role, Word
from pytest_k8snet.plan import uses_services
from pytest_k8snet.policies import allows_nothing, interference
from pytest_k8snet.probing import Prober
from pytest_k8snet.result import Result, describe, inconclusive, not_applicable
from pytest_k8snet.schedule import POLICED, SLOW, is_quick
from pytest_k8snet.stage import Stage, Waits, summarize
from pytest_k8snet.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_k8snet.cluster.api import Api
    from pytest_k8snet.diagnose import Answer, Question
    from pytest_k8snet.manifests import LabSpec
    from pytest_k8snet.model import Check, Observation, Rule
    from pytest_k8snet.plan import Plan


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

    def _probe_all(self) -> None:
        turns = Turns(
            self.plan,
            self._stage,
            self._prober,
            self.results,
            self._publish,
            self._stopped,
            self._scale,
        )
        with turns.begun() as pool:
            with self._phase("settle", self._say_settled):
                self.timings.settle, self.timings.unsettled = turns.settle()
            self.ready.set()
            with self._phase("probe", lambda: f"sent {self.probes_sent} probes"):
                turns.take(pool)

    def _say_settled(self) -> str:
        missing = len(self.timings.unsettled)
        return f"settled, {missing} cells never did" if missing else "settled"
