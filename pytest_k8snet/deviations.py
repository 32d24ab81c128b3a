"""The known deviations file: what a cluster does otherwise, and until when. Pure.

An entry excuses the cells that it names, of a rule or of one of its checks, until it
expires. A failure becomes a known deviation when every wrong cell of it is excused.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from datetime import date  # noqa: TC003 - pydantic needs it at run time
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_k8snet.model import Word
from pytest_k8snet.plan import checks
from pytest_k8snet.result import not_judged
from pytest_k8snet.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_k8snet.model import Observation
    from pytest_k8snet.result import Result

FILE = "k8snet-deviations.toml"
EXAMPLE = """
[[deviation]]
rule = "POD-TO-HOST-NETWORK"
reason = "masqueraded, ticket NET-42"
expires = 2027-03-31
"""
MOST_NAMED = 4
JUDGED = frozenset({Word.PASS, Word.FAIL, Word.KNOWN_DEVIATION})


class State(StrEnum):
    """What an entry did in a run."""

    USED = "used"
    NOT_NEEDED = "not needed"  # what it excuses conforms
    NOT_ASKED = "not asked"  # or not judged
    EXPIRED = "expired"


class Entry(BaseModel):
    """One entry.

    Attributes:
        rule: the id of a rule or of a check.
        cells: patterns of "source -> target" as reports name them; any of them fits.
        reason: for people.
        expires: the last day on which it excuses anything.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: str
    cells: tuple[str, ...] = ("*",)
    reason: Annotated[str, Field(min_length=1)]
    expires: date

    def excuses(self, seen: Observation) -> bool:
        """Whether one violation is in a cell that it names."""
        cell = f"{seen.probe.source} -> {seen.probe.target}"
        return any(fnmatchcase(cell, pattern) for pattern in self.cells)

    def is_about(self, result: Result) -> bool:
        """Whether it names the rule of a result, or its check."""
        return self.rule in {result.check.rule.id, result.check.id}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    deviation: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Use:
    """An entry, what it did, and the ids of the checks with violations it names."""

    entry: Entry
    state: State
    checks: tuple[str, ...]

    def __str__(self) -> str:
        """Say what the user has to know."""
        what = f"known deviation {self.entry.rule} ({self.entry.reason})"
        if self.state is State.EXPIRED:
            named = ", ".join(self.checks[:MOST_NAMED])
            more = ", ..." if len(self.checks) > MOST_NAMED else ""
            who = f"{named}{more}" if named else "nothing in this run"
            return f"{what} expired on {self.entry.expires}; still needed by {who}"
        if self.state is State.NOT_NEEDED:
            return f"{what} is no longer needed: what it excuses conforms"
        return f"{what}: {self.state}"


def read(text: str) -> tuple[Entry, ...]:
    """Read the file.

    Raises:
        ValueError: with where and what is wrong.

    """
    try:
        entries = _File.model_validate(tomllib.loads(text)).deviation
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}; an entry is{EXAMPLE}") from None
    known = {r.id for r in RULES} | {c.id for c in checks(RULES)}
    for entry in entries:
        if entry.rule not in known:
            raise ValueError(f"no rule or check is called {entry.rule!r}")
    return entries


def amend(result: Result, entries: Sequence[Entry], today: date) -> Result:
    """Make a failure a known deviation when all of it is excused.

    Where something else could not be judged, it is inconclusive, as without a failure.
    """
    about = [e for e in entries if e.is_about(result) and today <= e.expires]
    wrong = result.verdict.violations
    if result.word is not Word.FAIL or not about:
        return result
    if not all(any(e.excuses(one) for e in about) for one in wrong):
        return result
    if result.verdict.unjudged:
        reason = not_judged(result.verdict)
        return replace(result, word=Word.INCONCLUSIVE, reason=reason, reproduce="")
    used = [e for e in about if any(map(e.excuses, wrong))]
    reason = "; ".join(f"{e.reason} (until {e.expires})" for e in used)
    return replace(result, word=Word.KNOWN_DEVIATION, reason=reason)


def uses(
    entries: Sequence[Entry], results: Iterable[Result], today: date
) -> tuple[Use, ...]:
    """Say what every entry did."""
    judged = [r for r in results if r.word in JUDGED]
    return tuple(_use(entry, judged, today) for entry in entries)


def _use(entry: Entry, judged: Sequence[Result], today: date) -> Use:
    mine = [r for r in judged if entry.is_about(r)]
    needed = tuple(
        r.check.id for r in mine if any(map(entry.excuses, r.verdict.violations))
    )
    if today > entry.expires:
        state = State.EXPIRED
    elif needed:
        state = State.USED
    else:
        state = State.NOT_NEEDED if mine else State.NOT_ASKED
    return Use(entry, state, needed)
