"""For how long the machines let the agents not run: what they themselves say of it."""

from __future__ import annotations

from concurrent.futures import wait
from functools import cache
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_k8snet.cluster.channel import Channel
    from pytest_k8snet.model import Actor

SIGN_OF_LIFE = {"wait": 0.6}
"""Asks for nothing, so that an agent need not import anything before it says so: that
many seconds later, after a pulse that was on its way and one that began later.
"""

PULSE_PATIENCE = 5.0
"""Seconds for such an answer, at most."""


class Pulses:
    """What the agents report of their pulses.

    Args:
        channels: the agents' control streams, by actor; may grow.
        scale: multiplies every time-out.

    """

    def __init__(self, channels: Mapping[Actor, Channel], scale: float = 1.0) -> None:
        self._channels = channels
        self._scale = scale

    def starved_since(
        self, since: float, until: float = inf
    ) -> Callable[[float], Mapping[str, float]]:
        """Learn for how long the agents of each Node were not let run.

        Args:
            since: on the monotonic clock.
            until: likewise; what came later does not count.

        Returns:
            for some seconds, how many of so many, at worst, by Node; "" stands for
            what is no Node.

        """

        @cache
        def worst(within: float) -> dict[str, float]:
            found: dict[str, float] = {}
            for actor, channel in list(self._channels.items()):
                late = most_late(before(channel.late(since), until), within)
                found[actor.node] = max(found.get(actor.node, 0.0), late)
            return found

        return worst

    def hear_out(self) -> None:
        """Wait until the agents have said for how long they were not let run.

        As long as one is not, it says nothing of it, and whoever asked it is silent
        for no reason that is known yet.
        """
        channels = list(self._channels.values())
        signs = [sign for one in channels for sign in one.submit([SIGN_OF_LIFE])]
        wait(signs, timeout=PULSE_PATIENCE * self._scale)

    def lost_since(self, since: float) -> float:
        """Give for how many seconds since then an agent was not let run, at worst."""
        late = (channel.late(since) for channel in list(self._channels.values()))
        return max((sum(part for _, part in each) for each in late), default=0.0)


def before(
    late: Sequence[tuple[float, float]], until: float
) -> list[tuple[float, float]]:
    """Keep what of that lateness lies before some moment; see ``most_late``."""
    return [
        (min(when, until), seconds - max(when - until, 0.0))
        for when, seconds in late
        if when - seconds < until
    ]


def most_late(late: Sequence[tuple[float, float]], within: float) -> float:
    """Give for how much of some stretch of time an agent was not let run, at worst.

    Args:
        late: (when it ran again, seconds for which it had not), in order.
        within: seconds that the stretch lasts.

    """
    worst = 0.0
    for end, _ in late:
        begin = end - within
        parts = (min(seconds, when - begin) for when, seconds in late if when <= end)
        worst = max(worst, sum(part for part in parts if part > 0))
    return worst
