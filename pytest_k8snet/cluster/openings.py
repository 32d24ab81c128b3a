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
"""Seconds for a stream to a Node to which another one did not begin in time."""

TWICE = 2
"""After so many that did not begin, side by side or not, no further one is tried."""


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
        # What did not begin in time since one did, by Node.
        self._silence: dict[str, list[NoStream]] = {}

    @property
    def hopeless(self) -> dict[str, NoStream]:
        """Nodes to which no stream is tried any more, each with why."""
        silence = list(self._silence.items())
        return {node: whys[-1] for node, whys in silence if len(whys) >= TWICE}

    def open(self, actor: Actor, namespace: str, pod: str) -> Channel:
        """Open the stream of a container's agent. Raises ClusterError."""
        node = actor.node
        silence = self._silence.get(node, [])
        if len(silence) >= TWICE:
            raise silence[-1]
        rest = max(ONCE_MORE, self._seconds - 2 * AFTER_OTHERS)
        for begin in [ONCE_MORE] if silence else [AFTER_OTHERS, AFTER_OTHERS, rest]:
            try:
                channel = self._begun(actor, namespace, pod, begin)
            except NoStream as error:
                why = error
                if self._only_others_hear(node):
                    break
            else:
                self._silence.pop(node, None)
                return channel
        self._silence.setdefault(node, []).append(why)
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
