"""From observations to results: five words, and the lines that explain them. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from ipaddress import ip_address
from itertools import cycle
from typing import TYPE_CHECKING

from pytest_k8snet.manifests import BY_HAND
from pytest_k8snet.model import (
    TIMEOUTS,
    Kind,
    Op,
    Outcome,
    Protocol,
    Role,
    Verdict,
    Word,
)
from pytest_k8snet.verdict import by_source, judged

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from pytest_k8snet.model import (
        Check,
        ClusterFacts,
        Control,
        Deviation,
        Observation,
        Observations,
        Probe,
        Scene,
    )

MOST_CELLS_SHOWN = 6
NO_VERDICT = Verdict()


@dataclass(frozen=True)
class Result:
    """What became of one check.

    Attributes:
        check: the check.
        word: one of the five.
        reason: one line; why not, when it was not judged.
        verdict: what the judge said.
        seen: the observations that were judged.
        reproduce: a command line that repeats one failing cell; "" when none.

    """

    check: Check
    word: Word
    reason: str = ""
    verdict: Verdict = NO_VERDICT
    seen: Observations = ()
    reproduce: str = ""

    @property
    def cells(self) -> int:
        """Count the cells: attempts at one pair are one cell."""
        return len({_cell(o.probe) for o in self.seen})

    @property
    def failed_cells(self) -> int:
        """Count the cells with a violation."""
        return len({_cell(o.probe) for o in self.verdict.violations})


def by_cell(seen: Observations) -> dict[tuple[object, ...], list[Observation]]:
    """Group the attempts at one pair of ends."""
    cells: dict[tuple[object, ...], list[Observation]] = defaultdict(list)
    for one in seen:
        cells[_cell(one.probe)].append(one)
    return cells


def _cell(probe: Probe) -> tuple[object, ...]:
    return (probe.ask, probe.source, probe.target, probe.protocol, probe.family)


def not_applicable(check: Check, reason: str) -> Result:
    """Give the result of a check that does not apply."""
    return Result(check, Word.NOT_APPLICABLE, reason)


def inconclusive(check: Check, reason: str, seen: Observations = ()) -> Result:
    """Give the result of a check that could not be judged."""
    return Result(check, Word.INCONCLUSIVE, reason, seen=seen)


def excused(
    seen: Observation,
    starved: Callable[[float], Mapping[str, float]],
    scale: float = 1.0,
) -> Observation:
    """Take back a time-out that a starved machine may have caused.

    Args:
        seen: the observation.
        starved: gives for how many of so many seconds the agents of a Node were not
            let run, by Node.
        scale: what the time-outs were multiplied by.

    """
    if seen.outcome is not Outcome.TIMED_OUT:
        return seen
    # What was asked again and again had more than the time of one attempt, and what
    # makes no progress is given up early.
    least = min(TIMEOUTS[seen.probe.ask.timeout], TIMEOUTS["dead"]) * min(scale, 1.0)
    had = round(max(least, seen.seconds), 1)
    late = starved(had)
    ends = {seen.probe.source.node, seen.probe.target.node}
    # Who answers for a Service may be anywhere.
    if seen.probe.target.kind not in {Kind.POD, Kind.LOOPBACK}:
        ends = set(late)
    worst = max((late.get(end, 0.0) for end in ends), default=0.0)
    if worst < had / 2:
        return seen
    detail = f"timed out while an agent was not let run for {worst:.1f} s"
    return replace(seen, outcome=Outcome.NOT_PROBED, detail=detail)


def is_unanswered_replica(seen: Observation) -> bool:
    """Whether a replica of the cluster DNS gave no answer."""
    replica = seen.probe.target.kind is Kind.DNS_SERVER
    return replica and seen.outcome is not Outcome.ANSWERED


def withdrawn(seen: Observation, replicas: Collection[str]) -> Observation:
    """Take back what a replica of the cluster DNS did not answer that is none any more.

    Args:
        seen: the observation.
        replicas: the addresses of those that there are now.

    """
    if not _is_gone(seen, replicas):
        return seen
    detail = "it was a replica of the cluster DNS when the run began, and is none now"
    return replace(seen, outcome=Outcome.NOT_PROBED, detail=detail)


def heirs(seen: Observations, replicas: Collection[str]) -> dict[Probe, Probe]:
    """Give whom to ask in place of replicas of the cluster DNS that are gone.

    Args:
        seen: what was seen of all of them.
        replicas: the addresses of those that there are now.

    Returns:
        by the probe of one that is gone, the same of one that was not asked.

    """
    gone = [o.probe for o in seen if _is_gone(o, replicas)]
    new = set(replicas) - {o.probe.target.name for o in seen}
    instead: dict[str, str] = {}
    for version in (4, 6):
        lost, free = (
            sorted(name for name in names if ip_address(name).version == version)
            for names in ({probe.target.name for probe in gone}, new)
        )
        instead |= zip(lost, cycle(free), strict=False)
    return {
        probe: replace(probe, target=replace(probe.target, name=instead[name]))
        for probe in gone
        if (name := probe.target.name) in instead
    }


def _is_gone(seen: Observation, replicas: Collection[str]) -> bool:
    return is_unanswered_replica(seen) and seen.probe.target.name not in replicas


def conclude(
    check: Check,
    controls: Iterable[tuple[Control, Observations]],
    seen: Observations,
    scene: Scene,
) -> Result:
    """Judge a check: its controls first, then what it is about."""
    if not seen:
        return inconclusive(check, "nothing was probed")
    for service in check.rule.services:
        if why := scene.unmade.get(service.name):
            return inconclusive(check, f"no Service {service.name}: {why}", seen)
    if lacking := [o for o in seen if o.outcome is Outcome.UNSUPPORTED]:
        seen = tuple(o for o in seen if o.outcome is not Outcome.UNSUPPORTED)
        if not judged(check.rule.judge, seen).violations:
            why = f"{lacking[0].probe.source}: {lacking[0].detail}"
            return not_applicable(check, why)
    for control, answers in controls:
        if problem := broken(control, answers):
            return inconclusive(check, f"control: {control.says}: {problem}", seen)
    return worded(check, judged(check.rule.judge, seen), seen, scene)


def worded(check: Check, verdict: Verdict, seen: Observations, scene: Scene) -> Result:
    """Put a verdict into one of the five words."""
    deviation = known_deviation(check, verdict, scene)
    if deviation and not verdict.unjudged:
        return Result(check, Word.KNOWN_DEVIATION, deviation, verdict, seen)
    if verdict.violations and not deviation:
        reproduce = reproduction(verdict.violations[0], scene)
        return Result(check, Word.FAIL, verdict.note, verdict, seen, reproduce)
    if verdict.unjudged:
        reason = not_judged(verdict)
        return Result(check, Word.INCONCLUSIVE, reason, verdict, seen)
    return Result(check, Word.PASS, verdict.note, verdict, seen)


def not_judged(verdict: Verdict) -> str:
    """Say what could not be judged, as the reason of an inconclusive result."""
    reason = f"not judged: {describe(verdict.unjudged[0])}"
    more = len(verdict.unjudged) - 1
    return f"{reason} (and {more} more)" if more else reason


def known_deviation(check: Check, verdict: Verdict, scene: Scene) -> str:
    """Say why violations are let pass; "" when they are not, or there are none."""
    for one in check.rule.deviations:
        fits = verdict.violations and all(map(one.excuses, verdict.violations))
        if fits and does_so(scene.facts, one):
            return one.reason
    return ""


def does_so(facts: ClusterFacts, deviation: Deviation) -> bool:
    """Whether such a network plugin runs, in a version that deviates or none known."""
    here = deviation.network_plugin in {"", facts.network_plugin}
    version = facts.network_plugin_version
    known = bool(deviation.before and version)
    return here and not (known and _numbers(version) >= _numbers(deviation.before))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def broken(control: Control, answers: Observations) -> str:
    """Say how a control does not hold; "" when it does."""
    if not answers:
        return "nothing was probed"
    for one in answers:
        if one.outcome is Outcome.NOT_PROBED or not control.holds(one):
            return describe(one)
    if control.several:
        for source, group in by_source(answers).items():
            if len({o.answered_by for o in group}) < 2:  # noqa: PLR2004 - several
                return f"{source} saw one only"
    return ""


def describe(seen: Observation) -> str:
    """Say in one line what one probe saw: ``<cell>  <got>, should be <expected>``."""
    got = [str(seen.outcome)]
    if seen.phase and seen.outcome not in {Outcome.CONNECTED, Outcome.ANSWERED}:
        got[0] += f" ({seen.phase}{', ' if seen.detail else ''}{seen.detail})"
    elif seen.detail:
        got[0] += f" ({seen.detail})"
    if seen.answered_by:
        got.append(f"answered by {seen.answered_by}")
        if seen.probe.ask.blocked:
            got.append("should be blocked")
        if seen.may_answer and seen.answered_by not in seen.may_answer:
            got.append(f"should be {_some(seen.may_answer)}")
    if seen.peer and seen.source_addresses and seen.peer not in seen.source_addresses:
        got.append(f"source seen is {seen.peer}, should be {_own(seen)}")
    if seen.expected and sorted(seen.values) != sorted(seen.expected):
        got.append(f"got {_some(seen.values)}, should be {_some(seen.expected)}")
    elif seen.values and seen.outcome is Outcome.ANSWERED and not seen.expected:
        got.append(f"got {_some(seen.values)}")
    return f"{cell(seen)}  {', '.join(got)}"


def cell(seen: Observation) -> str:
    """Name a cell, with the address or the name that was dialled."""
    probe = seen.probe
    if probe.target.kind is Kind.NAME and seen.dialled:
        kind = dict(probe.ask.settings).get("type")
        how = "/".join(str(x) for x in (kind, probe.protocol, probe.family) if x)
        return f"{probe.source} -> {seen.dialled} {how}"
    return f"{probe}" + (f" [{seen.dialled}]" if seen.dialled else "")


def _own(seen: Observation) -> str:
    same = [a for a in seen.source_addresses if (":" in a) == (":" in seen.peer)]
    return _some(tuple(same or seen.source_addresses))


def _some(values: Sequence[str]) -> str:
    shown = ", ".join(values[:4]) or "nothing"
    return shown + (f" and {len(values) - 4} more" if len(values) > 4 else "")  # noqa: PLR2004


def explain(result: Result) -> str:
    """Say what a failed check saw, for the test's failure message."""
    rule = result.check.rule
    cells = {_cell(o.probe): o for o in reversed(result.verdict.violations)}
    shown = [f"  {describe(o)}" for o in list(cells.values())[:MOST_CELLS_SHOWN]]
    if (more := len(cells) - MOST_CELLS_SHOWN) > 0:
        shown.append(f"  ... and {more} more cells")
    lines = [
        f"{result.check.id}: {rule.requirement}",
        f"  {result.failed_cells} of {result.cells} cells: {shape(cells.values())}",
        *shown,
    ]
    if result.reason:
        lines.append(f"  seen: {result.reason}")
    if rule.usually:
        lines.append(f"  usually: {rule.usually}")
    lines.append(f"  spec: {rule.spec}")
    if result.reproduce:
        lines.append(f"  reproduce: {result.reproduce}")
    return "\n".join(lines)


