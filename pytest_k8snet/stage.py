"""What a run has in the cluster: made, brought up, changed, and always described.

The scene says what every name stands for. It is replaced, never changed, as Pods
come and go.
"""

from __future__ import annotations

import shlex
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_k8snet import (
    access,
    manifests,
    pod_manifests,
    policies,
    publishing,
    service_manifests,
)
from pytest_k8snet.cluster import apply
from pytest_k8snet.cluster.channel import child_channel
from pytest_k8snet.cluster.discover import dns_replicas, family_of, pod_addresses
from pytest_k8snet.cluster.errors import ApiError, ClusterError, Conflict
from pytest_k8snet.cluster.openings import Openings
from pytest_k8snet.entries import service_state
from pytest_k8snet.model import (
    BUDGETS,
    Actor,
    Outcome,
    PodState,
    Role,
    Scene,
)
from pytest_k8snet.plan import asks_of, nodes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_k8snet.cluster.api import Api
    from pytest_k8snet.manifests import LabSpec
    from pytest_k8snet.model import Change, Kind, Policy, Service
    from pytest_k8snet.plan import Plan

GRACE = 30
"""Seconds a terminating Pod has: far more than it is watched for."""

END = {"op": "restart", "timeout": 2.0}
"""What has a container's first process end."""

OUTSIDE = Actor(Role.OUTSIDE)
OUTSIDE_AGENT = (*manifests.OUR_PYTHON, manifests.OUR_MODULE)


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


