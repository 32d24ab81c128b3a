"""Opens the control streams of a run's agents, with no more patience than helps."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from pytest_k8snet import manifests
from pytest_k8snet.cluster.channel import Channel, exec_channel
from pytest_k8snet.cluster.errors import NoStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.cluster.api import Api
    from pytest_k8snet.model import Actor

AFTER_OTHERS = 6.0
"""Seconds for a stream to begin to a Node where none has, while those elsewhere have:
longer than a lost packet of the connection to its kubelet is repeated twice."""

ONCE_MORE = 3.0
"""Seconds for a stream to a Node to which another one did not begin in time."""

TWICE = 2
OFTEN = 4
"""After so many attempts in a row that failed, side by side or not, no further one is
made: to a Node that no stream ever reached, and to one that some did."""


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
        # The attempts that failed since one did not, by Node.
        self._misses: dict[str, list[NoStream]] = {}

    @property
    def hopeless(self) -> dict[str, NoStream]:
        """Nodes to which no stream is tried any more, each with why."""
        heard = self._heard()
        return {
            node: whys[-1]
            for node, whys in list(self._misses.items())
            if len(whys) >= (OFTEN if node in heard else TWICE)
        }

    def open(self, actor: Actor, namespace: str, pod: str) -> Channel:
        """Open the stream of a container's agent. Raises ClusterError."""
        node = actor.node
        if given_up := self.hopeless.get(node):
            raise given_up
        for begin in self._attempts(node):
            try:
                channel = self._begun(actor, namespace, pod, begin)
            except NoStream as error:
                why = error
                if self._others_hear(node):
                    self._misses.setdefault(node, []).append(why)
            else:
                self._misses.pop(node, None)
                return channel
        if not self._others_hear(node):
            self._misses.setdefault(node, []).append(why)
        raise why

    def _attempts(self, node: str) -> Iterator[float]:
        """Give the seconds for each attempt to begin, while another one may help."""
        doubted = node in self._misses and node not in self._heard()
        left = ONCE_MORE if doubted else self._seconds
        for short in itertools.chain([True] * TWICE, itertools.repeat(False)):
            # Where no other Node is heard either, all of them may be slow.
            begin = AFTER_OTHERS if short or self._others_hear(node) else left
            yield min(begin, left)
            left -= begin
            unheard = self._others_hear(node) and node not in self._heard()
            if left <= 0 or unheard or node in self.hopeless:
                return

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

    def _others_hear(self, node: str) -> bool:
        return bool(self._heard() - {node})

    def _heard(self) -> set[str]:
        """Give the Nodes to which a stream has begun."""
        return {actor.node for actor in list(self.channels)} - {""}