def shape(violations: Iterable[Observation]) -> str:
    """Say where cells lie: one Node, one pair, or everywhere."""
    pairs = {(o.probe.source.node, o.probe.target.node) for o in violations}
    sources, targets = {a for a, _ in pairs}, {b for _, b in pairs}
    common = set.intersection(*({a, b} for a, b in pairs)) - {""} if pairs else set()
    source, target = next(iter(sources), ""), next(iter(targets), "")
    # From the narrowest to the widest: the first that fits is said.
    shapes = (
        (not pairs, "nowhere"),
        (pairs == {("", "")}, "at no Node"),
        (
            len(pairs) == 1 and (source in {target, ""} or not target),
            f"on {source or target}",
        ),
        (len(pairs) == 1, f"from {source} to {target}"),
        (len(sources) == 1 and source, f"from {source}"),
        (len(targets) == 1 and target, f"to {target}"),
        (bool(common), f"to and from {', '.join(sorted(common))}"),
    )
    found = (words for fits, words in shapes if fits)
    return next(found, f"{len(pairs)} pairs of Nodes")


def by_place(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Group failures by where their cells lie, the largest group first."""
    groups: dict[str, list[Result]] = defaultdict(list)
    for one in results:
        if one.word is Word.FAIL:
            groups[shape(one.verdict.violations)].append(one)
    return dict(sorted(groups.items(), key=lambda g: (-len(g[1]), g[0])))


def reproduction(seen: Observation, scene: Scene) -> str:
    """Give the command line that asks one probe again; "" when there is none."""
    probe = seen.probe
    pod = scene.pod(probe.source.role, probe.source.node)
    address, _, port = seen.dialled.rpartition(" ")
    question = {
        Op.FETCH: f"fetch {seen.dialled}",
        Op.HOLD: f"tcp {address} {port}",
        Op.CONNECT: f"{probe.protocol or 'tcp'} {address} {port}",
        Op.BULK: f"tcp {address} {port}",
        Op.FULL_SIZE: f"udp {address} {port} mtu",
        Op.LOOKUP: f"lookup {seen.dialled}",
    }.get(probe.ask.op)
    if probe.ask.op is Op.DNS:
        server = probe.target.name if probe.target.kind is Kind.DNS_SERVER else "-"
        transport = " tcp" if probe.protocol is Protocol.TCP else ""
        question = f"dns {server} {_asked_name(seen)} {_record(probe)}{transport}"
    if question is None or not seen.dialled:
        return ""
    if probe.source.role is Role.OUTSIDE:
        return f"{scene.outside} {question}"
    if pod is None:
        return ""
    return (
        f"kubectl --context {scene.facts.context} -n {pod.namespace} exec {pod.name} "
        f"-c {probe.source.container} -- {BY_HAND} {question}"
    )


def _asked_name(seen: Observation) -> str:
    reverse = dict(seen.probe.ask.settings).get("reverse")
    return ip_address(seen.dialled).reverse_pointer if reverse else seen.dialled


def _record(probe: Probe) -> str:
    kind = dict(probe.ask.settings).get("type")
    return str(kind or ("AAAA" if probe.family == "ipv6" else "A"))
