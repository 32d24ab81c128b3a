"""A fault: a value that says what it breaks, how, and what must be seen of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from faults.ends import Cells, Ends
from faults.site import Site
from pytest_k8snet.model import Feature, Word
from pytest_k8snet.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.report.schema import CheckDocument, Report

Inject = Callable[[Site], AbstractContextManager[None]]

SAMPLED = frozenset(
    {
        *("SERVICE-TARGET-PORT", "SERVICE-SELECTORLESS", "SERVICE-HEADLESS"),
        *("SERVICE-TERMINATING-FALLBACK", "DNS-SERVICE", "DNS-LARGE"),
    }
)
"""Rules that draw a backend for each of a few connections, or ask for something large
and something larger: of their cells that can fail some do not."""


LEFT_OUT = frozenset(
    rule.id for rule in RULES if rule.option or Feature.NETWORK_POLICY in rule.needs
)
"""Rules that need what only the user can name, or a network plugin with policies."""


@dataclass(frozen=True)
class Fault:
    """One fault on a three-node cluster.

    Attributes:
        id: as in the catalogue of failure modes.
        breaks: what it breaks, in one sentence.
        inject: makes it, and always heals it.
        red: the rules that must fail, each with the cells that must.
        inconclusive: the rules that cannot be judged because of it, each with the
            cells that make a check so.
        may: the rules that chance decides about, each with why.

    """

    id: str
    breaks: str
    inject: Inject
    red: Mapping[str, Cells]
    inconclusive: Mapping[str, Cells] = field(default_factory=dict)
    may: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.id


def surprises(fault: Fault, report: Report, site: Site) -> list[str]:
    """Say everything in which a report differs from what the fault must show."""
    found: list[str] = []
    failed = {c.rule for c in report.checks if c.result == Word.FAIL}
    found += [f"{rule} is not red" for rule in sorted(set(fault.red) - failed)]
    for check in report.checks:
        found += _of_check(fault, check, site)
    return found


def _of_check(fault: Fault, check: CheckDocument, site: Site) -> Iterator[str]:
    if check.rule in fault.may or check.rule in LEFT_OUT:
        return
    # The same ends may be asked in several ways: one that fails is enough.
    failed: dict[Ends, bool] = {}
    for cell in check.cells:
        ends = Ends.of(cell, site)
        failed[ends] = failed.get(ends, False) or cell.conforms is False
    bad = {end for end in failed if fault.red.get(check.rule, _nowhere)(end)}
    if check.rule in SAMPLED:
        bad = {end for end in bad if failed[end]}
    expected = Word.FAIL if bad else Word.PASS
    if any(map(fault.inconclusive.get(check.rule, _nowhere), failed)):
        expected = Word.INCONCLUSIVE
    if check.result != expected:
        yield f"{check.id} is {check.result}, should be {expected}: {check.reason}"
        yield from (f"  {c.detail}" for c in check.cells if c.detail)
    elif expected is not Word.INCONCLUSIVE:
        for end, is_bad in failed.items():
            if is_bad != (end in bad):
                word = "fails" if is_bad else "conforms"
                yield f"{check.id}: unexpected: {end} {word}"


def _nowhere(_: Ends) -> bool:
    return False
