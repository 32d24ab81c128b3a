"""The lab for people's own tests: Pods, Services and questions, on demand.

What the fixture ``k8snet`` gives. Everything lies in a namespace of its own that
goes with the run.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_k8snet import manifests, pod_manifests, service_manifests
from pytest_k8snet.cluster import apply
from pytest_k8snet.cluster.channel import Channel, exec_channel
from pytest_k8snet.cluster.errors import ApiError
from pytest_k8snet.model import Inconclusive, Outcome, Protocol, Word
from pytest_k8snet.outages import PROFILES, Way
from pytest_k8snet.watched import Watched
from pytest_k8snet.watching import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_k8snet.cluster.api import Api
    from pytest_k8snet.manifests import LabSpec
    from pytest_k8snet.model import ClusterFacts
    from pytest_k8snet.outages import Outage, Path
    from pytest_k8snet.stage import Waits

PORT = 80


@dataclass(frozen=True)
class ProbePod:
    """A Pod of ours that answers and asks.

    Attributes:
        name: as asked for.
        namespace: where it is.
        node: where it runs.
        addresses: its Pod IPs, the primary one first.
        port: where it answers, TCP and UDP.

    """

    name: str
    namespace: str
    node: str
    addresses: tuple[str, ...]
    port: int = manifests.PORTS["main/tcp"]

    def __str__(self) -> str:
        """Give what ``connect`` dials."""
        address = self.addresses[0]
        return (
            f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"
        )


@dataclass(frozen=True)
class Seen:
    """What one connection saw.

    Attributes:
        outcome: connected, refused, timed out, ...: see ``Outcome``.
        answered_by: the probe Pod that answered; "" when the server is not ours.
        peer: the client's address as the server saw it; "" likewise.
        source_preserved: whether that is the client Pod's own; None likewise.
        seconds: how long it took.
        detail: errno name or a word of explanation.

    """

    outcome: Outcome
    answered_by: str = ""
    peer: str = ""
    source_preserved: bool | None = None
    seconds: float = 0.0
    detail: str = ""

    @property
    def connected(self) -> bool:
        """Whether the connection was made, and answered if the server is ours."""
        return self.outcome is Outcome.CONNECTED


class Watching:
    """What a watch sees: see ``Workbench.watch``.

    Attributes:
        started: in seconds since the epoch.

    """

    def __init__(self, watch: Watch, budgets: Mapping[Way, float]) -> None:
        self.started = 0.0
        self._watch = watch
        self._budgets = budgets

    @property
    def outages(self) -> tuple[tuple[Path, Outage], ...]:
        """Every outage so far with its path, the longest first."""
        return self.watched.outages

    @property
    def watched(self) -> Watched:
        """All that is known by now."""
        return Watched(
            records=tuple(self._watch.records(self._budgets)),
            budgets=self._budgets,
            started=self.started,
            seconds=self._watch.seconds,
            problems=self._watch.problems,
        )

    def judge(self) -> None:
        """Raise, with the tables, when a path was out too long, or may have been."""
        from pytest_k8snet.report.watch_text import tables  # noqa: PLC0415

        watched = self.watched
        if watched.word is Word.FAIL:
            raise AssertionError(tables(watched))
        if watched.word is not Word.PASS:
            raise Inconclusive(tables(watched))


class Workbench:
    """Probe Pods and Services on demand, and what they see.

    Args:
        api: the client.
        spec: the run's.
        facts: what discovery found.
        waits: the user's time-outs.
        key: tells apart the workers' namespaces.
        outside: argv prefix that runs a command outside.

    """

    def __init__(
        self,
        api: Api,
        spec: LabSpec,
        facts: ClusterFacts,
        waits: Waits,
        key: str,
        outside: Sequence[str] = (),
    ) -> None:
        self.facts = facts
        self.namespace = spec.namespace(key)
        self._api = api
        self._spec = spec
        self._key = key
        self._waits = waits
        self._outside = outside
        self._watches = 0
        self._pods: dict[str, ProbePod] = {}
        self._channels: dict[str, Channel] = {}
        self._services: set[str] = set()
        self._laid_out = False

    def pod(
        self,
        name: str,
        *,
        node: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> ProbePod:
        """Give the probe Pod of that name, made at its first use.

        Args:
            name: of the Pod.
            node: where it has to run; None leaves it to the scheduler.
            labels: for NetworkPolicies and Services of your own; of the first use.

        Raises:
            Inconclusive: when it does not become ready in time, with why.
            ValueError: when it was made already, on another Node.

        """
        if name in self._pods:
            made = self._pods[name]
            if node not in {None, made.node}:
                raise ValueError(f"Pod {name} runs on {made.node}, not on {node}")
            return made
        self._lay_out()
        item = pod_manifests.probe_pod(self._spec, name, node, dict(labels or {}))
        apply.create_all(self._api, [(self.namespace, item)])
        ready, _, problem = next(
            apply.pods_as_they_settle(
                self._api,
                self._spec.run,
                [(self.namespace, name)],
                apply.is_ready,
                apply.Patience(self._waits.ready),
            )
        )
        if ready is None or problem:
            raise Inconclusive(f"Pod {name} is not ready: {problem}")
        self._channels[name] = exec_channel(
            self._api,
            self.namespace,
            name,
            "main",
            [*manifests.CONTROL, "--name", name],
            timeout=self._waits.connect,
        )
        self._pods[name] = ProbePod(
            name=name,
            namespace=self.namespace,
            node=ready["spec"]["nodeName"],
            addresses=tuple(a["ip"] for a in ready["status"]["podIPs"]),
        )
        return self._pods[name]

    def service(self, name: str, backend: str, *, port: int = PORT) -> str:
        """Make a Service in front of a probe Pod, TCP and UDP.

        Returns its full DNS name with the port, for ``connect``.
        """
        pod = self.pod(backend)
        item = service_manifests.probe_service(
            self._spec, name, backend, port, pod.port
        )
        apply.create_all(self._api, [(self.namespace, item)])
        host = f"{name}.{self.namespace}.svc.{self.facts.domain}"
        self._services.add(host)
        return f"{host}:{port}"

    def connect(
        self,
        source: str,
        to: str | ProbePod,
        *,
        protocol: str = "tcp",
        timeout: float = 4.0,
    ) -> Seen:
        """Connect from a probe Pod.

        Args:
            source: name of the probe Pod, made when there is none.
            to: a probe Pod, or ``host:port``; hosts are resolved in the Pod.
            protocol: tcp or udp; udp only to what is ours, which answers.
            timeout: seconds after which the connection counts as timed out.

        Raises:
            Inconclusive: when the question could not be asked.
            ValueError: for a target without a port, or udp to a foreign server.

        """
        client = self.pod(source)
        host, port = split(str(to))
        ours = isinstance(to, ProbePod) or host in self._services
        if Protocol(protocol) is Protocol.UDP and not ours:
            raise ValueError(f"only a probe Pod answers UDP, {to} may not")
        asked = {"op": "connect", "protocol": protocol, "port": port}
        asked |= {"address": host} if is_address(host) else {"name": host}
        reply = self._ask(source, asked | {"timeout": timeout, "handshake": not ours})
        peer = reply.get("peer") or ""
        return Seen(
            outcome=Outcome(reply["outcome"]),
            answered_by=reply.get("who") or "",
            peer=peer,
            source_preserved=peer in client.addresses if peer else None,
            seconds=reply.get("seconds", 0.0),
            detail=reply.get("detail", ""),
        )

    def resolve(
        self, source: str, name: str, record: str = "A", *, timeout: float = 4.0
    ) -> tuple[str, ...]:
        """Ask the cluster DNS from a probe Pod; () when the name does not exist.

        Args:
            source: name of the probe Pod, made when there is none.
            name: a full name: the search list is not used.
            record: A, AAAA, SRV, PTR, CNAME or TXT.
            timeout: seconds to wait.

        Raises:
            Inconclusive: when no answer came.

        """
        self.pod(source)
        asked = {"op": "dns", "name": name, "type": record, "timeout": timeout}
        reply = self._ask(source, asked)
        outcome = Outcome(reply["outcome"])
        if outcome not in {Outcome.ANSWERED, Outcome.NAME_NOT_FOUND}:
            detail = reply.get("detail", "")
            raise Inconclusive(f"{name} {record} from {source}: {outcome} {detail}")
        return tuple(reply.get("values") or ())

    @contextmanager
    def watch(
        self, budget: Mapping[str, float] | None = None, *, profile: str = "upgrade"
    ) -> Iterator[Watching]:
        """Ask along every path of the cluster while something goes on.

        Args:
            budget: seconds that a kind of path (pod, service, nodeport, dns) may be
                out at a time, where it is not what the profile allows.
            profile: upgrade, or strict.

        Raises:
            AssertionError: at the end, when a path was out for longer.
            Inconclusive: at the end, when that could not be told.
            ValueError: for a kind or a profile that there is not.

        """
        if profile not in PROFILES:
            raise ValueError(f"{profile!r} should be one of {', '.join(PROFILES)}")
        own = {Way(kind): float(value) for kind, value in (budget or {}).items()}
        self._watches += 1
        watch = Watch(
            self._api,
            self._spec,
            self.facts,
            self._waits,
            outside=self._outside,
            key=f"{self._key}-watch-{self._watches}",
        )
        watching = Watching(watch, {**PROFILES[profile], **own})
        try:
            watch.open()
            watch.begin()
            watching.started = time.time()
            yield watching
            watch.end()
            watching.judge()
        finally:
            with suppress(ApiError):  # the end of the run says so
                watch.close()

    def close(self) -> None:
        """Remove everything."""
        for channel in self._channels.values():
            channel.close()
        if self._laid_out:
            with suppress(ApiError):  # the end of the run says so
                apply.remove(self._api, [self.namespace])

    def _ask(self, source: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        reply = self._channels[source].submit([request])[0].result()
        if Outcome(reply["outcome"]) is Outcome.NOT_PROBED:
            raise Inconclusive(f"{source}: not probed: {reply.get('detail', '')}")
        return reply

    def _lay_out(self) -> None:
        if self._laid_out:
            return
        self._laid_out = True
        space = manifests.namespace(self._spec, self._key)
        apply.create_all(self._api, [("", space)])
        inside = [
            manifests.service_account(self._spec),
            manifests.agent_config_map(self._spec),
        ]
        apply.create_all(self._api, [(self.namespace, item) for item in inside])


def split(target: str) -> tuple[str, int]:
    """Split ``host:port``; an IPv6 address stands in brackets."""
    host, colon, port = target.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"{target!r} should be host:port, such as db.prod:5432")
    return host.strip("[]"), int(port)


def is_address(host: str) -> bool:
    """Whether a host is an address rather than a name."""
    return ":" in host or host.replace(".", "").isdigit()
