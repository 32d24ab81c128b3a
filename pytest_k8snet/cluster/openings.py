"""Opens the control streams of a run's agents, with no more patience than helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_k8snet import manifests
from pytest_k8snet.cluster.channel import Channel, exec_channel
from pytest_k8snet.cluster.errors import NoStream

if TYPE_CHECKING:
    from pytest_k8snet.cluster.api import Api
    from pytest_k8snet.model import Actor

AFTER_OTHERS = 6.0
"""Seconds for a stream to begin to a Node where none has, while those elsewhere have:
longer than a lost packet of the connection to its kubelet is repeated twice."""

ONCE_MORE = 3.0
"""Seconds for a stream to a Node to which another one did not begin in time; when that
does not, either, no further one is tried there."""


class Openings:
    """Opens streams side by side, and learns to which Nodes none does.

    Args:
        api: the client.
        seconds: for one stream, until its agent has said hello.

    Attributes:
        channels: the open streams, by actor.

    """

    def __init__(self, api: Api, seconds: float) -> None:
        self.channels: dict[Actor, Channel] = {}
        self._api = api
        self._seconds = seconds
        # Nodes to which a stream did not begin in time, and those not once more.
        self._deaf: set[str] = set()
        self._hopeless: dict[str, NoStream] = {}

    def open(self, actor: Actor, namespace: str, pod: str) -> Channel:
        """Open the stream of a container's agent. Raises ClusterError."""
        node = actor.node
        if node in self._hopeless:
            raise self._hopeless[node]
        again = node in self._deaf
        rest = max(ONCE_MORE, self._seconds - 2 * AFTER_OTHERS)
        for begin in [ONCE_MORE] if again else [AFTER_OTHERS, AFTER_OTHERS, rest]:
            try:
                return self._begun(actor, namespace, pod, begin)
            except NoStream as error:
                why = error
                if self._only_others_hear(node):
                    break
        self._deaf.add(node)
        if again:
            self._hopeless[node] = why
        raise why

    def _begun(self, actor: Actor, namespace: str, pod: str, begin: float) -> Channel:
        arguments = ["--name", str(actor), "--container", actor.container]
        channel = self.channels[actor] = exec_channel(
            self._api,
            namespace,
            pod,
            actor.container,
            [*manifests.CONTROL, *arguments],
            begin=begin,
            timeout=self._seconds,
        )
        return channel

    def _only_others_hear(self, node: str) -> bool:
        """Whether streams have begun to other Nodes, and none to this one."""
        heard = {actor.node for actor in list(self.channels)}
        return node not in heard and bool(heard - {""})
