"""Whether a cell comes to conform after a change, by one answer after the other. Pure.

All times are in seconds since the change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_k8snet.model import Outcome

if TYPE_CHECKING:
    from pytest_k8snet.model import Observation, Step

TRIES = 20
"""After so many answers of others alone it is no chance that one never answers: a
service proxy that chooses between two at random spares one of them once in a million
times."""

LENIENCY = 10.0
"""Seconds beyond its budget that a cell has at least whose attempts say little: on a
starved machine each of them takes up to four."""

MOST_LOST = 2.0
"""How many times its budget, at most, a cell may have back of what a starved machine
took: what hangs for ever would have it for ever."""


@dataclass
class Convergence:
    """One cell while a change is watched.

    Attributes:
        step: what is waited for.
        budget: seconds for it.
        lost: seconds since the change for which a starved machine let some agent not
            run: they count for nobody, the cluster had no more of them.
        last: what was seen last, of what says something; with the time since the
            change, and, where it does not conform, for how long it did not.

    """

    step: Step
    budget: float
    lost: float = 0.0
    last: Observation | None = None
    _streak: int = 0
    _since: float | None = None  # when it began to conform
    _conformed: float = 0.0  # when it last did
    _served: int = 0
    _unsure: bool = False  # by chance, or by a starved machine
    _refuted: bool = False  # did not conform when its time was over

    @property
    def due(self) -> float:
        """Until when it has to conform."""
        return self.budget + min(self.lost, MOST_LOST * self.budget)

    @property
    def done(self) -> bool:
        """Whether it conformed as often in a row as the step wants."""
        return self._streak >= self.step.consecutive

    def hear(self, seen: Observation, now: float, *, spoilt: bool = False) -> None:
        """Take the answer to one attempt.

        Args:
            seen: the answer.
            now: when it came.
            spoilt: a starved machine kept it from saying anything.

        """
        late = now >= self.due + max(self.budget, LENIENCY)
        served = seen.outcome is Outcome.CONNECTED
        self._served += served
        self._unsure = (spoilt or (served and self._served < TRIES)) and not late
        no_news = seen.outcome is Outcome.NOT_PROBED
        if no_news and (self._refuted or (self._streak > 0 and not late)):
            # What began to conform is no surer, what was too late no better.
            return
        if self.step.until(seen):
            self._since = now if self._since is None else self._since
            self._conformed = now
            self._streak += 1
            self._refuted = False
            self.last = replace(seen, after=self._since)
        else:
            self._since = None
            self._streak = 0
            self._refuted = now > self.due and not no_news
            self.last = replace(seen, seconds=now - self._conformed, after=now)

    def is_over(self, now: float, *, hopeless: bool = False) -> bool:
        """Whether another attempt could show nothing else.

        What conforms may finish what it began, whatever the time. What was left few
        attempts has its budget once more, or LENIENCY seconds if that is longer.

        Args:
            now: the time.
            hopeless: it cannot conform any more.

        """
        too_late = now > self.due and self._since is None
        return (too_late or hopeless) and not self._unsure
