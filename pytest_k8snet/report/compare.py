"""What differs between two runs: rules, cells, times and what was tested. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING

from pytest_k8snet.model import Kind, Op, Outcome, Word
from pytest_k8snet.report.packing import rounded
from pytest_k8snet.report.recording import cells
from pytest_k8snet.report.schema import (
    BaselineDocument,
    ChangeDocument,
    ShiftDocument,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_k8snet.model import Observation
    from pytest_k8snet.report.recording import Recording
    from pytest_k8snet.report.schema import Environment, NodeDocument
    from pytest_k8snet.result import Result

GOOD = frozenset({Word.PASS, Word.KNOWN_DEVIATION})
UNASKED = frozenset({Word.NOT_APPLICABLE})

FEWEST = 20
"""Answers of one kind without which their times say nothing."""
SLOWER = 3.0
SLOWER_BY = 0.005
"""Seconds. The fastest answer of a kind has to differ by more than this, and by more
than the factor above: load makes the others slow. In 45 pairs of runs of one healthy
cluster, on two processors with other work to do, none did."""
LATER = 2.0
LATER_BY = 3.0
"""Likewise for the time until a change shows: service proxies sync when they do."""

SLOWER_MEANS = (
    f"Answers count as slower or faster when the fastest of at least {FEWEST} "
    f"differs by a factor above {SLOWER:g} and by more than {SLOWER_BY * 1000:g} ms"
)
LATER_MEANS = (
    "Changes count as slower or faster when the median time until they show differs "
    f"by a factor above {LATER:g} and by more than {LATER_BY:g} s"
)
THRESHOLD = f"{SLOWER_MEANS}. {LATER_MEANS}."

NOT_SENT = frozenset({Op.BIND, Op.FACT, Op.STATUS})
"""What takes no network to answer."""


class Change(StrEnum):
    """What became of a check, or of a cell of it."""

    REGRESSED = "regressed"
    FIXED = "fixed"
    NEW = "new"
    GONE = "gone"
    UNCHANGED = "unchanged"


DRAWN = frozenset({Kind.CLUSTER_IP, Kind.NODE_PORT, Kind.NAME})
"""Targets behind which chance decides who answers. Of a check that failed already,
other such cells fail in every run: that is no regression."""

CellKey = tuple[object, ...]


@dataclass(frozen=True)
class CheckChange:
    """One check in two runs; its result is None where it was not asked at all."""

    id: str
    before: Result | None
    after: Result | None
    change: Change
    cells: Mapping[Change, tuple[str, ...]]


@dataclass(frozen=True)
class Shift:
    """Times that differ by more than noise does, in seconds."""

    what: str
    before: float
    after: float


@dataclass(frozen=True)
class Comparison:
    """Two runs, side by side.

    Attributes:
        nodes: the Nodes of the later run, each with the one it stands for before.
        environment: what differs in what was tested, a line each.
        checks: every check of either run, sorted by id.
        shifts: times that differ.

    """

    before: Recording
    after: Recording
    nodes: Mapping[str, str]
    environment: tuple[str, ...]
    checks: tuple[CheckChange, ...]
    shifts: tuple[Shift, ...]

    def of(self, change: Change) -> tuple[CheckChange, ...]:
        """Give the checks that changed so."""
        return tuple(c for c in self.checks if c.change is change)


def compare(before: Recording, after: Recording) -> Comparison:
    """Compare two runs."""
    places = match_places(before.report.environment, after.report.environment)
    own = {n.name for n in after.report.environment.nodes}
    was, is_ = ({r.check.id: r for r in one.results} for one in (before, after))
    return Comparison(
        before=before,
        after=after,
        nodes={now: then for now, then in places.items() if now in own},
        environment=tuple(differences(before, after)),
        checks=tuple(
            compare_check(name, was.get(name), is_.get(name), places)
            for name in sorted({*was, *is_})
        ),
        shifts=tuple(shifts(before, after)),
    )


# ------------------------------------------------------------------------------ places


def match_places(before: Environment, after: Environment) -> dict[str, str]:
    """Give, for every place of the later run, the one that it stands for.

    Nodes keep their names; those that were replaced are matched by their roles and
    zones, in the order of names. Replicas of the cluster DNS have no names to keep.
    """
    kept = {n.name for n in before.nodes} & {n.name for n in after.nodes}
    matched = {name: name for name in kept}
    then, now = (_by_place_and_part(e.nodes, kept) for e in (before, after))
    for kind, names in now.items():
        matched |= dict(zip(names, then.get(kind, ()), strict=False))
    for new, old in zip(after.dns_replicas, before.dns_replicas, strict=False):
        matched[new] = old
    return matched


def _by_place_and_part(
    nodes: Sequence[NodeDocument], kept: set[str]
) -> dict[object, list[str]]:
    found: dict[object, list[str]] = defaultdict(list)
    for node in nodes:
        if node.name not in kept:
            found[node.roles, node.zone].append(node.name)
    return found


# ------------------------------------------------------------------------------ checks


def compare_check(
    name: str,
    before: Result | None,
    after: Result | None,
    places: Mapping[str, str],
) -> CheckChange:
    """Say what became of one check."""
    same = {place: place for place in places.values()}
    was = _cells(before, same) if before else {}
    is_ = _cells(after, places) if after else {}
    cells: dict[Change, list[str]] = defaultdict(list)
    worse = False
    for key, (good, said) in is_.items():
        change = _of_cell(was[key][0] if key in was else None, good)
        cells[change].append(said)
        worse |= change is Change.REGRESSED and DRAWN.isdisjoint(key)
    cells[Change.GONE] = [said for key, (_, said) in was.items() if key not in is_]
    change = of_check(before, after, worse=worse)
    return CheckChange(
        name, before, after, change, {k: tuple(v) for k, v in cells.items() if v}
    )


def of_check(before: Result | None, after: Result | None, *, worse: bool) -> Change:
    """Say what became of a check; worse when a cell regressed, and not by chance."""
    then = None if before is None or before.word in UNASKED else before.word
    now = None if after is None or after.word in UNASKED else after.word
    if then is None or now is None:
        return {
            (True, True): Change.UNCHANGED,
            (True, False): Change.NEW,
            (False, True): Change.GONE,
        }[then is None, now is None]
    if now in GOOD:
        return Change.UNCHANGED if then in GOOD else Change.FIXED
    if then in GOOD or worse:
        return Change.REGRESSED
    known = then is Word.FAIL or now is Word.INCONCLUSIVE
    return Change.UNCHANGED if known else Change.NEW


def _of_cell(then: bool | None, now: bool | None) -> Change:
    if then is None:
        return Change.NEW if now is False else Change.UNCHANGED
    if now is None or then is now:
        return Change.UNCHANGED
    return Change.FIXED if now else Change.REGRESSED


def _cells(
    result: Result, places: Mapping[str, str]
) -> dict[CellKey, tuple[bool | None, str]]:
    """Give, by what stands for the same cell in both runs, whether it conforms."""
    found: dict[CellKey, tuple[bool | None, str]] = {}
    for cell in cells(result):
        probe = cell.shown.probe
        name = "" if probe.target.kind is Kind.DNS_SERVER else probe.target.name
        source, target = (places.get(p, p) for p in cell.places)
        key: CellKey = (probe.source.role, probe.source.container, source)
        key += (probe.target.kind, name, probe.target.port, target, probe.ask.op)
        # Of cells that differ only in what they expect, any wrong one counts.
        good, said = found.get(key, (None, ""))
        worst = False if False in {good, cell.conforms} else cell.conforms or good
        found[key] = (worst, said or f"{cell.source} -> {cell.target}")
    return found


# ------------------------------------------------------------------------- environment


def differences(before: Recording, after: Recording) -> Iterator[str]:
    """Say what differs in what was tested, and in what tested it."""
    was, is_ = before.report, after.report
    one, two = was.environment, is_.environment
    pairs = {
        "suite": (was.suite.version or "unknown", is_.suite.version or "unknown"),
        "profile": (was.suite.profile, is_.suite.profile),
        "context": (one.context, two.context),
        "server": (one.server, two.server),
        "Kubernetes": (one.kubernetes, two.kubernetes),
        "network plugin": (one.network, two.network),
        "service proxy": (one.service_proxy, two.service_proxy),
        "IP families": (" ".join(one.families), " ".join(two.families)),
        "features": (" ".join(one.features), " ".join(two.features)),
        "Nodes": tuple(" ".join(n.name for n in e.nodes) for e in (one, two)),
        "kubelets": (kubelets(one), kubelets(two)),
    }
    for what, (then, now) in pairs.items():
        if then != now:
            yield f"{what}: {then or 'none'} -> {now or 'none'}"


def kubelets(environment: Environment) -> str:
    """Say how many Nodes have a kubelet of which version."""
    counts = Counter(n.kubelet_version or "unknown" for n in environment.nodes)
    return " ".join(f"{version} x {n}" for version, n in sorted(counts.items()))


# ------------------------------------------------------------------------------- times


def shifts(before: Recording, after: Recording) -> Iterator[Shift]:
    """Give the times that differ by more than noise does."""
    yield from slower(before, after)
    yield from later(before, after)


def slower(before: Recording, after: Recording) -> Iterator[Shift]:
    """Give the answers whose times do."""
    for what, (then, now) in _paired(latencies(before), latencies(after)).items():
        if min(len(then), len(now)) >= FEWEST:
            yield from _shift(what, min(then), min(now), SLOWER, SLOWER_BY)


def later(before: Recording, after: Recording) -> Iterator[Shift]:
    """Give the changes that take another time until they show."""
    for what, (then, now) in _paired(showing(before), showing(after)).items():
        if then and now:
            yield from _shift(what, median(then), median(now), LATER, LATER_BY)


def _paired(
    then: Mapping[str, list[float]], now: Mapping[str, list[float]]
) -> dict[str, tuple[list[float], list[float]]]:
    return {what: (then.get(what, []), now[what]) for what in sorted(now)}


def _shift(
    what: str, then: float, now: float, factor: float, by: float
) -> Iterator[Shift]:
    low, high = sorted((then, now))
    if high > low * factor and high - low > by:
        yield Shift(what, then, now)


def _once(recording: Recording) -> Iterator[tuple[str, Observation]]:
    """Give every observation once, with the rule that asked, however many judge it."""
    met: set[int] = set()
    for result in recording.results:
        for one in result.seen:
            if id(one) not in met:
                met.add(id(one))
                yield result.check.rule.id, one


def latencies(recording: Recording) -> dict[str, list[float]]:
    """Give the seconds of every answer, by what was asked over which path."""
    found: dict[str, list[float]] = defaultdict(list)
    for _, one in _once(recording):
        probe = one.probe
        if one.outcome not in {Outcome.CONNECTED, Outcome.ANSWERED}:
            continue
        if one.after is not None or probe.ask.op in NOT_SENT:
            continue
        where = ""
        if probe.target.kind is Kind.POD:
            same = probe.source.node == probe.target.node
            where = " same-node" if same else " cross-node"
        how = f" {probe.protocol}" if probe.protocol else ""
        to = f" to {probe.target.kind}" if probe.target.kind is not Kind.NONE else ""
        found[f"{probe.ask.op}{to}{how}{where}"].append(one.seconds)
    return found


def showing(recording: Recording) -> dict[str, list[float]]:
    """Give the seconds from a change until it showed, by the rule that watched."""
    found: dict[str, list[float]] = defaultdict(list)
    for rule, one in _once(recording):
        if one.after is not None:
            found[rule].append(one.after)
    return found


# ---------------------------------------------------------------------------- document


def baseline_document(made: Comparison) -> BaselineDocument:
    """Describe a comparison with a baseline: what changed, and nothing else."""
    return BaselineDocument(
        started=made.before.report.started,
        results=made.before.report.results,
        nodes={now: then for now, then in made.nodes.items() if now != then},
        environment=list(made.environment),
        changes=[
            ChangeDocument(
                check=c.id,
                change=str(c.change),
                before=str(c.before.word) if c.before else "",
                after=str(c.after.word) if c.after else "",
                cells={str(k): len(v) for k, v in c.cells.items()},
            )
            for c in made.checks
            if c.change is not Change.UNCHANGED
        ],
        threshold=THRESHOLD,
        shifts=[
            ShiftDocument(what=s.what, before=rounded(s.before), after=rounded(s.after))
            for s in made.shifts
        ],
    )
