"""The causes that fit what fails, each at every place where it may be. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from pytest_k8snet.diagnose.cause import THINGS, Confidence, Place, Scope
from pytest_k8snet.diagnose.causes import CAUSES
from pytest_k8snet.diagnose.evidence import Says

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_k8snet.diagnose.cause import Cause
    from pytest_k8snet.diagnose.evidence import Evidence, Testimony
    from pytest_k8snet.diagnose.matrix import Cell, Matrix
    from pytest_k8snet.model import ClusterFacts, Kind

NEARLY = 0.5
"""What part of what the best one accounts for makes another cause a suspect, too."""


@dataclass(frozen=True)
class Fit:
    """A cause that fits at a place.

    Attributes:
        cause, place: which, and where.
        explained: what it accounts for.
        signs: how many of its signs are shown.
        testimony: what the evidence says of each of its proofs.

    """

    cause: Cause
    place: Place
    explained: frozenset[Cell]
    signs: int
    testimony: tuple[Testimony, ...]

    @property
    def confirmed(self) -> bool:
        """Whether there is evidence of it, seen by the checks or gathered."""
        seen = self.cause.confidence is Confidence.CONFIRMED
        return seen or any(t.says is Says.CONFIRMS for t in self.testimony)

    @property
    def possible(self) -> bool:
        """Whether nothing rules it out, and nothing is missing that it needs."""
        against = any(t.says is Says.RULES_OUT for t in self.testimony)
        return self.confirmed or not (against or self.cause.unsigned)

    @property
    def weight(self) -> float:
        """Say how good an account it gives: evidence makes up for some cells."""
        return len(self.explained) * (1 / NEARLY if self.confirmed else 1)

    def accounts_alike(self, best: Fit) -> bool:
        """Whether it is another cause that accounts for the same at the same place."""
        return self.cause is not best.cause and (self.place, self.explained) == (
            best.place,
            best.explained,
        )


def all_fitting(seen: Matrix, facts: ClusterFacts, evidence: Evidence) -> list[Fit]:
    """Give every cause that fits, at every place."""
    places = _places(seen.bad)
    return [
        fit
        for cause in CAUSES
        if cause.where(facts)
        for place in places[cause.scope]
        for fit in _at(cause, place, seen, facts, evidence)
    ]


def _at(
    cause: Cause, place: Place, seen: Matrix, facts: ClusterFacts, evidence: Evidence
) -> Iterator[Fit]:
    if not (signs := cause.fits(seen, place)):
        return
    if explained := frozenset(c for c in seen.bad if cause.explains(c, place)):
        testimony = (p.says(place, facts, evidence) for p in cause.proofs)
        yield Fit(cause, place, explained, signs, tuple(testimony))


def likeliest(fitting: Iterable[Fit]) -> Fit | None:
    """Choose what accounts for most; None when nothing is left that may be it."""
    # The first of equals stays the first: the table is ordered by likelihood.
    return min(
        (f for f in fitting if f.possible),
        key=lambda f: (-f.weight, not f.confirmed, -f.signs, f.place.narrowed),
        default=None,
    )


def _places(bad: Sequence[Cell]) -> dict[Scope, list[Place]]:
    """Give every place that what fails has in common, for all and for each traffic."""
    ends = {(c.source, c.target) for c in bad if c.source and c.target}
    pairs = sorted({p for a, b in ends if a != b for p in ((a, b), (b, a))})
    nodes = sorted({n for c in bad for n in (c.source, c.target) if n})
    things = [names for kind in THINGS for names in _dialled(kind, bad)]
    places = {
        Scope.NODE: [Place((node,)) for node in nodes],
        Scope.PAIR: [Place(pair) for pair in pairs],
        Scope.OBJECT: [Place(things=names) for names in things],
        Scope.CLUSTER: [Place()],
    }
    # The kinds of traffic that may be hit alone.
    families = (None, *sorted({c.family for c in bad if c.family}))
    protocols = (None, *sorted({c.protocol for c in bad if c.protocol}))
    traffic = list(product(families, protocols))
    return {
        scope: [
            replace(place, family=family, protocol=protocol)
            for family, protocol in traffic
            for place in found
        ]
        for scope, found in places.items()
    }


def _dialled(kind: Kind, bad: Iterable[Cell]) -> list[tuple[str, ...]]:
    """Give what is dialled in vain: each by itself, and all of a kind together."""
    targets = (c.seen.probe.target for c in bad)
    names = sorted({target.name for target in targets if target.kind is kind})
    return [*((name,) for name in names), *([tuple(names)] if len(names) > 1 else [])]