class Stage:
    """The Pods, Services and agents of one run.

    Args:
        api: the client.
        plan: what to lay out.
        spec: what its objects have in common.
        waits: the user's time-outs.

    Attributes:
        scene: what every name stands for, as of now.
        channels: the agents' control streams.
        problems: what does not run, each with why.
        unready: what runs and does not become ready, each with why.

    """

    def __init__(self, api: Api, plan: Plan, spec: LabSpec, waits: Waits) -> None:
        self.scene = Scene(
            facts=plan.facts,
            namespaces={key: spec.namespace(key) for key in manifests.NAMESPACES},
            host_port=spec.host_port,
        )
        self.problems: dict[str, str] = {}
        self.unready: dict[str, str] = {}
        self._api = api
        self._plan = plan
        self._spec = spec
        self._waits = waits
        self._openings = Openings(api, waits.connect)
        self.channels = self._openings.channels
        self._lock = threading.Lock()
        self._late: dict[Role, Future[None]] = {}
        self._stopped = threading.Event()
        # Pods of ours that did not start, or did not become ready, by name.
        self._given_up: dict[str, Actor] = {}
        # A container that only answers needs no control stream.
        asks = [a for c in plan.checks for a in asks_of(c.check.rule)]
        self._asking = {(a.source, a.container) for a in asks}
        self._asking |= {(role, "main") for role in Role}
        self._with_sibling = {a.source for a in asks if a.to.port == "sibling"}

    @property
    def hopeless(self) -> Mapping[str, ClusterError]:
        """Nodes to which no control stream is tried any more, each with why."""
        return self._openings.hopeless

    def close(self) -> None:
        """End every control stream. The caller removes what is in the cluster."""
        self._stopped.set()
        for channel in list(self.channels.values()):
            channel.close()

    # ------------------------------------------------------------------------- set up

    def lay_out(self, roles: Iterable[Role]) -> str:
        """Create namespaces, the Pods of these roles and all Services.

        A Service that cannot be made is no reason not to make the others.

        Returns what was made, in words.
        """
        keys = access.namespace_keys(self._plan)
        apply.create_all(
            self._api, [("", manifests.namespace(self._spec, key)) for key in keys]
        )
        base = (manifests.service_account, manifests.agent_config_map)
        apply.create_all(
            self._api,
            [(self._spec.namespace(k), make(self._spec)) for k in keys for make in base]
            # Before the Pods that they select.
            + [self._policy(p) for p in self._plan.policies if not p.names_outside],
        )
        for role in roles:
            self._late[role] = Future()
            self._late[role].set_result(None)
        pods = [item for role in sorted(roles) for item in self._pod_items(role)]
        wanted = [
            (service, item)
            for service in self._plan.services
            if not service.balanced
            for item in service_manifests.services(
                self._spec, service, self._plan.facts
            )
        ]
        services = [
            (self._spec.namespace(manifests.NAMESPACE_OF[service.role]), item)
            for service, item in wanted
        ]
        # Pods first: they take longest.
        made = apply.create_each(self._api, pods + services)
        for one in made[: len(pods)]:
            apply.or_raise(one)
        there, unmade = {}, {}
        for (service, item), one in zip(wanted, made[len(pods) :], strict=True):
            if isinstance(one, ApiError):
                unmade[service.name] = str(one)
            else:
                there[item["metadata"]["name"]] = service_state(one)
        self._replace(services=there, unmade=unmade)
        return f"{len(keys)} namespaces, {len(pods)} Pods, {len(there)} Services"

    def _pod_items(self, role: Role) -> list[tuple[str, dict[str, Any]]]:
        namespace = self._spec.namespace(manifests.NAMESPACE_OF[role])
        return [
            (namespace, self._pod_item(role, rank))
            for rank in access.ranks(role, self._plan)
        ]

    def _pod_item(self, role: Role, rank: int) -> dict[str, Any]:
        first = ""
        target = self.scene.pod(Role.CLIENT, self._node(rank))
        if role is Role.NEWCOMER and target and target.addresses:
            first = f"{target.addresses[0]} {target.ports['main/tcp']}"
        siblings = role in self._with_sibling
        facts = self._plan.facts
        return pod_manifests.pod(
            self._spec, role, rank, facts, first, siblings=siblings
        )

    def bring_up(self, roles: Iterable[Role]) -> None:
        """Wait for the Pods of these roles, and open their agents as they come.

        What does not come up is in ``problems``: its probes are not probed.
        """
        places = {
            (namespace, item["metadata"]["name"]): (role, self._node(rank))
            for role in roles
            for rank, (namespace, item) in enumerate(self._pod_items(role))
        }

        def counts_as_ready(pod: dict[str, Any]) -> bool:
            key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
            if places.get(key, (None,))[0] is Role.UNREADY:
                return apply.is_running(pod)
            return apply.is_ready(pod)

        fruitless = {actor.node for actor in self._given_up.values()}
        settling = apply.pods_as_they_settle(
            self._api,
            self._spec.run,
            list(places),
            counts_as_ready,
            apply.Patience(
                self._waits.ready,
                self._stopped.is_set,
                doubted=[k for k, (_, node) in places.items() if node in fruitless],
                unheard=lambda key: places[key][1] in self.hopeless,
            ),
        )
        with ThreadPoolExecutor(apply.WORKERS) as pool:
            opening = []
            for pod, key, problem in settling:
                role, node = places[key]
                if problem:
                    self._note_problem(
                        Actor(role, node), key, problem, runs=pod is not None
                    )
                if pod is not None:
                    opening.append(pool.submit(self._adopt, role, node, pod))
                if self._stopped.is_set():
                    break
            for one in opening:
                one.result()
        if self._stopped.is_set():
            raise ClusterError("the run was stopped")

    def _note_problem(
        self, actor: Actor, key: tuple[str, str], problem: str, *, runs: bool
    ) -> None:
        """Note why a Pod is not ready, and that it got no network, if it did not."""
        self._given_up[key[1]] = actor
        if runs:
            self.unready[str(actor)] = problem
            return
        why = ""
        with suppress(ClusterError):  # without permission nothing more is known
            why = apply.sandbox_failure(self._api, *key)
        self.problems[str(actor)] = why or problem
        if why:
            entry = actor.node, f"{key[1]}: {why}"
            self._replace(without_address=(*self.scene.without_address, entry))

    def look_again(self) -> None:
        """See which of the Pods that were given up have come to be meanwhile.

        They are judged by that, though nobody waits for them any more. Raises
        ClusterError.
        """
        if not self._given_up:
            return
        selector = f"{manifests.RUN}={self._spec.run}"
        pods = self._api.list(f"{apply.CORE}/pods", labelSelector=selector)
        late = {name_of(p): p for p in pods if name_of(p) in self._given_up}
        ready = {name for name, pod in late.items() if apply.is_ready(pod)}
        for name in ready:
            self.unready.pop(str(self._given_up[name]), None)
        addressed = {n for n, pod in late.items() if pod["status"].get("podIPs")}
        lacking = (
            (node, why)
            for node, why in self.scene.without_address
            if why.partition(":")[0] not in addressed
        )
        self._replace(
            ready_pods=self.scene.ready_pods | ready, without_address=tuple(lacking)
        )

    def _node(self, rank: int) -> str:
        return self._plan.facts.nodes[rank].name

    def _adopt(self, role: Role, node: str, pod: dict[str, Any]) -> None:
        """Open the agents of a Pod that runs, and put it on the scene."""
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        ports: dict[str, int] = {}
        for container in containers(pod):
            actor = Actor(role, node, container)
            try:
                listening = self._open(actor, namespace, name)
            except ClusterError as error:
                self.problems[str(actor)] = str(error)
                continue
            ports |= {named(container, port): n for port, n in listening.items()}
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
        """Open a container's control stream, and give the ports it listens on."""
        if (actor.role, actor.container) not in self._asking:
            rank = self.scene.rank(actor.node)
            return manifests.ports_of(actor.role, rank, actor.container)
        if self._stopped.is_set():
            raise ClusterError("the run was stopped")
        return self._openings.open(actor, namespace, pod).ports

    def open_outside(self, prefix: Sequence[str]) -> None:
        """Start the agent outside; PREFIX is what runs a command there."""
        agent = [*prefix, *OUTSIDE_AGENT]
        self._replace(outside=shlex.join(agent))
        argv = [*agent, "control", "--name", str(OUTSIDE)]
        try:
            channel = child_channel(argv, timeout=self._waits.connect)
        except ClusterError as error:
            self.problems[str(OUTSIDE)] = str(error)
            return
        self.channels[OUTSIDE] = channel
        fact = {"op": "fact", "field": "source", "port": 9, "timeout": 2.0}
        towards = self._plan.facts.nodes[0].addresses
        replies = channel.submit([fact | {"address": a} for a in towards])
        own = [a for r in replies for a in r.result().get("values", ())]
        self._replace(outside_addresses=tuple(own))

    def policies_of_others(self) -> list[dict[str, Any]]:
        """List the NetworkPolicies in our namespaces that somebody else made there."""
        mine = set(self.scene.namespaces.values())
        path = "/apis/networking.k8s.io/v1/networkpolicies"
        found = self._api.list(path, labelSelector=f"{manifests.RUN}!={self._spec.run}")
        return [one for one in found if one["metadata"]["namespace"] in mine]

    def make_outside_policies(self) -> None:
        """Make the NetworkPolicies that name the outside's addresses."""
        wanted = (p for p in self._plan.policies if p.names_outside)
        apply.create_all(self._api, map(self._policy, wanted))

    def _policy(self, policy: Policy) -> tuple[str, dict[str, Any]]:
        namespace = self._spec.namespace(manifests.NAMESPACE_OF[policy.role])
        outside = self.scene.outside_addresses
        return namespace, policies.network_policy(self._spec, policy, outside)

    def make_slices(self) -> None:
        """Make the EndpointSlices of Services without selector, by hand."""
        servers = [p for (r, _), p in self.scene.pods.items() if r is Role.SERVER]
        items = []
        for service in (s for s in self._plan.services if s.manual):
            for family in self._plan.facts.families:
                made_up = service_manifests.made_up_addresses(service.made_up, family)
                addresses = made_up or tuple(
                    a for p in servers for a in p.addresses if family_of(a) is family
                )
                item = service_manifests.endpoint_slice(
                    self._spec, service, family, addresses
                )
                items.append((self._spec.namespace("server"), item))
        apply.create_all(self._api, items)

    def publish(self, wanted: Mapping[tuple[Kind, str], frozenset[str]]) -> None:
        """Make what leads into the cluster, and wait until the API says where.

        WANTED is what has to hold of each, as in EntryState. Raises ClusterError.
        """
        outside = self.scene.outside_addresses
        made, problems = publishing.publish(self._api, self._plan, self._spec, outside)
        made["services"] = {**self.scene.services, **made["services"]}
        self._replace(**made)
        there = {key: holds for key, holds in wanted.items() if key not in problems}
        seconds = BUDGETS["address"] * self._waits.scale
        found = publishing.await_states(
            self._api, self._spec.run, there, seconds, self._stopped.is_set
        )
        self._replace(entries={**found, **problems})

    def dns_replicas(self) -> tuple[str, ...]:
        """Give the addresses of the cluster DNS's replicas as they are now."""
        return dns_replicas(self._api, self._plan.facts.families)

    def note_pod_addresses(self) -> None:
        """Look at the addresses of every Pod in the cluster, ours or not."""
        entries = pod_addresses(self._api)
        flat = tuple((node, e) for node, found in entries.items() for e in found)
        self._replace(all_pod_addresses=flat)

    def _replace(self, **fields: Any) -> None:
        with self._lock:
            self.scene = replace(self.scene, **fields)

    # ------------------------------------------------------------------------ changes

    def change(self, change: Change) -> None:
        """Make a change that a rule watches. Raises ClusterError."""
        if change.kind == "create":
            self.create(change.role)
            return
        if change.service is not None:
            self._change_service(change.service, withdraw=change.kind == "withdraw")
            return
        if change.kind == "label namespace":
            namespace = self._spec.namespace(manifests.NAMESPACE_OF[change.role])
            self._label(f"{apply.CORE}/namespaces/{namespace}", dict(change.labels))
            return
        if change.policy is not None:
            self._change_policy(change.kind, change.policy)
            return
        spread = nodes_of(change.spread, self._plan.facts)
        found = [self.scene.pod(change.role, node) for node in spread]
        pods = [pod for pod in found if pod is not None]
        if len(pods) < len(spread):
            raise ClusterError(f"not every {change.role} runs")
        if change.kind == "label":
            for pod in pods:
                self._label(path_of(pod), dict(change.labels))
        else:
            change_one = {
                "restart": self._restart,
                "terminate": self._terminate,
                "delete": self._delete,
            }[change.kind]
            with ThreadPoolExecutor(apply.WORKERS) as pool:
                list(pool.map(change_one, pods))

    def create(self, role: Role) -> None:
        """Make the Pods of a role, once, however many rules ask for it."""
        with self._lock:
            first = role not in self._late
            done = self._late.setdefault(role, Future())
        if not first:
            done.result(self._waits.ready + self._waits.connect)
            return
        try:
            apply.create_all(self._api, self._pod_items(role))
            self.bring_up({role})
        except ClusterError as error:
            done.set_exception(error)
            raise
        done.set_result(None)

    def _label(self, path: str, labels: Mapping[str, str | None]) -> None:
        wanted = {manifests.LABEL + key: value for key, value in labels.items()}
        self._api.patch(path, {"metadata": {"labels": wanted}})

    def _change_policy(self, kind: str, policy: Policy) -> None:
        namespace, item = self._policy(policy)
        path = f"{apply.collection(item, namespace)}/{policy.name}"
        if kind == "revoke":
            self._api.delete(path)
        else:
            self._api.patch(path, {"spec": item["spec"]})

    def _change_service(self, wanted: Service, *, withdraw: bool) -> None:
        """Make a Service or make it another one; or remove it."""
        namespace = self._spec.namespace("server")
        for item in service_manifests.services(self._spec, wanted, self._plan.facts):
            if withdraw:
                self._api.delete(path_in(namespace, "services", name_of(item)))
                continue
            try:
                made = self._api.create(apply.collection(item, namespace), item)
            except Conflict:
                path = path_in(namespace, "services", name_of(item))
                made = self._api.patch(path, {"spec": item["spec"]})
            state = service_state(made)
            with self._lock:
                services = {**self.scene.services, state.name: state}
                self.scene = replace(self.scene, services=services)

    def _terminate(self, pod: PodState) -> None:
        """Delete a Pod that serves on until it is killed."""
        self._api.delete(path_of(pod), gracePeriodSeconds=GRACE)

    def _delete(self, pod: PodState) -> None:
        """Delete a Pod at once, also one that has begun to terminate."""
        self._api.delete(path_of(pod), gracePeriodSeconds=0)
        if channel := self.channels.get(Actor(pod.role, pod.node)):
            # A kubelet that waits already is not told to wait no longer.
            channel.submit([END])

    def _restart(self, pod: PodState) -> None:
        """End a container's first process, and wait for the next one."""
        actor = Actor(pod.role, pod.node)
        channel = self.channels.get(actor)
        if channel is None:
            raise ClusterError(f"{actor} has no agent")
        reply = channel.submit([END])[0].result()
        if reply["outcome"] != Outcome.ANSWERED:
            raise ClusterError(f"{actor} did not end: {reply['detail']}")
        deadline = time.monotonic() + BUDGETS["restart"] * self._waits.scale
        while time.monotonic() < deadline:
            found = self._api.get(path_of(pod))
            statuses = found.get("status", {}).get("containerStatuses", ())
            if any(s.get("restartCount", 0) and s.get("started") for s in statuses):
                return
            time.sleep(0.2)
        raise ClusterError(f"{pod.name} was not restarted by its kubelet")


