"""A watch as a whole: what became of all its paths together. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_k8snet.model import Word

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_k8snet.outages import Outage, Path, Record, Way


def overall(records: Iterable[Record]) -> Word:
    """Say what the watch shows as a whole: the worst that any path shows."""
    words = {one.word for one in records}
    order = (Word.FAIL, Word.INCONCLUSIVE, Word.PASS)
    return next((word for word in order if word in words), Word.NOT_APPLICABLE)


@dataclass(frozen=True)
class Watched:
    """A watch as a whole, under way or over.

    Attributes:
        records: what became of every path, sorted.
        budgets: for how long a path of each kind may be out at a time.
        started: in seconds since the epoch.
        seconds: how long it took so far.
        state: running, finished or interrupted.
        command: what went on meanwhile; () for nothing of ours.
        exit_code: the command's; None while it has none.
        problems: what does not run, each with why.

    """

    records: tuple[Record, ...]
    budgets: Mapping[Way, float]
    started: float
    seconds: float
    state: str = "finished"
    command: tuple[str, ...] = ()
    exit_code: int | None = None
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def word(self) -> Word:
        """What it shows as a whole: the worst that any path shows.

        From and to a Node without an agent there is no path, so that none is judged.
        """
        word = overall(self.records)
        return Word.INCONCLUSIVE if word is Word.PASS and self.problems else word

    @property
    def outages(self) -> tuple[tuple[Path, Outage], ...]:
        """Every outage with its path, the longest first."""
        found = ((one.path, out) for one in self.records for out in one.outages)
        return tuple(sorted(found, key=lambda pair: -pair[1].seconds))


def measured_nothing(records: Iterable[Record]) -> bool:
    """Whether not a single path was judged: such a watch is never green."""
    return not any(one.word in {Word.PASS, Word.FAIL} for one in records)
