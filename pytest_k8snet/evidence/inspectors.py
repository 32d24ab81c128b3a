"""The privileged Pods that look at suspect Nodes, each for a few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_k8snet import manifests, pod_manifests
from pytest_k8snet.cluster import apply
from pytest_k8snet.cluster.channel import Channel, exec_channel
from pytest_k8snet.cluster.errors import ApiError, ClusterError
from pytest_k8snet.diagnose import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_k8snet.cluster.api import Api
    from pytest_k8snet.diagnose import Look
    from pytest_k8snet.manifests import LabSpec

OPEN_SECONDS = 5.0
Told = Mapping[str, tuple[str, ...]]
"""Values, by the look that they are of."""
Came = TypeVar("Came")


class Inspectors:
    """One Pod on each of some Nodes, in a namespace of their own; none for none.

    Args:
        api: the client.
        spec: the run's.
        nodes: their names.
        hopeless: those to which no stream is to be tried, each with why.

    """

    def __init__(
        self,
        api: Api,
        spec: LabSpec,
        nodes: Sequence[str],
        hopeless: Mapping[str, ClusterError],
    ) -> None:
        self._api = api
        self._spec = spec
        self._hopeless = hopeless
        self._nodes = {
            pod_manifests.inspector_name(n): node for n, node in enumerate(nodes)
        }
        self._namespace = spec.namespace(manifests.INSPECT)
        self._channels: dict[str, Future[Channel]] = {node: Future() for node in nodes}
        self._told: dict[str, Future[Told]] = {node: Future() for node in nodes}
        self._over = threading.Event()

    def create(self) -> None:
        """Begin to make them; who asks for what they tell learns what goes wrong."""
        if self._nodes:
            work = threading.Thread(target=self._work, name="k8snet inspect")
            work.daemon = True
            work.start()

    def on(self, node: str) -> bool:
        """Whether there is to be one on a Node."""
        return node in self._channels

    def channel(self, node: str, end: float) -> Channel | None:
        """Wait for the agent on a Node until END; None where there is to be none.

        Raises ClusterError when it does not come.
        """
        return _awaited(self._channels[node], end) if self.on(node) else None

    def left_behind(self, look: Look, node: str, end: float) -> Answer:
        """Wait for what the first container on a Node tells, even without a stream."""
        try:
            return Answer(_awaited(self._told[node], end).get(look, ()))
        except ClusterError as error:
            return Answer(problem=str(error))

    def remove(self) -> None:
        """Remove what there is of them; the namespace goes on its own."""
        self._over.set()
        for one in self._channels.values():
            if one.done() and not one.exception():
                one.result().close()
        if self._nodes:
            with suppress(ApiError):  # the end of the run says so
                apply.remove(self._api, [self._namespace])

    def _work(self) -> None:
        try:
            self._lay_out()
            places = [(self._namespace, name) for name in self._nodes]
            settling = apply.pods_as_they_settle(
                self._api,
                self._spec.run,
                places,
                apply.is_ready,
                apply.Patience(OPEN_SECONDS),
            )
            with ThreadPoolExecutor(len(places)) as pool:
                for pod, (_, name), problem in settling:
                    node = self._nodes[name]
                    if pod is None:
                        self._fail(node, ClusterError(f"no inspector: {problem}"))
                    else:
                        self._told[node].set_result(told(pod))
                        pool.submit(self._open, node, name)
        except ClusterError as error:
            for node in self._channels:
                self._fail(node, error)

    def _fail(self, node: str, error: ClusterError) -> None:
        for one in (self._channels[node], self._told[node]):
            if not one.done():
                one.set_exception(error)

    def _open(self, node: str, name: str) -> None:
        try:
            if why := self._hopeless.get(node):
                raise why
            channel = exec_channel(
                self._api,
                self._namespace,
                name,
                "main",
                manifests.CONTROL,
                timeout=OPEN_SECONDS,
            )
        except ClusterError as error:
            self._fail(node, error)
        else:
            self._channels[node].set_result(channel)
            if self._over.is_set():
                channel.close()

    def _lay_out(self) -> None:
        space = manifests.namespace(self._spec, manifests.INSPECT)
        apply.create_all(self._api, [("", space)])
        base = (manifests.service_account, manifests.agent_config_map)
        inside = [make(self._spec) for make in base]
        apply.create_all(self._api, [(self._namespace, item) for item in inside])
        pods = [
            pod_manifests.inspector(self._spec, name, node)
            for name, node in self._nodes.items()
        ]
        apply.create_all(self._api, [(self._namespace, pod) for pod in pods])


def told(pod: dict[str, Any]) -> Told:
    """Read what the first container of an inspector left behind: "look value"."""
    statuses = pod.get("status", {}).get("initContainerStatuses") or [{}]
    message = statuses[0].get("state", {}).get("terminated", {}).get("message", "")
    found: dict[str, tuple[str, ...]] = {}
    for look, _, value in (line.partition(" ") for line in message.splitlines()):
        found[look] = (*found.get(look, ()), value)
    return found


def _awaited(one: Future[Came], end: float) -> Came:
    try:
        return one.result(max(0.0, end - time.monotonic()))
    except TimeoutError:
        raise ClusterError("no inspector runs there in time") from None
