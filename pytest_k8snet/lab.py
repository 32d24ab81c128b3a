"""The one orchestrator: lays out, waits, probes everything at once, and cleans up.

One lab per run, in the controller process, on threads of its own. Results come out
one by one, as soon as all the probes of a check are answered.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_k8snet import manifests
from pytest_k8snet.cluster import apply
from pytest_k8snet.cluster.channel import Channel, child_channel, exec_channel
from pytest_k8snet.cluster.discover import family_of, pod_addresses
from pytest_k8snet.cluster.errors import ClusterError
from pytest_k8snet.model import (
    BUDGETS,
    Actor,
    Kind,
    Op,
    PodState,
    Role,
    Scene,
    ServiceState,
)
from pytest_k8snet.plan import asks_of, nodes_of, roles_of
from pytest_k8snet.probing import Prober
from pytest_k8snet.result import Result, conclude, excused, inconclusive, not_applicable
from pytest_k8snet.verdict import (
    all_refused,
    all_silent,
    all_unknown,
    includes,
    is_connected,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pytest_k8snet.cluster.api import Api
    from pytest_k8snet.manifests import LabSpec
    from pytest_k8snet.model import Change, Check, Observation, Probe
    from pytest_k8snet.plan import CheckPlan, Plan

EXPECT_SILENCE = (all_silent, all_refused, all_unknown)
HEAVY = frozenset({Op.BULK, Op.FULL_SIZE})
SLOW = frozenset({Role.EDGE})
"""Roles whose Pods take longer to start: nothing that can do without waits for them."""

SETTLE_PATIENCE = 2.0


@dataclass(frozen=True)
class Waits:
    """The user's time-outs, in seconds.

    Attributes:
        ready: for all Pods together to become ready.
        connect: for one control stream to open.
        scale: multiplies the time-outs of probes and the budgets of changes.

    """

    ready: float = 90.0
    connect: float = 20.0
    scale: float = 1.0


@dataclass
class Timings:
    """How long each phase took, in seconds, in the order they ran."""

    phases: dict[str, float] = field(default_factory=dict)
    settle: float = 0.0
    unsettled: list[Observation] = field(default_factory=list)
    total: float = 0.0


class Lab:
    """Everything that one run has in the cluster.

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
        self.api = api
        self.plan = plan
        self.spec = spec
        self.waits = waits or Waits()
        self.timings = Timings()
        self.results: dict[str, Result] = {}
        self.problems: dict[str, str] = {}
        self.ready = threading.Event()
        self.scene = Scene(
            facts=plan.facts,
            namespaces={
                key: spec.namespace(key)
                for key in dict.fromkeys(manifests.NAMESPACE_OF.values())
            },
            host_port=spec.host_port,
        )
        self._asking = {
            (a.source, a.container) for c in plan.checks for a in asks_of(c.check.rule)
        } | {(role, "main") for role in Role}
        self._outside = outside
        self._progress = progress
        self._on_result = on_result
        self._channels: dict[Actor, Channel] = {}
        self._prober = Prober(api, self._channels, lambda: self.scene, self.waits.scale)
        self._lock = threading.Lock()
        self._late: dict[Role, Future[None]] = {}
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="k8snet lab")

    # ------------------------------------------------------------ from other threads

    def start(self) -> None:
        """Begin, on a thread of its own."""
        self._thread.start()

    def result(self, check: Check, timeout: float) -> Result:
        """Wait for the result of a check."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while check.id not in self.results:
                left = deadline - time.monotonic()
                if left <= 0 or (not self._thread.is_alive() and not self._has(check)):
                    why = "the lab ended before it" if left > 0 else "no result in time"
                    return inconclusive(check, why)
                self._changed.wait(min(left, 0.5))
            return self.results[check.id]

    def _has(self, check: Check) -> bool:
        return check.id in self.results

    @property
    def probes_sent(self) -> int:
        """Count every probe that was sent, the repeated ones included."""
        return self._prober.sent

    @property
    def namespaces(self) -> list[str]:
        """Name the namespaces of this run that are used."""
        keys = {manifests.NAMESPACE_OF[r] for r in self._pod_roles()}
        keys |= {"server"} if self.plan.services else set()
        return [self.spec.namespace(key) for key in sorted(keys)]

    def close(self) -> None:
        """Stop. What is in the cluster the caller removes, by the run's label."""
        self._stopped.set()
        for channel in list(self._channels.values()):
            channel.close()
        self._prober.close()
        if self._thread.ident is not None:
            self._thread.join(self.waits.connect)

    # ------------------------------------------------------------------- on its thread

    def _run(self) -> None:
        started = time.monotonic()
        try:
            for check, reason in self.plan.skipped:
                self._publish(not_applicable(check, reason))
            if self.plan.checks:
                self._lay_out()
                self._open_channels()
                self._probe_all()
        except ClusterError as error:
            self._abandon(str(error))
        except Exception as error:  # a bug: every check says so
            self._abandon(f"internal error: {error!r}")
            raise
        finally:
            self.timings.total = time.monotonic() - started
            self.ready.set()
            with self._changed:
                self._changed.notify_all()

    def _abandon(self, why: str) -> None:
        for planned in self.plan.checks:
            if planned.check.id not in self.results:
                self._publish(inconclusive(planned.check, why))

    def _publish(self, result: Result) -> None:
        with self._changed:
            self.results[result.check.id] = result
            self._changed.notify_all()
        self._on_result(result)

    @contextmanager
    def _phase(self, name: str, say: Callable[[], str]) -> Iterator[None]:
        if self._stopped.is_set():
            raise ClusterError("the run was stopped")
        started = time.monotonic()
        yield
        self.timings.phases[name] = seconds = time.monotonic() - started
        self._progress(f"{say()}  {seconds:.1f} s")

    # ------------------------------------------------------------------------- set up

    def _pod_roles(self) -> set[Role]:
        return {r for r in self.plan.roles if r in manifests.NAMESPACE_OF}

    def _ranks(self, role: Role) -> range:
        return range(1 if role is Role.UNREADY else len(self.plan.facts.nodes))

    def _lay_out(self) -> None:
        services = [
            (self.spec.namespace("server"), item)
            for wanted in self.plan.services
            for item in manifests.services(self.spec, wanted, self.plan.facts)
        ]
        early = self._pod_roles() - self.plan.late_roles
        pods = [
            self._pod_item(role, rank)
            for role in sorted(early)
            for rank in self._ranks(role)
        ]
        keys = [n.removeprefix(self.spec.namespace("")) for n in self.namespaces]
        with self._phase(
            "create",
            lambda: (
                f"made {len(keys)} namespaces, {len(pods)} Pods, "
                f"{len(services)} Services"
            ),
        ):
            spaces = [("", manifests.namespace(self.spec, key)) for key in keys]
            apply.create_all(self.api, spaces)
            base = [
                (self.spec.namespace(key), item)
                for key in keys
                for item in (
                    manifests.service_account(self.spec),
                    manifests.agent_config_map(self.spec),
                )
            ]
            apply.create_all(self.api, base)
            made = apply.create_all(self.api, pods + services)
        states = [_service_state(m) for m in made[len(pods) :]]
        self.scene = replace(self.scene, services={s.name: s for s in states})

    def _pod_item(self, role: Role, rank: int) -> tuple[str, dict[str, Any]]:
        namespace = self.spec.namespace(manifests.NAMESPACE_OF[role])
        return namespace, manifests.pod(self.spec, role, rank, self.plan.facts)

    def _open_channels(self) -> None:
        with self._phase("agents", lambda: f"opened {len(self._channels)} agents"):
            self._bring_up(self._pod_roles() - self.plan.late_roles - SLOW)
            if Role.OUTSIDE in self.plan.roles and self._outside is not None:
                self._open_outside(self._outside)
            if not any(pod.addresses for pod in self.scene.pods.values()):
                raise ClusterError(self._nothing_runs())
            self._make_slices()
        if self.problems:
            self._progress(f"not running: {summarize(self.problems)}")

    def _nothing_runs(self) -> str:
        return f"no probe Pod runs: {summarize(self.problems)}"

    def _bring_up(self, roles: set[Role]) -> None:
        """Wait for the Pods of these roles, and open their channels as they come."""
        places = {
            (ns, item["metadata"]["name"]): (role, self.plan.facts.nodes[rank].name)
            for role in roles
            for rank in self._ranks(role)
            for ns, item in [self._pod_item(role, rank)]
        }

        def counts_as_ready(pod: dict[str, Any]) -> bool:
            key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
            gated = places.get(key, (None,))[0] is Role.UNREADY
            return apply.is_running(pod) if gated else apply.is_ready(pod)

        settling = apply.pods_as_they_settle(
            self.api, self.spec.run, list(places), counts_as_ready, self.waits.ready
        )
        with ThreadPoolExecutor(apply.WORKERS) as pool:
            opening = []
            for pod, key, problem in settling:
                role, node = places[key]
                if pod is None:
                    self.problems[str(Actor(role, node))] = problem
                else:
                    opening.append(pool.submit(self._adopt, role, node, pod))
                if self._stopped.is_set():
                    break
            for one in opening:
                one.result()

    def _adopt(self, role: Role, node: str, pod: dict[str, Any]) -> None:
        """Open the channels of a Pod that runs, and put it on the scene."""
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        ports: dict[str, int] = {}
        for container in _containers(pod):
            actor = Actor(role, node, container)
            try:
                listening = self._open(actor, namespace, name)
            except ClusterError as error:
                self.problems[str(actor)] = str(error)
                continue
            ports |= {_named(container, port): n for port, n in listening.items()}
        state = PodState(
            role=role,
            node=node,
            namespace=namespace,
            name=name,
            addresses=tuple(a["ip"] for a in pod["status"].get("podIPs", ())),
            ports=ports,
        )
        with self._lock:
            ready = {name} if apply.is_ready(pod) else set()
            self.scene = replace(
                self.scene,
                pods={**self.scene.pods, (role, node): state},
                ready_pods=self.scene.ready_pods | ready,
            )

    def _open(self, actor: Actor, namespace: str, pod: str) -> Mapping[str, int]:
        """Open a container's control stream, and give the ports it listens on.

        A container that only answers needs none: its ports are known beforehand.
        """
        if (actor.role, actor.container) not in self._asking:
            rank = self.scene.rank(actor.node)
            return manifests.ports_of(actor.role, rank, actor.container)
        arguments = ["--name", str(actor), "--container", actor.container]
        channel = self._channels[actor] = exec_channel(
            self.api,
            namespace,
            pod,
            actor.container,
            [*manifests.CONTROL, *arguments],
            timeout=self.waits.connect,
        )
        return channel.ports

    def _open_outside(self, prefix: Sequence[str]) -> None:
        actor = Actor(Role.OUTSIDE)
        argv = [*prefix, *AGENT, "control", "--name", str(actor)]
        try:
            self._channels[actor] = child_channel(argv, timeout=self.waits.connect)
        except ClusterError as error:
            self.problems[str(actor)] = str(error)

    def _make_slices(self) -> None:
        manual = [s for s in self.plan.services if s.manual]
        servers = [p for (r, _), p in self.scene.pods.items() if r is Role.SERVER]
        items = []
        for service in manual:
            for family in self.plan.facts.families:
                addresses = tuple(
                    a for p in servers for a in p.addresses if family_of(a) is family
                )
                item = manifests.endpoint_slice(self.spec, service, family, addresses)
                items.append((self.spec.namespace("server"), item))
        apply.create_all(self.api, items)

    # ------------------------------------------------------------------------ probing

    def _probe_all(self) -> None:
        changing = [c for c in self.plan.checks if c.check.rule.steps]
        once = [c for c in self.plan.checks if not c.check.rule.steps]
        slow = [c for c in once if roles_of(c.check.rule) & SLOW]
        quick = [c for c in once if c not in slow]
        with ThreadPoolExecutor(len(changing) + 1) as pool:
            # What has to be made or restarted takes longest: it begins at once.
            others = self._watch_changes(changing, pool)
            others.append(pool.submit(self._second_wave, slow))
            self._settle(quick)
            self.ready.set()
            with self._phase("probe", lambda: f"sent {self.probes_sent} probes"):
                self._ask_once(quick)
                for one in as_completed(others):
                    one.result()

    def _second_wave(self, slow: Sequence[CheckPlan]) -> None:
        """Probe what needs the Pods that start slowly, while the rest goes on."""
        if slow:
            self._bring_up(self._pod_roles() & SLOW)
            self._prober.until_settled(gate(slow), SETTLE_PATIENCE)
            self._ask_once(slow)

    def _settle(self, planned: Sequence[CheckPlan]) -> None:
        with self._phase("settle", self._say_settled):
            if self._asks_for("pod-addresses"):
                entries = pod_addresses(self.api)
                flat = tuple((n, e) for n, es in entries.items() for e in es)
                with self._lock:
                    self.scene = replace(self.scene, all_pod_addresses=flat)
            took, missing = self._prober.until_settled(gate(planned), SETTLE_PATIENCE)
            self.timings.settle, self.timings.unsettled = took, missing

    def _asks_for(self, name: str) -> bool:
        return any(p.target.name == name for c in self.plan.checks for p in c.probes)

    def _say_settled(self) -> str:
        missing = len(self.timings.unsettled)
        return f"settled, {missing} cells never did" if missing else "settled"

    def _ask_once(self, planned: Sequence[CheckPlan]) -> None:
        """Send everything that is asked once, heavy transfers after the rest."""
        started = time.monotonic()
        everything = [
            p
            for plan in planned
            for p in (*plan.probes, *(q for _, qs in plan.controls for q in qs))
        ]
        light = self._prober.ask(p for p in everything if p.ask.op not in HEAVY)
        seen = self._received(light, started)
        for plan in planned:
            if all(p.ask.op not in HEAVY for p in plan.probes):
                self._publish(self._concluded(plan, seen))
        heavy = self._prober.ask(p for p in everything if p.ask.op in HEAVY)
        seen |= self._received(heavy, started)
        for plan in planned:
            if plan.check.id not in self.results:
                self._publish(self._concluded(plan, seen))

    def _received(
        self, answers: Mapping[Probe, Future[Observation]], since: float
    ) -> dict[Probe, Observation]:
        """Wait for answers; what a starved machine kept from coming was not probed."""
        seen = {probe: answer.result() for probe, answer in answers.items()}
        starved = self._prober.starved_since(since)
        return {probe: excused(one, starved) for probe, one in seen.items()}

    def _concluded(self, plan: CheckPlan, seen: Mapping[Probe, Observation]) -> Result:
        controls = [(c, tuple(seen[p] for p in probes)) for c, probes in plan.controls]
        return conclude(
            plan.check, controls, tuple(seen[p] for p in plan.probes), self.scene
        )

    # ------------------------------------------------------------------------ changes

    def _watch_changes(
        self, changing: Sequence[CheckPlan], pool: ThreadPoolExecutor
    ) -> list[Future[None]]:
        """Start every rule that watches a change; restarts wait for their role."""
        gentle = [c for c in changing if not _restarts(c)]
        rough = [c for c in changing if _restarts(c)]
        started = {c.check.id: pool.submit(self._watch, c, ()) for c in gentle}
        for plan in rough:
            roles = {ch.role for s, _ in plan.steps for ch in s.changes}
            before = [
                started[g.check.id]
                for g in gentle
                if roles & {ch.role for s, _ in g.steps for ch in s.changes}
            ]
            started[plan.check.id] = pool.submit(self._watch, plan, before)
        return list(started.values())

    def _watch(self, plan: CheckPlan, before: Sequence[Future[None]]) -> None:
        wait(before)
        try:
            self._publish(self._watched(plan))
        except ClusterError as error:
            self._publish(inconclusive(plan.check, str(error)))

    def _watched(self, plan: CheckPlan) -> Result:
        controls = []
        for control, probes in plan.controls:
            answers = self._prober.ask(probes)
            controls.append((control, tuple(a.result() for a in answers.values())))
        seen: list[Observation] = []
        started = time.monotonic()
        for step, probes in plan.steps:
            for change in step.changes:
                self._change(change)
            seen += self._prober.watch_change(step, probes, self.waits.scale)
        starved = self._prober.starved_since(started)
        told = tuple(excused(one, starved) for one in seen)
        return conclude(plan.check, controls, told, self.scene)

    def _change(self, change: Change) -> None:
        if change.kind == "create":
            self._create_late(change.role)
            return
        spread = nodes_of(change.spread, self.plan.facts)
        pods = [self.scene.pod(change.role, node) for node in spread]
        running = [pod for pod in pods if pod is not None]
        if len(running) < len(spread):
            raise ClusterError(f"not every {change.role} runs")
        if change.kind == "label":
            for pod in running:
                self._label(pod, dict(change.labels))
        else:
            with ThreadPoolExecutor(apply.WORKERS) as pool:
                list(pool.map(self._restart, running))

    def _create_late(self, role: Role) -> None:
        """Make the Pods of a role, once, however many rules ask for it."""
        with self._lock:
            first = role not in self._late
            done = self._late.setdefault(role, Future())
        if not first:
            done.result(self.waits.ready + self.waits.connect)
            return
        try:
            items = [self._pod_item(role, rank) for rank in self._ranks(role)]
            apply.create_all(self.api, items)
            self._bring_up({role})
        except ClusterError as error:
            done.set_exception(error)
            raise
        done.set_result(None)

    def _label(self, pod: PodState, labels: dict[str, str | None]) -> None:
        named = {manifests.LABEL + key: value for key, value in labels.items()}
        self.api.patch(_pod_path(pod), {"metadata": {"labels": named}})

    def _restart(self, pod: PodState) -> None:
        """End a container's first process, and wait for the next one."""
        channel = self._channels.get(Actor(pod.role, pod.node))
        if channel is None:
            raise ClusterError(f"{Actor(pod.role, pod.node)} has no agent")
        channel.submit([{"op": "restart", "timeout": 2.0}])[0].result()
        deadline = time.monotonic() + BUDGETS["restart"] * self.waits.scale
        while time.monotonic() < deadline:
            found = self.api.get(_pod_path(pod))
            statuses = found.get("status", {}).get("containerStatuses", ())
            if any(s.get("restartCount", 0) and s.get("started") for s in statuses):
                return
            time.sleep(0.2)
        raise ClusterError(f"{pod.name} was not restarted by its kubelet")


