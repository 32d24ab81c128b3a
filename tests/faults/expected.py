"""What must be seen of a fault: a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from faults.ends import Cells, Ends
from pytest_k8snet.faults.fault import Fault, together
from pytest_k8snet.model import Feature, Word
from pytest_k8snet.result import describe
from pytest_k8snet.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from pytest_k8snet.faults.site import Site
    from pytest_k8snet.report.recording import Cell, Recording
    from pytest_k8snet.report.schema import CheckDocument

SAMPLED = frozenset(
    {
        *("SERVICE-TARGET-PORT", "SERVICE-SELECTORLESS", "SERVICE-HEADLESS"),
        *("SERVICE-TERMINATING-FALLBACK", "DNS-SERVICE", "DNS-LARGE"),
    }
)
"""Rules that draw a backend for each of a few connections, or ask for something large
and something larger: of their cells that can fail some do not."""


POLICED = frozenset(rule.id for rule in RULES if Feature.NETWORK_POLICY in rule.needs)
"""Rules that ask for what policies allow and for what they do not: in each of their
checks, some cells conform whatever goes wrong."""

ENTERED_BY = {Feature.LOAD_BALANCER, Feature.INGRESS, Feature.GATEWAY}
LACKING = {Feature.NETWORK_POLICY, Feature.SCTP, *ENTERED_BY}
LEFT_OUT = frozenset(rule.id for rule in RULES if rule.option or rule.needs & LACKING)
"""Rules that need what only the user can name, or what the shared cluster has not."""

WAIT = (
    *("SERVICE-AFFINITY-TIMEOUT", "DNS-UPDATE-TIME", "POD-IDLE-CONNECTION"),
    *("POD-TERMINATING", "POD-ADDRESS-RELEASED"),
)
WHAT_WAITS = ("--k8snet-profile=full", "-k", " or ".join(WAIT))
"""Arguments for the rules that wait by nature."""


@dataclass(frozen=True)
class Blame:
    """What a finding says is at fault.

    Attributes:
        cause: an id of ``diagnose.CAUSES``.
        nodes: the Nodes at fault, without the cluster's name.
        thing: a part of the address or Service at fault.
        peer: the Node at the other end of what is broken, where one cannot tell which
            end it is: it may be named, too, or instead.

    """

    cause: str
    nodes: tuple[str, ...] = ()
    thing: str = ""
    peer: str = ""


@dataclass(frozen=True)
class Expected:
    """What must be seen of one fault on a three-node cluster.

    Attributes:
        fault: the fault.
        red: the rules that must fail, each with the cells that must.
        inconclusive: the rules that cannot be judged because of it, each with the
            cells that make a check so.
        may: the rules that chance decides about, each with why.
        args: what the suite is run with, the same for all faults of a round.
        blame: what the first finding must say.

    """

    fault: Fault
    red: Mapping[str, Cells]
    inconclusive: Mapping[str, Cells] = field(default_factory=dict)
    may: Mapping[str, str] = field(default_factory=dict)
    args: tuple[str, ...] = ()
    blame: Blame | None = None

    def __str__(self) -> str:
        return self.fault.id


@dataclass(frozen=True)
class ByRule:
    """What must be seen of one fault, whichever cells its rules have.

    Attributes:
        fault: the fault.
        red: the rules that must fail, each with what must be said of it.
        inconclusive: the rules that cannot be judged because of it.
        may: the rules that chance decides about, each with why.
        args: what the suite is run with, beside what chooses its rules.
        blame: what the first finding must say.

    """

    fault: Fault
    red: Mapping[str, str]
    inconclusive: frozenset[str] = frozenset()
    args: tuple[str, ...] = ()
    may: Mapping[str, str] = field(default_factory=dict)
    blame: Blame | None = None

    def __str__(self) -> str:
        return self.fault.id


Round = tuple[Expected, ...]
"""Faults that are made together, because each shows by itself."""


def injected(faults: Round, site: Site) -> AbstractContextManager[None]:
    """Make the faults of a round; heal them whatever happens."""
    return together(*(one.fault.inject for one in faults))(site)


def surprises(faults: Round, recording: Recording, site: Site) -> list[str]:
    """Say everything in which a report differs from what the faults must show."""
    found: list[str] = []
    checks = recording.report.checks
    red = {rule for fault in faults for rule in fault.red}
    failed = {c.rule for c in checks if c.result == Word.FAIL}
    found += [f"{rule} is not red" for rule in sorted(red - failed)]
    for check in checks:
        named = any(check.rule in {*f.red, *f.inconclusive} for f in faults)
        if named or check.rule not in LEFT_OUT:
            found += _of_check(faults, check, recording.cells[check.id], site)
    return found


def _of_check(
    faults: Round, check: CheckDocument, cells: Sequence[Cell], site: Site
) -> Iterator[str]:
    rule = check.rule
    if any(rule in fault.may for fault in faults):
        return
    # The same ends may be asked in several ways: one that fails is enough.
    failed: dict[Ends, bool] = {}
    for cell in cells:
        ends = Ends.of(cell, site, check.family)
        failed[ends] = failed.get(ends, False) or cell.conforms is False
    reds = [fault.red[rule] for fault in faults if rule in fault.red]
    bad = {end for end in failed if any(red(end) for red in reds)}
    if rule in SAMPLED:
        bad = {end for end in bad if failed[end]}
    expected = Word.FAIL if bad else Word.PASS
    if rule in POLICED:
        bad = {end for end in bad if failed[end]}
    unclear = [f.inconclusive[rule] for f in faults if rule in f.inconclusive]
    if any(lost(end) for lost in unclear for end in failed):
        expected = Word.INCONCLUSIVE
    if check.result != expected:
        yield f"{check.id} is {check.result}, should be {expected}: {check.reason}"
        yield from (f"  {describe(c.shown)}" for c in cells if not c.conforms)
    elif expected is not Word.INCONCLUSIVE:
        for end, is_bad in failed.items():
            if is_bad != (end in bad):
                word = "fails" if is_bad else "does not fail"
                yield f"{check.id}: unexpected: {end} {word}"


def seen(red: Mapping[str, Cells], recording: Recording, site: Site) -> dict[str, int]:
    """Count the cells in which each rule that is to be red is."""
    counts: dict[str, int] = {}
    for check in recording.report.checks:
        cells = red.get(check.rule)
        if cells and check.result == Word.FAIL:
            failed = [c for c in recording.cells[check.id] if c.conforms is False]
            found = sum(cells(Ends.of(c, site, check.family)) for c in failed)
            counts[check.rule] = counts.get(check.rule, 0) + found
    return {rule: count for rule, count in sorted(counts.items()) if count}
