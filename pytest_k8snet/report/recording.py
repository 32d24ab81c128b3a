"""From report.json, of any version, back to results: what other formats show. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pytest_k8snet.diagnose import Answer, Look, Question
from pytest_k8snet.model import (
    Check,
    ClusterFacts,
    Family,
    Feature,
    Level,
    Node,
    PathKind,
    Protocol,
    Rule,
    Verdict,
    Word,
)
from pytest_k8snet.report import version1
from pytest_k8snet.report.packing import target_place, unpack
from pytest_k8snet.report.schema import SCHEMA_VERSION, Report
from pytest_k8snet.result import Result, by_cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_k8snet.model import Observation, Observations
    from pytest_k8snet.report.schema import CheckDocument, Environment, RuleDocument

UPGRADES = {1: version1.upgrade}
"""From a document of that version to one of the next."""


class Unreadable(ValueError):  # noqa: N818 - reads as what is wrong
    """No report.json, or one of a later version than we know."""


@dataclass(frozen=True)
class Cell:
    """One source and target, over all attempts of a check.

    Attributes:
        source, target: as a person would name them.
        places: their Nodes, or the address of what is on none; "" for no place.
        conforms: None when it was not judged.
        shown: the first violation, else the last attempt.
        attempts: how many there were.
        seconds: of the slowest attempt.

    """

    source: str
    target: str
    places: tuple[str, str]
    conforms: bool | None
    shown: Observation
    attempts: int
    seconds: float


@dataclass(frozen=True)
class Recording:
    """A report with what was seen unpacked; ``results`` are in the order of checks.

    The rules of the results say what they said then, and judge nothing any more.
    """

    report: Report
    results: tuple[Result, ...]

    @cached_property
    def cells(self) -> dict[str, tuple[Cell, ...]]:
        """Give the cells of every check, by the check's id, sorted by their ends."""
        return {
            r.check.id: tuple(sorted(cells(r), key=lambda c: (c.source, c.target)))
            for r in self.results
        }

    @cached_property
    def by_rule(self) -> dict[str, tuple[Result, ...]]:
        """Group the results by their rule's id."""
        grouped: dict[str, list[Result]] = {}
        for one in self.results:
            grouped.setdefault(one.check.rule.id, []).append(one)
        return {name: tuple(found) for name, found in grouped.items()}


def read(text: str) -> Recording:
    """Read a report.json of any version.

    Raises:
        Unreadable: with why.

    """
    try:
        made = json.loads(text)
        version = made["schema_version"]
    except (ValueError, TypeError, KeyError):
        raise Unreadable("no report.json of pytest-k8snet") from None
    if version not in {*UPGRADES, SCHEMA_VERSION}:
        raise Unreadable(
            f"schema version {version}, but should be at most {SCHEMA_VERSION}: "
            "a newer pytest-k8snet wrote it"
        )
    try:
        while made["schema_version"] != SCHEMA_VERSION:
            made = UPGRADES[made["schema_version"]](made)
        return recorded(Report.model_validate(made))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Unreadable(f"not as its schema says: {where}: {first['msg']}") from None
    except (LookupError, TypeError, ValueError) as error:
        raise Unreadable(f"not as its schema says: {error!r}") from None


def recorded(report: Report) -> Recording:
    """Unpack what was seen."""
    batches = unpack(report)
    rules = {r.id: _rule(r) for r in report.rules}
    return Recording(
        report, tuple(_result(c, rules[c.rule], batches) for c in report.checks)
    )


def _result(
    check: CheckDocument, rule: Rule, batches: Sequence[Sequence[Observation]]
) -> Result:
    seen = tuple(one for number in check.batches for one in batches[number])
    return Result(
        check=Check(
            rule,
            Protocol(check.protocol) if check.protocol else None,
            Family(check.family) if check.family else None,
            PathKind(check.path) if check.path else None,
        ),
        word=Word(check.result),
        reason=check.reason,
        verdict=Verdict(_rows(check.violations, seen), _rows(check.unjudged, seen)),
        seen=seen,
        reproduce=check.reproduce,
    )


def _rows(ranges: Sequence[tuple[int, int]], seen: Observations) -> Observations:
    return tuple(one for first, last in ranges for one in seen[first : last + 1])


def _rule(document: RuleDocument) -> Rule:
    return Rule(
        id=document.id,
        requirement=document.requirement,
        spec=document.spec,
        mark=document.area,
        level=Level(document.level),
        usually=document.usually,
        judge=lambda _: Verdict(),
    )


def facts(environment: Environment) -> ClusterFacts:
    """Give back what discovery found."""
    return ClusterFacts(
        context=environment.context,
        server=environment.server,
        version=environment.kubernetes,
        nodes=tuple(Node(**dict(n)) for n in environment.nodes),
        families=tuple(map(Family, environment.families)),
        dns_addresses=tuple(environment.dns_addresses),
        dns_replicas=tuple(environment.dns_replicas),
        domain=environment.domain,
        api_addresses=tuple(environment.api_addresses),
        service_cidrs=tuple(environment.service_cidrs),
        network_plugin=environment.network_plugin,
        network_plugin_version=environment.network_plugin_version,
        service_proxy=environment.service_proxy,
        features=frozenset(map(Feature, environment.features)),
        left_out=tuple(Node(**dict(n)) for n in environment.left_out),
        given=environment.given,
    )


def evidence(report: Report) -> dict[Question, Answer]:
    """Give back what was looked at; what a later version looks at is left out."""
    known = (one for one in report.evidence if one.look in set(Look))
    return {
        Question(Look(one.look), one.node, one.thing): Answer(one.values, one.problem)
        for one in known
    }


def cells(result: Result) -> Iterator[Cell]:
    """Give the cells of a check, attempts together."""
    violations = set(map(id, result.verdict.violations))
    unjudged = set(map(id, result.verdict.unjudged))
    judged = result.word in {Word.PASS, Word.FAIL, Word.KNOWN_DEVIATION}
    for attempts in by_cell(result.seen).values():
        bad = [o for o in attempts if id(o) in violations]
        shown = bad[0] if bad else attempts[-1]
        known = judged and not any(id(o) in unjudged for o in attempts)
        probe = shown.probe
        yield Cell(
            source=str(probe.source),
            target=str(probe.target),
            places=(probe.source.node, target_place(probe)),
            conforms=False if bad else (True if known else None),
            shown=shown,
            attempts=len(attempts),
            seconds=max(o.seconds for o in attempts),
        )
