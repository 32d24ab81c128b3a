"""What a run saw, as cells that hold or fail, each with the Nodes it depends on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from pytest_k8snet.model import (
    Actor,
    Ask,
    Family,
    Kind,
    Observation,
    Op,
    Outcome,
    Probe,
    Protocol,
    Role,
    Target,
    Word,
)
from pytest_k8snet.result import by_cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_k8snet.model import ClusterFacts, Observations
    from pytest_k8snet.result import Result

ASKS_NAMES = frozenset({Op.DNS, Op.LOOKUP})

RUNS = "RUNS"
"""Stands for the rule, which is none of the suite's, that its own Pods run."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One pair of ends of one check; equal only to itself.

    Attributes:
        check: the check's id.
        rule: its rule's id.
        attempts: what was seen, a violation first.
        fails: None when it was not judged.
        nodes: the Nodes that it needs: those of its ends, of who may answer, and of
            the name servers when it asks for a name.

    """

    check: str
    rule: str
    attempts: Observations
    fails: bool | None
    nodes: frozenset[str]

    @property
    def seen(self) -> Observation:
        """Give what stands for it: a violation, if there is one."""
        return self.attempts[0]

    @property
    def source(self) -> str:
        """Give the Node that asks; "" outside."""
        return self.seen.probe.source.node

    @property
    def target(self) -> str:
        """Give the Node that is dialled; "" when the target is on none."""
        return self.seen.probe.target.node

    @cached_property
    def family(self) -> Family | None:
        """Give the IP family, by what was dialled when the question left it open.

        In which one a name server is asked about another one is open as well.
        """
        probe, address = self.seen.probe, self.seen.dialled.partition(" ")[0]
        if probe.target.kind is Kind.DNS_SERVER:
            address = probe.target.name
        elif probe.ask.op in ASKS_NAMES or probe.target.kind is Kind.NAME:
            return None
        elif probe.family or not address:
            return probe.family
        try:
            return Family(f"ipv{ip_address(address).version}")
        except ValueError:
            return None

    @property
    def protocol(self) -> Protocol | None:
        """Give the transport, None where there is no choice."""
        return self.seen.probe.protocol


class Matrix:
    """The cells of a run, by the rules that ask about them.

    Args:
        cells: all of them.

    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        self.cells = tuple(cells)
        self.bad = tuple(c for c in self.cells if c.fails)
        self._of: dict[tuple[str, ...], tuple[tuple[Cell, ...], tuple[Cell, ...]]] = {}

    def of(self, rules: tuple[str, ...]) -> tuple[tuple[Cell, ...], tuple[Cell, ...]]:
        """Give the judged cells of some rules, and those of them that fail.

        Args:
            rules: their ids; () for all of the suite's.

        """
        if rules not in self._of:
            mine = tuple(
                c
                for c in self.cells
                if c.fails is not None
                and (c.rule in rules if rules else c.rule != RUNS)
            )
            self._of[rules] = mine, tuple(c for c in mine if c.fails)
        return self._of[rules]

    def without(self, explained: frozenset[Cell]) -> Matrix:
        """Leave out what is explained already."""
        return Matrix(c for c in self.cells if c not in explained)


def matrix(
    facts: ClusterFacts, results: Iterable[Result], problems: Mapping[str, str]
) -> Matrix:
    """Lay out what was seen of every check that was asked, and what does not run."""
    resolvers = frozenset(filter(None, (home(facts, a) for a in facts.dns_replicas)))
    asked = (cell for one in results for cell in _cells(one, resolvers))
    return Matrix((*asked, *(_not_running(*one) for one in problems.items())))


def _not_running(identity: str, why: str) -> Cell:
    """Give a cell that stands for an actor which does not run."""
    role, _, place = identity.partition("@")
    pod = Target(Kind.POD, role, node=place.partition("/")[0])
    probe = Probe(Ask(Role.API, Op.STATUS, pod), Actor(Role.API, pod.node), pod)
    seen = Observation(probe, Outcome.ANSWERED_WRONGLY, detail=why)
    nodes = frozenset(filter(None, [pod.node]))
    return Cell("", RUNS, (seen,), fails=True, nodes=nodes)


def home(facts: ClusterFacts, address: str) -> str:
    """Name the Node whose pod ranges an address is in; "" for none."""
    for node in facts.nodes:
        if any(ip_address(address) in ip_network(r) for r in node.pod_cidrs):
            return node.name
    return ""


def _cells(result: Result, resolvers: frozenset[str]) -> Iterator[Cell]:
    bad = set(map(id, result.verdict.violations)) if result.word is Word.FAIL else set()
    judged = result.word in {Word.PASS, Word.FAIL, Word.KNOWN_DEVIATION}
    for attempts in by_cell(result.seen).values():
        first = sorted(attempts, key=lambda o: id(o) not in bad)
        fails = id(first[0]) in bad
        known = judged and all(o.outcome is not Outcome.NOT_PROBED for o in attempts)
        yield Cell(
            check=result.check.id,
            rule=result.check.rule.id,
            attempts=tuple(first),
            fails=fails if fails or known else None,
            nodes=_needed(first[0], resolvers),
        )


def _needed(seen: Observation, resolvers: frozenset[str]) -> frozenset[str]:
    probe = seen.probe
    nodes = {probe.source.node, probe.target.node}
    nodes |= {
        identity.partition("@")[2].partition("/")[0] for identity in seen.may_answer
    }
    if probe.ask.op in ASKS_NAMES or probe.target.kind is Kind.NAME:
        nodes |= resolvers
    return frozenset(nodes - {""})
