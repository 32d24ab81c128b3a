"""Asks everything at once, and takes what comes in time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_k8snet import manifests
from pytest_k8snet.cluster.discover import pod_addresses
from pytest_k8snet.cluster.errors import ApiError, ClusterError
from pytest_k8snet.diagnose import PRIVILEGED, Answer, Look, Question
from pytest_k8snet.evidence import filters, objects, programmed
from pytest_k8snet.evidence.inspectors import Inspectors
from pytest_k8snet.model import Actor, Outcome, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_k8snet.cluster.api import Api
    from pytest_k8snet.cluster.channel import Channel
    from pytest_k8snet.manifests import LabSpec
    from pytest_k8snet.model import ClusterFacts, Scene

WORKERS = 16
MARGIN = 0.5
"""Seconds at the end of the time that are left to take what came."""

UNREACHED = frozenset({Look.SETTINGS, Look.KUBELET})
"""What an inspector leaves behind, so that it is known even without a stream."""

INSPECTED = PRIVILEGED | UNREACHED
"""What an inspector tells, where there is one."""

MOST_INSPECTED = 8
"""Privileged Pods, at most: where more Nodes are suspect, none of them is special."""

TRACE_SECONDS = 1.5
LOOK_SECONDS = 5.0
SYSTEM = DNS_PODS = "/api/v1/namespaces/kube-system/pods"
SLICES = "/apis/discovery.k8s.io/v1"
COREFILE = "/api/v1/namespaces/kube-system/configmaps/coredns"
NEEDS_INSPECTOR = "only --k8snet-inspect-nodes lets us see that"

Values = tuple[str, ...]
Items = list[dict[str, Any]]


@dataclass(frozen=True)
class Sources:
    """Where evidence comes from.

    Attributes:
        api: the client.
        facts: what discovery found.
        spec: what all objects of the run have in common.
        scene: gives what names stand for.
        channels: the agents' control streams, by actor.
        hopeless: Nodes to which none began, each with why.

    """

    api: Api
    facts: ClusterFacts
    spec: LabSpec
    scene: Callable[[], Scene]
    channels: Mapping[Actor, Channel]
    hopeless: Mapping[str, ClusterError] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def services(self) -> tuple[Items, Items, Items]:
        """Give the run's Services, their slices and its Pods, listed once."""
        with self._lock:
            return self._services

    @cached_property
    def _services(self) -> tuple[Items, Items, Items]:
        selector = f"{manifests.RUN}={self.spec.run}"
        ours = ("/api/v1/services", "/api/v1/pods")
        services, pods = (self.api.list(p, labelSelector=selector) for p in ours)
        namespaces = {one["metadata"]["namespace"] for one in services}
        paths = (f"{SLICES}/namespaces/{n}/endpointslices" for n in sorted(namespaces))
        return services, [one for path in paths for one in self.api.list(path)], pods


def gather(
    questions: Iterable[Question], sources: Sources, *, inspect: bool, seconds: float
) -> dict[Question, Answer]:
    """Answer what can be answered within some seconds; say of the rest why not.

    Args:
        questions: what to look at.
        sources: where.
        inspect: whether to make a privileged Pod on each Node of privileged questions.
        seconds: for all of it.

    """
    asked = list(questions)
    end = time.monotonic() + seconds - MARGIN
    suspect = dict.fromkeys(q.node for q in asked if q.look in INSPECTED)
    nodes = list(suspect)[:MOST_INSPECTED] if inspect else []
    late = Answer(problem=f"not within {seconds:g} s")
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="k8snet evidence")
    inspectors = Inspectors(sources.api, sources.spec, nodes, sources.hopeless)
    try:
        inspectors.create()
        answers = {
            question: pool.submit(_answer, question, sources, inspectors, end)
            for question in asked
        }
        wait(answers.values(), max(0.0, end - time.monotonic()))
        return {q: a.result() if a.done() else late for q, a in answers.items()}
    finally:
        inspectors.remove()
        pool.shutdown(wait=False, cancel_futures=True)


def _answer(
    question: Question, sources: Sources, inspectors: Inspectors, end: float
) -> Answer:
    try:
        if question.look in OF_API:
            return Answer(OF_API[question.look](question, sources))
        return Answer(_from_agent(question, sources, inspectors, end))
    except ClusterError as error:
        if question.look in UNREACHED and inspectors.on(question.node):
            return inspectors.left_behind(question.look, question.node, end)
        return Answer(problem=str(error))
    except Exception as error:  # noqa: BLE001 - a bug must not hide the results
        return Answer(problem=f"internal error: {error!r}")