def path_of(pod: PodState) -> str:
    """Give a Pod's path in the API."""
    return path_in(pod.namespace, "pods", pod.name)


def path_in(namespace: str, plural: str, name: str) -> str:
    """Give the path of an object of the core API."""
    return f"/api/v1/namespaces/{namespace}/{plural}/{name}"


def name_of(item: dict[str, Any]) -> str:
    """Give an object's name."""
    return str(item["metadata"]["name"])


def containers(pod: dict[str, Any]) -> list[str]:
    """Name the containers that keep running: those of the app, and sidecars."""
    spec = pod["spec"]
    sidecars = (
        c for c in spec.get("initContainers", ()) if c.get("restartPolicy") == "Always"
    )
    return [c["name"] for c in (*spec["containers"], *sidecars)]


def named(container: str, port: str) -> str:
    """Name a second container's port after the container: ``sibling/tcp``."""
    return port if container == "main" else f"{container}/{port.rpartition('/')[2]}"


def summarize(problems: Mapping[str, str]) -> str:
    """Say problems in one line: equal ones together."""
    by_reason: dict[str, list[str]] = {}
    for who, why in problems.items():
        by_reason.setdefault(why, []).append(who)
    return "; ".join(
        f"{', '.join(sorted(who))}: {why}" for why, who in by_reason.items()
    )
