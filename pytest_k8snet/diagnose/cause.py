"""The vocabulary of causes: what each shows, and where it can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pytest_k8snet.diagnose.matrix import ASKS_NAMES, Cell, Matrix
from pytest_k8snet.model import Kind

if TYPE_CHECKING:
    from pytest_k8snet.diagnose.evidence import Proof
    from pytest_k8snet.model import ClusterFacts, Family, Observation, Protocol


THINGS = (Kind.CLUSTER_IP, Kind.NODE_PORT, Kind.DNS_SERVER)
"""The kinds of targets that may be at fault by themselves."""


class Scope(StrEnum):
    """What a cause is a cause of."""

    NODE = "one Node"
    PAIR = "one Node, towards one other"
    OBJECT = "an address, or a Service"
    CLUSTER = "the whole cluster"


class Confidence(StrEnum):
    """How sure a finding is."""

    CONFIRMED = "confirmed by evidence"
    CONSISTENT = "consistent"  # with the pattern of the failing cells
    CONFIGURED = "works as configured"


@dataclass(frozen=True)
class Place:
    """Where something may be wrong, and for which traffic.

    Attributes:
        nodes: the Node; the two of an ordered pair; () otherwise.
        things: the addresses, or the Service; () otherwise.
        family, protocol: None for all of them.

    """

    nodes: tuple[str, ...] = ()
    things: tuple[str, ...] = ()
    family: Family | None = None
    protocol: Protocol | None = None

    @property
    def narrowed(self) -> int:
        """Count in how many ways only a part of the traffic is meant."""
        return (self.family is not None) + (self.protocol is not None)

    def touches(self, cell: Cell) -> bool:
        """Whether a cell depends on what is here."""
        if self.things:
            return cell.seen.probe.target.name in self.things
        return cell.nodes.issuperset(self.nodes)

    def is_of(self, cell: Cell) -> bool:
        """Whether a cell is not of another IP family or transport."""
        family = self.family in {None, cell.family} or cell.family is None
        return family and (
            self.protocol in {None, cell.protocol} or cell.protocol is None
        )


Region = Callable[[Cell, Place], bool]


def crossing(cell: Cell, place: Place) -> bool:
    """From the Node to another one, or back."""
    return cell.source != cell.target and place.nodes[0] in {cell.source, cell.target}


def leaving(cell: Cell, place: Place) -> bool:
    """From the Node to another one."""
    return cell.source == place.nodes[0] != cell.target != ""


def entering(cell: Cell, place: Place) -> bool:
    """To the Node from another one, or from outside."""
    return cell.target == place.nodes[0] != cell.source


def within(cell: Cell, place: Place) -> bool:
    """From the Node to itself."""
    return cell.source == cell.target == place.nodes[0]


def asked_on(cell: Cell, place: Place) -> bool:
    """From the Node, whoever answers."""
    return cell.source == place.nodes[0]


def at_its_address(cell: Cell, place: Place) -> bool:
    """To the Node, from wherever."""
    return cell.target == place.nodes[0]


def forth(cell: Cell, place: Place) -> bool:
    """From the first Node of a pair to the second."""
    return (cell.source, cell.target) == place.nodes


def back(cell: Cell, place: Place) -> bool:
    """From the second Node of a pair to the first."""
    return (cell.target, cell.source) == place.nodes


def either_way(cell: Cell, place: Place) -> bool:
    """Between the two Nodes of a pair."""
    return {cell.source, cell.target} == set(place.nodes)


def at_it(cell: Cell, place: Place) -> bool:
    """To the address or the Service, whatever its name resolves to."""
    target = cell.seen.probe.target
    return target.kind in THINGS and target.name in place.things


def depending(cell: Cell, place: Place) -> bool:
    """From or to the Node, or by way of what is on it."""
    return place.touches(cell)


def anywhere(_cell: Cell, _place: Place) -> bool:
    """Every cell."""
    return True


def by_name(cell: Cell, _place: Place) -> bool:
    """To a name, or with a question about one."""
    probe = cell.seen.probe
    return probe.ask.op in ASKS_NAMES or probe.target.kind is Kind.NAME


def nowhere(_cell: Cell, _place: Place) -> bool:
    """No cell."""
    return False


def anyhow(_: Observation) -> bool:
    """However it fails."""
    return True


@dataclass(frozen=True)
class Sign:
    """What a cause does to one kind of traffic.

    Attributes:
        rules: the rules that ask about it, by id; () for all.
        region: which of their cells, given the place.
        fails: those cells fail; else they hold.
        every: all of them fail; else some do.
        how: how they fail.

    """

    rules: tuple[str, ...]
    region: Region
    fails: bool = True
    every: bool = True
    how: Callable[[Observation], bool] = anyhow

    def shown(self, matrix: Matrix, place: Place) -> bool | None:
        """Whether it is so at a place; None when nothing there was judged.

        A Node is named only when its peers work among themselves: where others fail,
        too, this is no sign of the place. That something holds which was not asked of
        the place's own traffic is refuted by other traffic.
        """
        mine, bad = matrix.of(self.rules)
        here = sum(place.is_of(c) and self.region(c, place) for c in mine)
        if not (here or self.fails) and any(self.region(c, place) for c in bad):
            return False
        bad = tuple(c for c in bad if place.is_of(c))
        if self.fails and place.nodes and any(not place.touches(c) for c in bad):
            return False
        bad = tuple(c for c in bad if self.region(c, place))
        if not self.fails and bad:
            return False
        if not here:
            return None
        if not self.fails:
            return True
        enough = len(bad) == here if self.every else bool(bad)
        return enough and all(self.how(c.seen) for c in bad)


def always(_: ClusterFacts) -> bool:
    """On every cluster."""
    return True


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Something that breaks the network, and how to tell it from the rest: a value.

    Attributes:
        id: never changed: people search for it.
        layer: the part of the cluster that is at fault.
        scope: where it can be.
        says: one sentence; {node}, {peer}, {thing} and {only} are filled in.
        signs: those that fail all have to be shown, and none may be refuted.
        breaks: the rules that it can turn red, by the beginnings of their ids; ()
            for all.
        reaches: the cells that it can break beside those that depend on its place.
        where: on which clusters it can be.
        confidence: how sure it is by its signs alone: CONFIRMED where what the checks
            saw is the evidence, CONFIGURED where the cluster does what it is told.
        proofs: what would confirm it, or rule it out.
        unsigned: its signs are those of others, too: without a proof it is not named.
        next: what to look at, or to run; filled in likewise, with {peer_range}.
        link: where others met it.

    """

    id: str
    layer: str
    scope: Scope
    says: str
    signs: tuple[Sign, ...]
    next: str
    link: str
    breaks: tuple[str, ...] = ()
    reaches: Region = nowhere
    where: Callable[[ClusterFacts], bool] = always
    confidence: Confidence = Confidence.CONSISTENT
    proofs: tuple[Proof, ...] = ()
    unsigned: bool = False

    @property
    def shown_by(self) -> tuple[str, ...]:
        """Name the rules by whose failure it shows."""
        return tuple(r for sign in self.signs if sign.fails for r in sign.rules)

    def fits(self, matrix: Matrix, place: Place) -> int:
        """Count the signs that a place shows; 0 when it cannot be the cause there."""
        count = 0
        for sign in self.signs:
            shown = sign.shown(matrix, place)
            if shown is False or (sign.fails and shown is None):
                return 0
            count += bool(shown)
        return count

    def explains(self, cell: Cell, place: Place) -> bool:
        """Whether it accounts for a cell that fails."""
        broken = not self.breaks or cell.rule.startswith(self.breaks)
        there = place.touches(cell) or self.reaches(cell, place)
        return bool(cell.fails) and broken and place.is_of(cell) and there


UNKNOWN = "unknown"
"""Stands for the cause where none of them fits."""


@dataclass(frozen=True)
class Finding:
    """Why something fails.

    Attributes:
        cause: an id of ``CAUSES``, or UNKNOWN.
        layer: the part of the cluster that is at fault.
        confidence: how sure it is.
        sentence: what is wrong, where.
        nodes: the Nodes at fault; () when it is none in particular.
        thing: the address or the Service at fault; "" likewise.
        evidence: lines that say what was seen.
        next: what to look at, or to run.
        link: where others met it.
        checks: the checks that it explains, by id.
        also: other causes that fit as well, the likeliest first.

    """

    cause: str
    layer: str
    confidence: Confidence
    sentence: str
    nodes: tuple[str, ...] = ()
    thing: str = ""
    evidence: tuple[str, ...] = ()
    next: str = ""
    link: str = ""
    checks: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
