"""A watch: agents that go on asking along every path, and what they saw.

The agents keep the pace by themselves. Streams to them come and go as kubelets and
API servers are restarted: what was seen meanwhile is fetched over the next one.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NoReply
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_k8snet import manifests, watch_objects
from pytest_k8snet.cluster import apply
from pytest_k8snet.cluster.channel import Channel, child_channel, exec_channel
from pytest_k8snet.cluster.discover import dns_replicas
from pytest_k8snet.cluster.errors import ClusterError, StreamLost
from pytest_k8snet.entries import service_state
from pytest_k8snet.model import Outcome
from pytest_k8snet.outages import ANSWER, GOOD, Path, Run, Trail, Way, record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_k8snet.cluster.api import Api
    from pytest_k8snet.manifests import LabSpec
    from pytest_k8snet.model import ClusterFacts, ServiceState
    from pytest_k8snet.outages import Record, Span
    from pytest_k8snet.stage import Waits

PERIOD = 1.0
"""Seconds between two times that an agent is asked what it saw."""

EVERY = 0.2
"""Seconds between two questions along a path: see the agent."""

PAUSES = (0.5, 1.0, 2.0)
"""Seconds until a lost stream is opened again; the last one again and again."""

REPLY = 3.0
"""Seconds in which an agent says what it saw; whoever takes longer is asked anew."""

OPENING = 5.0
"""Seconds for a stream to open again: in vain, it is tried once more."""

SETTLE = 15.0
"""Seconds for every path to answer once before the watch begins."""

FETCH = 30.0
"""Seconds, at the end, for streams that were lost to come back."""

RENEW = 600.0
"""Seconds after which it is said anew that nobody may remove what is ours."""

DRIFT = 1e-4
"""Seconds by which two clocks may part between two fetches."""

LIFETIME = 3600
LOOK = 0.3


@dataclass
class Agent:
    """One place that asks.

    Attributes:
        name: its Node, or "outside".
        connect: opens a control stream to it. Raises ClusterError.
        wanted: what it is to ask, by number.
        sent: what it was told to ask, and which life of it was told.
        incarnation: tells its present life from one before a restart.
        number: of the last batch that has arrived.
        offset: to add to its clock to have ours, and how sure that is, in seconds.
        covered: until when everything that it saw is known, by our clock.
        absences: when it could not answer others, likewise.
        problem: why there is no stream to it; "" while there is one.

    """

    name: str
    connect: Callable[[], Channel]
    wanted: dict[int, dict[str, Any]] = field(default_factory=dict)
    sent: tuple[str, dict[int, dict[str, Any]]] = ("", {})
    incarnation: str = ""
    number: int = 0
    offset: tuple[float, float] = (float("inf"), 0.0)
    covered: float = 0.0
    absences: list[Span] = field(default_factory=list)
    problem: str = ""
    channel: Channel | None = None

    def ask(self, **request: Any) -> tuple[Mapping[str, Any], float, float]:
        """Have the agent do something; give its reply, and between when and when.

        Raises:
            StreamLost: when there is none.

        """
        if self.channel is None or self.channel.lost:
            self.channel = self.connect()
        before = time.monotonic()
        (answer,) = self.channel.submit([{"timeout": REPLY, **request}])
        try:
            reply = answer.result(REPLY)
        except NoReply:
            raise StreamLost(f"{self.name} did not say what it saw") from None
        if reply["outcome"] != Outcome.ANSWERED:
            raise StreamLost(str(reply.get("detail", "")))
        return reply, before, time.monotonic()

    def hang_up(self) -> None:
        """Close the stream."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None