AGENT = ("python3", "-I", "-S", str(manifests.AGENT_FILE))


def gate(
    planned: Iterable[CheckPlan],
) -> dict[Probe, Callable[[Observation], bool]]:
    """Give what has to work before anything is judged, each with when it does."""
    wanted: dict[Probe, Callable[[Observation], bool]] = {}
    for plan in planned:
        if plan.check.rule.judge in EXPECT_SILENCE:
            continue
        for probe in plan.probes:
            if probe.number or probe.ask.timeout == "silence":
                continue
            if probe.ask.op is Op.CONNECT and probe.target.kind is not Kind.LOOPBACK:
                wanted[_polled(probe)] = is_connected
            elif probe.ask.op in {Op.DNS, Op.LOOKUP}:
                wanted[_polled(probe)] = includes
    return wanted


def _polled(probe: Probe) -> Probe:
    return replace(probe, ask=replace(probe.ask, timeout="poll"))


def _restarts(plan: CheckPlan) -> bool:
    return any(c.kind == "restart" for s, _ in plan.steps for c in s.changes)


def _pod_path(pod: PodState) -> str:
    return f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"


def _containers(pod: dict[str, Any]) -> list[str]:
    """Name the containers that keep running: those of the app, and sidecars."""
    spec = pod["spec"]
    sidecars = (
        c for c in spec.get("initContainers", ()) if c.get("restartPolicy") == "Always"
    )
    return [c["name"] for c in (*spec["containers"], *sidecars)]


def _named(container: str, port: str) -> str:
    """Name a second container's port after the container: ``sibling/tcp``."""
    return port if container == "main" else f"{container}/{port.rpartition('/')[2]}"


def _service_state(item: dict[str, Any]) -> ServiceState:
    spec = item["spec"]
    addresses = [a for a in spec.get("clusterIPs", ()) if a != "None"]
    ports = spec.get("ports", ())
    return ServiceState(
        name=item["metadata"]["name"],
        namespace=item["metadata"]["namespace"],
        addresses=tuple(addresses),
        ports={p["name"]: p["port"] for p in ports},
        node_ports={p["name"]: p["nodePort"] for p in ports if p.get("nodePort")},
    )


def summarize(problems: dict[str, str]) -> str:
    """Say problems in one line: equal ones together."""
    by_reason: dict[str, list[str]] = {}
    for who, why in problems.items():
        by_reason.setdefault(why, []).append(who)
    return "; ".join(
        f"{', '.join(sorted(who))}: {why}" for why, who in by_reason.items()
    )
