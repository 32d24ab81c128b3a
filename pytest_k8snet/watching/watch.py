"""What is made in a cluster to watch it, and how long that lives.

The agents keep the pace by themselves. Streams to them come and go as kubelets and
API servers are restarted: what was seen meanwhile is fetched over the next one.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_k8snet import manifests, watch_objects
from pytest_k8snet.cluster import apply
from pytest_k8snet.cluster.channel import child_channel, exec_channel
from pytest_k8snet.cluster.discover import dns_replicas
from pytest_k8snet.cluster.errors import ClusterError, StreamLost
from pytest_k8snet.entries import service_state

from .agents import REPLY, Agent
from .seen import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_k8snet.cluster.api import Api
    from pytest_k8snet.cluster.channel import Channel
    from pytest_k8snet.manifests import LabSpec
    from pytest_k8snet.model import ClusterFacts, ServiceState
    from pytest_k8snet.outages import Path, Record, Way
    from pytest_k8snet.stage import Waits

PERIOD = 1.0
"""Seconds between two times that an agent is asked what it saw."""

PAUSES = (0.5, 1.0, 2.0)
"""Seconds until a lost stream is opened again; the last one again and again."""

OPENING = 5.0
"""Seconds for a stream to open again: in vain, it is tried once more."""

SETTLE = 15.0
"""Seconds for every path to answer once before the watch begins."""

FETCH = 30.0
"""Seconds, at the end, for streams that were lost to come back."""

RENEW = 600.0
"""Seconds after which it is said anew that nobody may remove what is ours."""

LIFETIME = 3600
LOOK = 0.3


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
        self._seen = Seen()
        self._laying = threading.Lock()
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
        self._seen.begin(time.monotonic())

    def end(self) -> None:
        """Count no more, and fetch what was seen until now."""
        self._seen.ended = ended = time.monotonic()
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

    @property
    def seconds(self) -> float:
        """For how long it has counted."""
        begun = self._seen.begun
        return (self._seen.ended or time.monotonic()) - begun if begun else 0.0

    def records(self, budgets: Mapping[Way, float]) -> list[Record]:
        """Judge every path by what is known by now, sorted."""
        return self._seen.records(self.agents, budgets)

    # --------------------------------------------------------------------- the cluster

    def _lay_out(self) -> None:
        space = manifests.namespace(self._spec, self._key)
        apply.create_all(self._api, [("", space)])
        base = [
            manifests.service_account(self._spec),
            manifests.agent_config_map(self._spec),
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
            pod = pods.get(node)
            self.problems[node] = hopeless.get(node) or apply.why_not_ready(pod)
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
        # Its Pod may come back with other addresses.
        found.open_once()
        addresses = addresses_of(pod)
        if addresses and addresses != self._pods[node]:
            self._pods[node] = addresses
            self._lay_paths()
            self.agents[node].moved = time.monotonic() + PERIOD + REPLY
        return found

    def _lay_paths(self) -> None:
        """Say anew who is to ask whom; what is there already goes on."""
        if self._service is None:
            return
        with self._laying:
            wanted = watch_objects.paths(
                self._facts,
                self._pods,
                self._service,
                self._replicas,
                outside=watch_objects.OUTSIDE in self.agents,
            )
            orders = self._seen.lay(wanted, time.monotonic(), PERIOD)
            for name, agent in self.agents.items():
                agent.wanted = orders.get(name, {})

    def _follow_dns(self) -> None:
        """Ask the name servers that there are: an upgrade replaces them."""
        while not self._stopped.wait(PERIOD) and self._seen.ended is None:
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
            pause = PERIOD if self._seen.ended is None else LOOK
        agent.hang_up()

    def _fetch(self, agent: Agent) -> None:
        batches, covered = agent.fetch()
        shift = agent.offset[1]
        self._seen.take(batches, shift)
        agent.absences += [
            (start + shift, end + shift)
            for batch in batches
            for start, end in batch["late"]
        ]
        agent.covered = covered

    def _settle(self) -> None:
        """Wait until every path has answered once."""
        deadline = time.monotonic() + SETTLE
        while silent := self._seen.silent():
            if self._stopped.wait(0.1):
                return
            if time.monotonic() > deadline:
                self._say_silent(silent)
                return

    def _say_silent(self, silent: Sequence[Path]) -> None:
        if not self._seen.answered:
            why = next((a.problem for a in self.agents.values() if a.problem), "")
            raise ClusterError(f"no path answers at all{why and f': {why}'}")
        more = f" and {len(silent) - 1} more" if len(silent) > 1 else ""
        self._progress(f"not judged, as without an answer: {silent[0]}{more}")


def addresses_of(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """Give a Pod's addresses."""
    return tuple(a["ip"] for a in pod.get("status", {}).get("podIPs") or ())