class Watch:
    """Asks along every path, from ``open`` to ``end``.

    Args:
        api: the client.
        spec: the run's.
        facts: what discovery found.
        waits: the user's time-outs.
        outside: argv prefix that runs a command outside; None when there is none.
        key: names the namespace.
        progress: told what is being done, a line at a time.

    Attributes:
        problems: what does not run, each with why.

    """

    def __init__(
        self,
        api: Api,
        spec: LabSpec,
        facts: ClusterFacts,
        waits: Waits,
        *,
        outside: Sequence[str] | None = None,
        key: str = watch_objects.KEY,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.namespace = spec.namespace(key)
        self.problems: dict[str, str] = {}
        self.agents: dict[str, Agent] = {}
        self._api = api
        self._spec = spec
        self._key = key
        self._facts = facts
        self._waits = waits
        self._outside = outside
        self._progress = progress
        self._service: ServiceState | None = None
        self._pods: dict[str, tuple[str, ...]] = {}
        self._replicas = facts.dns_replicas
        self._paths: dict[int, Path] = {}
        self._numbers: dict[Path, int] = {}
        self._trails: dict[Path, Trail] = {}
        self._known: set[Path] = set()
        self._origin: float | None = None
        self._ended: float | None = None
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    # ------------------------------------------------------------------------ its life

    def open(self) -> None:
        """Bring the agents up, and wait until every path has answered once.

        Raises:
            ClusterError: when there is nothing to ask from.

        """
        self._lay_out()
        self._progress(f"made {self.namespace}; waiting for its Pods")
        self._await_pods()
        agents = [Agent(node, partial(self._connect, node)) for node in self._pods]
        if self._outside is not None:
            argv = [*self._outside, *watch_objects.OUTSIDE_WATCHER]
            connect = partial(child_channel, argv, timeout=OPENING)
            agents.append(Agent(watch_objects.OUTSIDE, connect))
        self.agents = {agent.name: agent for agent in agents}
        self._lay_paths()
        for agent in agents:
            self._thread(partial(self._fetch_on, agent))
        for work in (self._follow_dns, self._renew):
            self._thread(work)
        self._progress(f"{len(self._pods)} Pods run; waiting until all paths answer")
        self._settle()

    def begin(self) -> None:
        """Count from now on; what has never answered yet is not judged."""
        with self._lock:
            self._origin = time.monotonic()
            self._trails = {
                path: Trail(known=path in self._known, address=old.address)
                for path, old in self._trails.items()
                if old.until is None
            }
            for agent in self.agents.values():
                agent.absences.clear()
                agent.covered = self._origin

    def end(self) -> None:
        """Count no more, and fetch what was seen until now."""
        with self._lock:
            self._ended = ended = time.monotonic()
        said = False
        while (waited := time.monotonic() - ended) < FETCH:
            late = [a.name for a in self.agents.values() if a.covered < ended]
            if not late or self._stopped.wait(0.1):
                return
            if waited > REPLY and not said:
                said = True
                self._progress(f"fetching what {', '.join(late)} saw")

    def close(self) -> list[str]:
        """Stop asking, and remove everything; give what is still terminating."""
        self._stopped.set()
        with ThreadPoolExecutor(len(self.agents) + 1) as pool:
            list(pool.map(Agent.hang_up, list(self.agents.values())))
        for thread in self._threads:
            thread.join(REPLY)
        return apply.remove(self._api, [self.namespace])

    # -------------------------------------------------------------------- what was seen

    @property
    def seconds(self) -> float:
        """For how long it has counted."""
        if self._origin is None:
            return 0.0
        return (self._ended or time.monotonic()) - self._origin

    def records(self, budgets: Mapping[Way, float]) -> list[Record]:
        """Judge every path by what is known by now, sorted."""
        with self._lock:
            return [
                record(
                    path,
                    trail,
                    self._known_until(path),
                    budgets,
                    self._absences(path),
                )
                for path, trail in sorted(self._trails.items())
            ]

    def _known_until(self, path: Path) -> float:
        if self._origin is None:
            return 0.0
        if self._ended is not None:
            return self._ended - self._origin
        return max(0.0, self.agents[path.source].covered - self._origin)

    def _absences(self, path: Path) -> list[Span]:
        """Say when those who may answer along a path could not."""
        who = {path.target} if path.way is Way.POD else set(self.agents)
        origin = self._origin or 0.0
        return [
            (start - origin, end - origin)
            for agent in self.agents.values()
            if agent.name in who and path.way is not Way.DNS
            for start, end in agent.absences
        ]

    def _take(self, agent: Agent, reply: Mapping[str, Any]) -> None:
        """Put what an agent saw onto the trails."""
        shift = agent.offset[1]
        with self._lock:
            for batch in reply["batches"]:
                agent.number = max(agent.number, batch["number"])
                for number, outcome, first, last, count in batch["runs"]:
                    run = Run(Outcome(outcome), first + shift, last + shift, count)
                    self._add(self._paths[number], run)
                for number, when, why in batch["broken"]:
                    self._break(self._paths[number], when + shift, Outcome(why))
                agent.absences += [(a + shift, b + shift) for a, b in batch["late"]]

    def _add(self, path: Path, run: Run) -> None:
        if run.outcome in GOOD:
            self._known.add(path)
        origin, ended = self._origin, self._ended
        trail = self._trails.get(path)
        if origin is None or trail is None:
            return
        first, last = max(run.first, origin), min(run.last, ended or run.last)
        if first <= last:
            share = run.count
            if (first, last) != (run.first, run.last):
                share = min(run.count, round((last - first) / EVERY) + 1)
            trail.add(Run(run.outcome, first - origin, last - origin, share))

    def _break(self, path: Path, when: float, why: Outcome) -> None:
        origin, trail = self._origin, self._trails.get(path)
        counts = origin is not None and origin <= when <= (self._ended or when)
        if trail is not None and counts:
            trail.broken.append((when - (origin or 0.0), why))

    # --------------------------------------------------------------------- the cluster

    def _lay_out(self) -> None:
        space = manifests.namespace(self._spec, self._key)
        apply.create_all(self._api, [("", space)])
        base = [
            manifests.service_account(self._spec),
            watch_objects.config_map(self._spec),
            watch_objects.service(self._spec),
        ]
        inside = [(self.namespace, item) for item in base]
        made = apply.create_all(self._api, inside)
        self._service = service_state(made[-1])
        daemons = watch_objects.daemon_set(self._spec, self._facts)
        apply.create_all(self._api, [(self.namespace, daemons)])

    def _listed(self) -> dict[str, dict[str, Any]]:
        """Give the Pod of each Node that has one."""
        path = f"{apply.CORE}/namespaces/{self.namespace}/pods"
        found = self._api.list(path)
        return {
            pod["spec"].get("nodeName", ""): pod
            for pod in found
            if "deletionTimestamp" not in pod["metadata"]
        }

    def _await_pods(self) -> None:
        deadline = time.monotonic() + self._waits.ready
        wanted = {node.name for node in self._facts.nodes}
        while True:
            pods = self._listed()
            ready = {node for node, pod in pods.items() if apply.is_ready(pod)}
            hopeless = {n: w for n, p in pods.items() if (w := apply.hopeless(p))}
            over = time.monotonic() > deadline or self._stopped.is_set()
            if wanted <= ready | hopeless.keys() or over:
                break
            time.sleep(LOOK)
        for node in sorted(wanted - ready):
            self.problems[node] = apply.why_not_ready(pods.get(node))
        for node in sorted(wanted & ready):
            self._pods[node] = addresses_of(pods[node])
        if not self._pods:
            why = next(iter(self.problems.values()), "it was stopped")
            raise ClusterError(f"no agent of the watch runs on any Node: {why}")
        if self.problems:
            nodes = ", ".join(self.problems)
            self._progress(f"no agent on {nodes}: {next(iter(self.problems.values()))}")

    def _connect(self, node: str) -> Channel:
        """Open a stream to the Pod that is on a Node now. Raises ClusterError."""
        pod = self._listed().get(node)
        if pod is None or not apply.runs(pod):
            raise StreamLost(f"no agent of the watch runs on {node}")
        found = exec_channel(
            self._api,
            self.namespace,
            pod["metadata"]["name"],
            "main",
            watch_objects.CONTROL,
            timeout=OPENING,
        )
        addresses = addresses_of(pod)
        if addresses and addresses != self._pods[node]:
            self._pods[node] = addresses
            self._lay_paths()
        return found

    def _lay_paths(self) -> None:
        """Say anew who is to ask whom; what is there already goes on."""
        with self._lock:
            made = self._service
            if made is None:
                return
            wanted = watch_objects.paths(
                self._facts,
                self._pods,
                made,
                self._replicas,
                outside=watch_objects.OUTSIDE in self.agents,
            )
            now = time.monotonic() - self._origin if self._origin else 0.0
            # An agent is told so when it is asked next.
            begin = now + PERIOD if self._origin else 0.0
            orders: dict[str, dict[int, dict[str, Any]]] = {n: {} for n in self.agents}
            for path, request in wanted.items():
                number = self._numbers.setdefault(path, len(self._numbers) + 1)
                self._paths[number] = path
                trail = self._trails.setdefault(path, Trail(since=begin))
                if trail.until is not None:
                    trail.away.append((trail.until, begin))
                trail.address, trail.until = request["address"], None
                orders[path.source][number] = request
            for path in self._trails.keys() - wanted.keys():
                trail = self._trails[path]
                trail.until = now if trail.until is None else trail.until
            for name, agent in self.agents.items():
                agent.wanted = orders[name]

    def _follow_dns(self) -> None:
        """Ask the name servers that there are: an upgrade replaces them."""
        while not self._stopped.wait(PERIOD):
            with suppress(ClusterError):
                found = dns_replicas(self._api, self._facts.families)
                if found != self._replicas:
                    self._replicas = found
                    self._lay_paths()

    def _renew(self) -> None:
        path = f"{apply.CORE}/namespaces/{self.namespace}"
        while not self._stopped.wait(RENEW):
            until = {manifests.EXPIRES: str(int(time.time()) + LIFETIME)}
            with suppress(ClusterError):
                self._api.patch(path, {"metadata": {"annotations": until}})

    # ---------------------------------------------------------------------- the agents

    def _thread(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="k8snet watch", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _fetch_on(self, agent: Agent) -> None:
        """Fetch what an agent saw, again and again, whatever becomes of the stream."""
        failed = 0
        pause = 0.0
        while not self._stopped.wait(pause):
            try:
                self._fetch(agent)
            except ClusterError as error:
                if not agent.problem:
                    self._progress(f"lost the stream to {agent.name}: {error}")
                agent.problem = str(error)
                agent.hang_up()
                pause = PAUSES[min(failed, len(PAUSES) - 1)]
                failed += 1
                continue
            if agent.problem:
                self._progress(f"the stream to {agent.name} is back")
            agent.problem, failed = "", 0
            pause = PERIOD if self._ended is None else EVERY
        agent.hang_up()

    def _fetch(self, agent: Agent) -> None:
        wanted = agent.wanted
        if wanted and agent.sent != (agent.incarnation, wanted):
            told, *_ = agent.ask(op="watch", paths=wanted)
            self._note_life(agent, told["incarnation"])
            agent.sent = (agent.incarnation, wanted)
        known = {"after": agent.number, "incarnation": agent.incarnation}
        reply, before, after = agent.ask(op="fetch", **known)
        if reply["incarnation"] != agent.incarnation:
            self._note_life(agent, reply["incarnation"])
            return
        # Half of what both ways took is the most by which this may be wrong.
        middle = (before + after) / 2 - reply["now"]
        unsure, offset = agent.offset
        measured = ((after - before) / 2, middle)
        agent.offset = min((unsure + DRIFT, offset), measured)
        self._take(agent, reply)
        # A question is noted once its outcome is known.
        agent.covered = before - ANSWER

    def _note_life(self, agent: Agent, incarnation: str) -> None:
        """Begin anew with an agent that was restarted: what it saw is lost with it."""
        if agent.incarnation and agent.incarnation != incarnation:
            with self._lock:
                agent.absences.append((agent.covered, time.monotonic()))
            agent.number, agent.offset = 0, (float("inf"), 0.0)
        agent.incarnation = incarnation

    def _settle(self) -> None:
        """Wait until every path has answered once."""
        deadline = time.monotonic() + SETTLE
        while silent := self._silent():
            if self._stopped.wait(0.1):
                return
            if time.monotonic() > deadline:
                self._say_silent(silent)
                return

    def _silent(self) -> list[Path]:
        with self._lock:
            return sorted(self._trails.keys() - self._known)

    def _say_silent(self, silent: Sequence[Path]) -> None:
        if not self._known:
            why = next((a.problem for a in self.agents.values() if a.problem), "")
            raise ClusterError(f"no path answers at all{why and f': {why}'}")
        more = f" and {len(silent) - 1} more" if len(silent) > 1 else ""
        self._progress(f"not judged, as without an answer: {silent[0]}{more}")


def addresses_of(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """Give a Pod's addresses."""
    return tuple(a["ip"] for a in pod.get("status", {}).get("podIPs") or ())
