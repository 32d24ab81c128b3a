"""What the agents of a watch saw, put together by path. Reads no clock."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from pytest_k8snet.model import Outcome
from pytest_k8snet.outages import GOOD, Path, Run, Trail, Way, record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_k8snet.outages import Record, Span

    from .agents import Agent

    Orders = dict[str, dict[int, dict[str, Any]]]

EVERY = 0.2
"""Seconds between two questions along a path: see the agent."""


class Seen:
    """What is known of every path by now. Safe to use from many threads.

    Attributes:
        begun: since when it counts; None before.
        ended: until when; None before that.

    """

    def __init__(self) -> None:
        self.begun: float | None = None
        self.ended: float | None = None
        self._paths: dict[int, Path] = {}
        self._numbers: dict[Path, int] = {}
        self._trails: dict[Path, Trail] = {}
        self._known: set[Path] = set()
        self._lock = threading.Lock()

    def begin(self, now: float) -> None:
        """Count from now on; what has never answered yet is not judged."""
        with self._lock:
            self.begun = now
            self._trails = {
                path: Trail(known=path in self._known, address=old.address)
                for path, old in self._trails.items()
                if old.until is None
            }

    def lay(
        self, wanted: Mapping[Path, dict[str, Any]], now: float, delay: float
    ) -> Orders:
        """Take these paths for those that there are; give what each agent is to ask.

        DELAY is how long it takes until they are asked.
        """
        orders: Orders = {}
        with self._lock:
            here = now - self.begun if self.begun else 0.0
            begin = here + delay if self.begun else 0.0
            for path, request in wanted.items():
                number = self._numbers.setdefault(path, len(self._numbers) + 1)
                self._paths[number] = path
                trail = self._trails.setdefault(path, Trail(since=begin))
                if trail.until is not None:
                    trail.away.append((trail.until, begin))
                trail.address, trail.until = request["address"], None
                orders.setdefault(path.source, {})[number] = request
            for path in self._trails.keys() - wanted.keys():
                trail = self._trails[path]
                trail.until = here if trail.until is None else trail.until
        return orders

    def silent(self) -> list[Path]:
        """Name the paths that have never answered."""
        with self._lock:
            return sorted(self._trails.keys() - self._known)

    @property
    def answered(self) -> bool:
        """Whether any path has."""
        return bool(self._known)

    def take(self, batches: Iterable[Mapping[str, Any]], shift: float) -> None:
        """Add what an agent saw; SHIFT is what to add to its clock."""
        with self._lock:
            for batch in batches:
                for number, outcome, first, last, count in batch["runs"]:
                    run = Run(Outcome(outcome), first + shift, last + shift, count)
                    self._add(self._paths[number], run)
                for number, when, why in batch["broken"]:
                    self._break(self._paths[number], when + shift, Outcome(why))

    def _add(self, path: Path, run: Run) -> None:
        if run.outcome in GOOD:
            self._known.add(path)
        begun, ended = self.begun, self.ended
        trail = self._trails.get(path)
        if begun is None or trail is None:
            return
        first, last = max(run.first, begun), min(run.last, ended or run.last)
        if first <= last:
            count = run.count
            if (first, last) != (run.first, run.last):
                count = min(run.count, round((last - first) / EVERY) + 1)
            trail.add(Run(run.outcome, first - begun, last - begun, count))

    def _break(self, path: Path, when: float, why: Outcome) -> None:
        begun, trail = self.begun, self._trails.get(path)
        if begun is None or trail is None:
            return
        if begun <= when <= (self.ended or when):
            trail.broken.append((when - begun, why))

    def records(
        self, agents: Mapping[str, Agent], budgets: Mapping[Way, float]
    ) -> list[Record]:
        """Judge every path by what is known by now, sorted."""
        with self._lock:
            return [
                record(
                    path,
                    trail,
                    self._known_until(agents[path.source]),
                    budgets,
                    self._absences(path, agents),
                )
                for path, trail in sorted(self._trails.items())
            ]

    def _known_until(self, agent: Agent) -> float:
        if self.begun is None:
            return 0.0
        return max(0.0, (self.ended or agent.covered) - self.begun)

    def _absences(self, path: Path, agents: Mapping[str, Agent]) -> list[Span]:
        """Say when those who may answer along a path could not."""
        if path.way is Way.DNS:
            return []
        begun = self.begun or 0.0
        return [
            (start - begun, end - begun)
            for agent in agents.values()
            if path.way is not Way.POD or agent.name == path.target
            for start, end in list(agent.absences)
        ]