# -------------------------------------------------------------------------- from agents


def _from_agent(
    question: Question, sources: Sources, inspectors: Inspectors, end: float
) -> Values:
    actor = Actor(AGENTS.get(question.look, Role.HOST), question.node)
    channel = sources.channels.get(actor)
    if question.look in PRIVILEGED or (channel is None and actor.role is Role.HOST):
        channel = inspectors.channel(question.node, end)
    if channel is None:
        need = NEEDS_INSPECTOR if question.look in PRIVILEGED else ""
        raise ClusterError(need or f"{actor} does not run")
    return OF_AGENTS.get(question.look, _look)(question, channel, sources)


def _told(channel: Channel, request: Mapping[str, Any]) -> Values:
    reply = channel.submit([request])[0].result()
    if reply["outcome"] != Outcome.ANSWERED:
        raise ClusterError(f"{reply['outcome']}: {reply.get('detail', '')}")
    return tuple(reply["values"])


def _look(
    question: Question, channel: Channel, sources: Sources, **more: Any
) -> Values:
    del sources
    request = {"op": "look", "what": str(question.look), "timeout": LOOK_SECONDS}
    return _told(channel, request | {"address": question.thing} | more)


def _trace(question: Question, channel: Channel, sources: Sources) -> Values:
    del sources
    request = {"op": "trace", "address": question.thing, "timeout": TRACE_SECONDS}
    return _told(channel, request)


def _health(question: Question, channel: Channel, sources: Sources) -> Values:
    (address, *_) = sources.facts.node(question.node).addresses
    return _look(question, channel, sources, address=address)


def _rules(question: Question, channel: Channel, sources: Sources) -> Values:
    lines = _look(question, channel, sources)
    services, slices, _ = sources.services()
    return (*filters.rules(lines), *programmed.served(lines, services, slices))


def _flows(question: Question, channel: Channel, sources: Sources) -> Values:
    services, slices, _ = sources.services()
    addresses = sorted(programmed.addresses(services, "UDP"))
    found = _look(question, channel, sources, addresses=addresses)
    return programmed.led_astray(found, services, slices)


AGENTS = {Look.TRACE: Role.CLIENT}
"""Who looks, where it is not the host-network Pod, or the inspector."""

OF_AGENTS: Mapping[Look, Callable[[Question, Channel, Sources], Values]] = {
    Look.HEALTH: _health,
    Look.TRACE: _trace,
    Look.RULES: _rules,
    Look.FLOWS: _flows,
}
"""How it is looked, where more is needed than what the agent sees."""


# ---------------------------------------------------------------------- from the API


def _node(question: Question, sources: Sources) -> dict[str, Any]:
    # Listed, because that is all that the run may do with Nodes.
    name = f"metadata.name={question.node}"
    found = sources.api.list("/api/v1/nodes", fieldSelector=name)
    if not found:
        raise ClusterError(f"there is no Node {question.node}")
    return found[0]


def _events(question: Question, sources: Sources) -> Values:
    names = sorted(sources.scene().namespaces.values())
    found = [
        event
        for name in names
        for event in sources.api.list(
            f"/api/v1/namespaces/{name}/events", fieldSelector="type=Warning"
        )
    ]
    return objects.events(found, question.node)


def _forward(question: Question, sources: Sources) -> Values:
    del question
    config = sources.api.get(COREFILE)
    logs = []
    with suppress(ApiError):  # Without permission it is only less to say.
        for pod in sources.api.list(DNS_PODS, labelSelector="k8s-app=kube-dns"):
            path = f"{DNS_PODS}/{pod['metadata']['name']}/log"
            logs.append(sources.api.text(path, tailLines=20, sinceSeconds=120))
    return objects.forward(config.get("data", {}).get("Corefile", ""), "\n".join(logs))


OF_API: Mapping[Look, Callable[[Question, Sources], Values]] = {
    Look.CONDITIONS: lambda q, s: objects.conditions(_node(q, s)),
    Look.TUNNEL: lambda q, s: objects.tunnel(_node(q, s)),
    Look.EVENTS: _events,
    Look.WORKLOADS: lambda q, s: objects.workloads(s.api.list(SYSTEM), q.node),
    Look.RANGES: lambda _, s: objects.ranges(s.facts, pod_addresses(s.api)),
    Look.SERVICE: lambda q, s: objects.service(q.thing, *s.services()),
    Look.FORWARD: _forward,
}
