"""From what was seen along a path, second by second, to its outages. Pure.

A path that was not asked was not out: such a stretch is *not measured*, and where it is
longer than what is allowed, nothing can be said of the path.

All times are in seconds since the watch began.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING

from pytest_k8snet.model import Family, Outcome, Word

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Span = tuple[float, float]

GOOD = frozenset({Outcome.ANSWERED, Outcome.CONNECTED})
GAP = 1.0
"""Seconds without a question that count as not measured: five in a row."""

CALM = 1.0
"""Seconds without a failure after which an outage is over: Services whose backends are
dead in part fail now and then for as long as it lasts."""

ANSWER = 0.9
"""Seconds that an answer may take: see the agent."""

ENDING = 3.0
"""Seconds for which what is being taken away may be asked in vain: its end shows in
the API a little later."""


class Way(StrEnum):
    """What kind of path it is: budgets are given for these."""

    POD = "pod"
    SERVICE = "service"
    NODE_PORT = "nodeport"
    DNS = "dns"


PROFILES: Mapping[str, Mapping[Way, float]] = {
    # What a rolling upgrade of a healthy cluster costs: a Pod's route is written anew,
    # a service proxy starts, a name server is replaced.
    "upgrade": {Way.POD: 1.0, Way.SERVICE: 2.0, Way.NODE_PORT: 2.0, Way.DNS: 5.0},
    "strict": dict.fromkeys(Way, 0.0),
}
"""How long each kind of path may be out at a time, in seconds."""


@dataclass(frozen=True, order=True)
class Path:
    """Who asks whom, and how.

    Attributes:
        way: what kind of path.
        source: a Node, or "outside".
        target: a Node, a Service, or the address of a name server.
        family: the IP family.
        kept: over one connection for all questions, instead of a new one for each.

    """

    way: Way
    source: str
    target: str
    family: Family
    kept: bool = False

    def __str__(self) -> str:
        """Name it in one line."""
        how = "kept" if self.kept else "new"
        return f"{self.source} -> {self.target} {self.family} {how}"


@dataclass(frozen=True)
class Run:
    """Questions in a row with the same outcome.

    Attributes:
        outcome: of each.
        first, last: when the first and the last of them were sent.
        count: how many there were.

    """

    outcome: Outcome
    first: float
    last: float
    count: int


@dataclass(frozen=True)
class Outage:
    """A time in which a path did not always work.

    Attributes:
        start: when the first question was sent that failed.
        end: when the first was sent that succeeded again, as far as was seen.
        gap: the longest time without any success in it.
        lost: questions without an answer in time.
        failed: those with a wrong answer, or an error.
        why: what they ended with most often.
        over: whether it was seen to end.

    """

    start: float
    end: float
    gap: float
    lost: int
    failed: int
    why: Outcome
    over: bool = True

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


@dataclass
class Trail:
    """What is known of a path so far.

    Attributes:
        since: from when on it was asked.
        until: when it was taken away; None while it is there.
        away: from when to when it was taken away before.
        known: it answered before the watch began.
        address: what is dialled.
        runs: what was seen.
        broken: (when, why) of each connection that was kept and broke.

    """

    since: float = 0.0
    until: float | None = None
    away: list[Span] = field(default_factory=list)
    known: bool = True
    address: str = ""
    runs: list[Run] = field(default_factory=list)
    broken: list[tuple[float, Outcome]] = field(default_factory=list)

    def add(self, run: Run) -> None:
        """Add what was seen next."""
        last = self.runs[-1] if self.runs else None
        if last and last.outcome is run.outcome and run.first - last.last <= GAP:
            count = last.count + run.count
            self.runs[-1] = replace(last, last=run.last, count=count)
        else:
            self.runs.append(run)


@dataclass(frozen=True)
class Record:
    """What became of a path.

    Attributes:
        path: which.
        word: pass, fail, inconclusive, or not-applicable.
        reason: why it is not a pass.
        address: what was dialled.
        asked: how many questions.
        outages: the longest first.
        unmeasured: when it was not asked, or what came of it is not known.
        broken: (when, why) of each connection that was kept and broke.

    """

    path: Path
    word: Word
    reason: str = ""
    address: str = ""
    asked: int = 0
    outages: tuple[Outage, ...] = ()
    unmeasured: tuple[Span, ...] = ()
    broken: tuple[tuple[float, Outcome], ...] = ()

    @property
    def longest(self) -> float:
        """How long the longest outage took."""
        return max((one.seconds for one in self.outages), default=0.0)

    @property
    def longest_unmeasured(self) -> float:
        """For how long nothing is known, at the longest."""
        return max((end - start for start, end in self.unmeasured), default=0.0)

    @property
    def longest_unsure(self) -> float:
        """For how long it may have been out, at the longest.

        What is not known before, after or between two outages may be part of them.
        """
        outages = ((one.start, one.end) for one in self.outages)
        longest, begin, until = 0.0, 0.0, -1.0
        for start, end in sorted([*outages, *self.unmeasured]):
            begin = begin if start <= until else start
            until = max(until, end)
            longest = max(longest, until - begin)
        return longest


def record(
    path: Path,
    trail: Trail,
    now: float,
    budgets: Mapping[Way, float],
    absences: Sequence[Span] = (),
) -> Record:
    """Judge one path.

    Args:
        path: which.
        trail: what is known of it.
        now: how long the watch has gone on.
        budgets: for how long a path of each kind may be out at a time.
        absences: when whoever answers was not let run.

    """
    end = now if trail.until is None else min(now, trail.until)
    measured = [
        run
        for run in trail.runs
        if not _excused(run, absences) and not _in_vain(run, trail)
    ]
    holes = _holes(measured, max(0.0, trail.since), end)
    unmeasured = [one for one in holes if not _is_away(one, trail.away)]
    # It ended, and a moment later we knew.
    ends = [start for start, _ in trail.away] + [end] * (trail.until is not None)
    found = [
        one
        for one in _outages(measured, end)
        if one.over or not any(at - ENDING <= one.start <= at for at in ends)
    ]
    made = Record(
        path=path,
        word=Word.PASS,
        address=trail.address,
        asked=sum(run.count for run in measured),
        outages=tuple(sorted(found, key=lambda o: -o.seconds)),
        unmeasured=tuple(unmeasured),
        broken=tuple(trail.broken),
    )
    word, reason = _judged(made, trail, budgets[path.way])
    return replace(made, word=word, reason=reason)


def _judged(made: Record, trail: Trail, budget: float) -> tuple[Word, str]:
    if not trail.known:
        return Word.NOT_APPLICABLE, "did not answer before the watch began"
    if made.longest > budget:
        return Word.FAIL, f"out for {made.longest:.1f} s, more than {budget:g} s"
    if (seconds := made.longest_unsure) > max(budget, GAP):
        out = "" if seconds == made.longest_unmeasured else "out, or "
        return Word.INCONCLUSIVE, f"{out}not measured for {seconds:.1f} s"
    if made.asked:
        return Word.PASS, ""
    if trail.since > 0 and not made.unmeasured:
        return Word.NOT_APPLICABLE, "was not there for long enough to be asked"
    return Word.INCONCLUSIVE, "not measured"


def _in_vain(run: Run, trail: Trail) -> bool:
    """Whether nobody was there any more to answer: who asks learns that later."""
    if run.outcome in GOOD:
        return False
    gone = trail.until is not None and run.first > trail.until
    return gone or any(start < run.first < end for start, end in trail.away)


def _excused(run: Run, absences: Iterable[Span]) -> bool:
    """Whether what was seen tells nothing of the path."""
    if run.outcome is Outcome.NOT_PROBED:
        return True
    return run.outcome not in GOOD and any(
        start - ANSWER <= run.first and run.last <= end for start, end in absences
    )


def _holes(runs: Sequence[Run], since: float, until: float) -> list[Span]:
    """Give the stretches in which nothing was asked."""
    ends = [since, *(run.last for run in runs)]
    begins = [*(run.first for run in runs), until]
    pairs = zip(ends, begins, strict=True)
    return [(end, begin) for end, begin in pairs if begin - end > GAP]


@dataclass(frozen=True)
class _Failure:
    """A run that failed, when the next question was sent, and whether one was."""

    run: Run
    back: float
    over: bool


def _is_away(hole: Span, away: Iterable[Span]) -> bool:
    """Whether there was nothing to ask in a hole, as good as all of the time."""
    shared = sum(
        max(0.0, min(hole[1], end) - max(hole[0], start)) for start, end in away
    )
    return shared > 0 and hole[1] - hole[0] - shared <= GAP


def _outages(runs: Sequence[Run], end: float) -> list[Outage]:
    """Group failures that follow each other closely."""
    groups: list[list[_Failure]] = []
    for run, following in pairwise([*runs, None]):
        if run is None or run.outcome in GOOD:
            continue
        failure = _failure(run, following, end)
        if groups and run.first - groups[-1][-1].back < CALM:
            groups[-1].append(failure)
        else:
            groups.append([failure])
    return [_outage(group) for group in groups]


def _failure(run: Run, following: Run | None, end: float) -> _Failure:
    back = following.first if following else end
    if back - run.last > GAP:
        return _Failure(run, run.last, over=False)  # what came then is not known
    return _Failure(run, max(run.last, back), over=following is not None)


def _outage(group: Sequence[_Failure]) -> Outage:
    counts: dict[Outcome, int] = {}
    for one in group:
        outcome = one.run.outcome
        counts[outcome] = counts.get(outcome, 0) + one.run.count
    lost = counts.get(Outcome.TIMED_OUT, 0)
    return Outage(
        start=group[0].run.first,
        end=group[-1].back,
        gap=_longest_gap(group),
        lost=lost,
        failed=sum(counts.values()) - lost,
        why=max(counts, key=lambda outcome: counts[outcome]),
        over=group[-1].over,
    )


def _longest_gap(group: Sequence[_Failure]) -> float:
    """Give the longest time without success: failures may differ, one by one."""
    longest, start, before = 0.0, 0.0, -1.0
    for one in group:
        start = start if one.run.first == before else one.run.first
        before = one.back
        longest = max(longest, before - start)
    return longest
