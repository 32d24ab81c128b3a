"""Why does it fail? From what a run saw to an ordered list of findings. Pure.

One cause gives one finding, however many checks it turns red: the cause that accounts
for most of the failing cells is found first, and the next one among what is left.
Where nothing fits, the finding says so: naming nothing beats naming wrongly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_k8snet.diagnose.cause import UNKNOWN, Confidence, Finding, Place, Scope
from pytest_k8snet.diagnose.causes import CAUSES
from pytest_k8snet.diagnose.matrix import matrix
from pytest_k8snet.model import Family, Kind, Protocol
from pytest_k8snet.result import describe, shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_k8snet.diagnose.cause import Cause
    from pytest_k8snet.diagnose.matrix import Cell, Matrix
    from pytest_k8snet.model import ClusterFacts
    from pytest_k8snet.result import Result

__all__ = ["CAUSES", "UNKNOWN", "Confidence", "Finding", "diagnose"]

MOST_SHOWN = 3
THINGS = (Kind.CLUSTER_IP, Kind.NODE_PORT, Kind.DNS_SERVER)
TRAFFIC = (
    (None, None),
    *((family, None) for family in Family),
    *((None, protocol) for protocol in Protocol),
)
"""The kinds of traffic that may be hit alone, the widest first."""


@dataclass(frozen=True)
class Fit:
    """A cause that fits at a place, what it accounts for, how many signs it shows."""

    cause: Cause
    place: Place
    explained: frozenset[Cell]
    signs: int

    def accounts_alike(self, best: Fit) -> bool:
        """Whether it is another cause that accounts for the same at the same place."""
        return self.cause is not best.cause and (self.place, self.explained) == (
            best.place,
            best.explained,
        )


def diagnose(facts: ClusterFacts, results: Iterable[Result]) -> tuple[Finding, ...]:
    """Find the causes of what failed, the one that explains most first.

    Args:
        facts: what discovery found.
        results: of every check.

    """
    seen = matrix(facts, results)
    findings: list[Finding] = []
    while seen.bad:
        finding, explained = _likeliest(seen, facts)
        findings.append(finding)
        seen = seen.without(explained)
    return tuple(findings)


def _likeliest(seen: Matrix, facts: ClusterFacts) -> tuple[Finding, frozenset[Cell]]:
    places = _places(seen.bad)
    fitting = [
        Fit(cause, place, explained, signs)
        for cause in CAUSES
        if cause.where(facts)
        for place in places[cause.scope]
        if (signs := cause.fits(seen, place))
        and (explained := frozenset(c for c in seen.bad if cause.explains(c, place)))
    ]
    if not fitting:
        return _unknown(seen.bad), frozenset(seen.bad)
    # The first of equals stays the first: the table is ordered by likelihood.
    best = min(fitting, key=lambda f: (-len(f.explained), -f.signs, f.place.part))
    also = {f.cause.id: None for f in fitting if f.accounts_alike(best)}
    return _finding(best, facts, tuple(also)), best.explained


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
    return {
        scope: [
            replace(place, family=family, protocol=protocol)
            for family, protocol in TRAFFIC
            for place in found
        ]
        for scope, found in places.items()
    }


def _dialled(kind: Kind, bad: Iterable[Cell]) -> list[tuple[str, ...]]:
    """Give what is dialled in vain: each by itself, and all of a kind together."""
    targets = (c.seen.probe.target for c in bad)
    names = sorted({target.name for target in targets if target.kind is kind})
    return [*((name,) for name in names), *([tuple(names)] if len(names) > 1 else [])]


def _finding(fit: Fit, facts: ClusterFacts, also: tuple[str, ...]) -> Finding:
    cause, place = fit.cause, fit.place
    words = _words(place, facts)
    return Finding(
        cause=cause.id,
        layer=cause.layer,
        confidence=cause.confidence,
        sentence=cause.says.format(**words),
        nodes=place.nodes[:1],
        thing=", ".join(place.things),
        evidence=_evidence(fit.explained, cause.shown_by),
        next=cause.next.format(**words),
        link=cause.link,
        checks=_checks(fit.explained, cause.shown_by),
        also=also,
    )


def _words(place: Place, facts: ClusterFacts) -> dict[str, str]:
    node, peer = (*place.nodes, "", "")[:2]
    ranges = next((n.pod_cidrs for n in facts.nodes if n.name == peer), ())
    part = str(place.family or place.protocol or "").upper().replace("IPV", "IPv")
    return {
        "node": node,
        "peer": peer,
        "peer_range": " ".join(ranges),
        "thing": ", ".join(place.things),
        "only": f" ({part} only)" if part else "",
    }


def _unknown(bad: Sequence[Cell]) -> Finding:
    where = shape(c.seen for c in bad)
    return Finding(
        cause=UNKNOWN,
        layer=UNKNOWN,
        confidence=Confidence.CONSISTENT,
        sentence=f"No known cause fits what fails {where}.",
        evidence=_evidence(bad, ()),
        next="the reproduce lines below ask single cells again",
        checks=_checks(bad, ()),
    )


def _evidence(cells: Iterable[Cell], telling: Sequence[str]) -> tuple[str, ...]:
    """Count what fails, and show a cell of a few rules, the telling ones first."""
    ordered = sorted(cells, key=lambda c: (c.rule not in telling, c.check))
    first = {c.rule: c for c in reversed(ordered)}
    lines = [f"{c.rule}: {describe(c.seen)}" for c in reversed(first.values())]
    return (f"{len(ordered)} cells of {len(first)} rules", *lines[:MOST_SHOWN])


def _checks(cells: Iterable[Cell], telling: Sequence[str]) -> tuple[str, ...]:
    ordered = sorted({(c.rule not in telling, c.check) for c in cells})
    return tuple(check for _, check in ordered)
