"""The agents of a watch, asked over streams that come and go."""

from __future__ import annotations

import time
from concurrent.futures import TimeoutError as NoReply
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_k8snet.cluster.errors import StreamLost
from pytest_k8snet.model import Outcome
from pytest_k8snet.outages import ANSWER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_k8snet.cluster.channel import Channel
    from pytest_k8snet.outages import Span

REPLY = 3.0
"""Seconds in which an agent says what it saw; whoever takes longer is asked anew."""

DRIFT = 1e-4
"""Seconds by which two clocks may part between two fetches."""

UNKNOWN = (float("inf"), 0.0)


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
        moved: until when others may ask at an address that it had before.
        problem: why there is no stream to it; "" while there is one.

    """

    name: str
    connect: Callable[[], Channel]
    wanted: dict[int, dict[str, Any]] = field(default_factory=dict)
    sent: tuple[str, dict[int, dict[str, Any]]] = ("", {})
    incarnation: str = ""
    number: int = 0
    offset: tuple[float, float] = UNKNOWN
    covered: float = 0.0
    absences: list[Span] = field(default_factory=list)
    moved: float = 0.0
    problem: str = ""
    channel: Channel | None = None

    def ask(self, **request: Any) -> tuple[Mapping[str, Any], float, float]:
        """Have the agent do something; give its reply, and between when and when.

        Raises:
            StreamLost: when there is none.

        """
        if self.channel is None or self.channel.lost:
            self.hang_up()
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

    def fetch(self) -> tuple[list[Mapping[str, Any]], float]:
        """Tell the agent what to ask, if that is news; ask what it saw since.

        Returns:
            (that, until when everything it saw is known with it).

        Raises:
            StreamLost: when it cannot be asked.

        """
        wanted = self.wanted
        if wanted and self.sent != (self.incarnation, wanted):
            told, *_ = self.ask(op="watch", paths=wanted)
            self._note_life(told["incarnation"])
            self.sent = (self.incarnation, wanted)
        known = {"after": self.number, "incarnation": self.incarnation}
        reply, before, after = self.ask(op="fetch", **known)
        if reply["incarnation"] != self.incarnation:
            self._note_life(reply["incarnation"])
            return [], self.covered
        # Half of what both ways took is the most by which this may be wrong.
        middle = (before + after) / 2 - reply["now"]
        unsure, offset = self.offset
        measured = ((after - before) / 2, middle)
        self.offset = min((unsure + DRIFT, offset), measured)
        batches: list[Mapping[str, Any]] = reply["batches"]
        self.number = max([self.number, *(batch["number"] for batch in batches)])
        # A question is noted once its outcome is known.
        return batches, before - ANSWER

    def _note_life(self, incarnation: str) -> None:
        """Begin anew with an agent that was restarted: what it saw is lost with it."""
        if self.incarnation and self.incarnation != incarnation:
            self.absences.append((self.covered, max(time.monotonic(), self.moved)))
            self.number, self.offset = 0, UNKNOWN
        self.incarnation = incarnation
