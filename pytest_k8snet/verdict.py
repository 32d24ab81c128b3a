"""Judges: pure functions from observations to a verdict.

Each names the outcomes it accepts. None tests for "not success": a probe that was
not executed is never evidence (:func:`judged` sees to it for all of them).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from pytest_k8snet.model import NO_ANSWER, Family, Op, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_k8snet.model import Judge, Observation, Observations

MOST_PEERS_NAMED = 3
BY_CHANCE = 1e-8
"""A share that a fair draw gives less often than this is no fair share."""

ANSWERED_OPS = frozenset({Op.DNS, Op.LOOKUP, Op.FACT, Op.STATUS, Op.HTTP})


def judged(judge: Judge, seen: Observations) -> Verdict:
    """Apply a judge to what was probed, and keep what was not as unjudged."""
    missing = tuple(o for o in seen if o.outcome is Outcome.NOT_PROBED)
    probed = tuple(o for o in seen if o.outcome is not Outcome.NOT_PROBED)
    verdict = judge(probed) if probed else Verdict()
    return Verdict(
        violations=verdict.violations,
        unjudged=verdict.unjudged + missing,
        note=verdict.note,
    )


def each(
    conforms: Callable[[Observation], bool],
    applies: Callable[[Observation], bool] = lambda _: True,
) -> Judge:
    """Judge every observation by itself.

    Args:
        conforms: whether one observation conforms.
        applies: whether it says anything; those that do not are unjudged.

    """

    def judge(seen: Observations) -> Verdict:
        telling = [o for o in seen if applies(o)]
        return Verdict(
            violations=tuple(o for o in telling if not conforms(o)),
            unjudged=tuple(o for o in seen if not applies(o)),
        )

    return judge


def is_connected(seen: Observation) -> bool:
    """Whether data went both ways, and with whom the rule named."""
    return (
        seen.outcome is Outcome.CONNECTED
        and (not seen.may_answer or seen.answered_by in seen.may_answer)
        and (not seen.expected or set(seen.values) == set(seen.expected))
    )


def is_answered(seen: Observation) -> bool:
    """Whether the answer is exactly the expected one, in any order."""
    return seen.outcome is Outcome.ANSWERED and sorted(seen.values) == sorted(
        seen.expected
    )


def includes(seen: Observation) -> bool:
    """Whether everything expected is in the answer; more may be."""
    return seen.outcome is Outcome.ANSWERED and set(seen.expected) <= set(seen.values)


def is_resolved(seen: Observation) -> bool:
    """Whether a name has some address."""
    return seen.outcome is Outcome.ANSWERED and bool(seen.values)


def is_served(seen: Observation) -> bool:
    """Whether somebody served it, the right one or not."""
    return seen.outcome is Outcome.CONNECTED


def came_to_somebody(seen: Observation) -> bool:
    """Whether it came to somebody, on a port of theirs that is open or not.

    One that came to an open port first, and then to another, is reset.
    """
    return is_served(seen) or is_refused(seen) or seen.outcome is Outcome.RESET


def is_lost_over_ipv6(seen: Observation) -> bool:
    """Whether nothing came back, and it was IPv6."""
    return seen.outcome is Outcome.TIMED_OUT and seen.probe.family is Family.IPV6


def is_silent(seen: Observation) -> bool:
    """Whether nobody served the connection."""
    return seen.outcome in NO_ANSWER


def is_as_allowed(seen: Observation) -> bool:
    """Whether what policies allow was served, and what they do not was not."""
    return is_silent(seen) if seen.probe.ask.blocked else is_connected(seen)


def is_refused(seen: Observation) -> bool:
    """Whether the connection was refused, by a reset or an ICMP error."""
    return seen.outcome is Outcome.REFUSED


def is_unknown_name(seen: Observation) -> bool:
    """Whether the name server said that the name does not exist."""
    return seen.outcome is Outcome.NAME_NOT_FOUND


def node_is_there(seen: Observation) -> bool:
    """Whether the Node answered at all: a refusal is an answer."""
    return seen.outcome in {Outcome.CONNECTED, Outcome.REFUSED, Outcome.RESET}


def as_asked(seen: Observation) -> bool:
    """Whether one step's answer is as it has to be.

    Where silence is waited for, a name has to be unknown and a connection unserved.
    """
    about_names = seen.probe.ask.op in ANSWERED_OPS
    if seen.probe.ask.timeout == "silence":
        return is_unknown_name(seen) if about_names else is_silent(seen)
    return is_answered(seen) if about_names else is_connected(seen)


def keeps_source(seen: Observation) -> bool:
    """Whether the server saw one of the client's own addresses."""
    return seen.peer in seen.source_addresses


def keeps_destination(seen: Observation) -> bool:
    """Whether the server was reached at the address that was dialled."""
    return seen.local == seen.dialled.rpartition(" ")[0]


def _connected(seen: Observation) -> bool:
    return seen.outcome is Outcome.CONNECTED


all_connected: Judge = each(is_connected)
all_answered: Judge = each(is_answered)
all_included: Judge = each(includes)
all_refused: Judge = each(is_refused)
all_silent: Judge = each(is_silent)
all_as_allowed: Judge = each(is_as_allowed)
all_unknown: Judge = each(is_unknown_name)
source_preserved: Judge = each(keeps_source, applies=_connected)
connected_and_source_preserved: Judge = each(
    lambda o: is_connected(o) and keeps_source(o)
)
destination_preserved: Judge = each(keeps_destination, applies=_connected)


def by_source(seen: Iterable[Observation]) -> dict[str, list[Observation]]:
    """Group observations by who asked."""
    groups: dict[str, list[Observation]] = defaultdict(list)
    for one in seen:
        groups[str(one.probe.source)].append(one)
    return groups


def every_backend(seen: Observations) -> Verdict:
    """Every identity that may answer does, for every source."""
    violations = [o for o in seen if not is_connected(o)]
    missed = []
    for source, group in by_source(seen).items():
        absent = set(group[0].may_answer) - {o.answered_by for o in group}
        # With draws that were not probed, a backend may have been missed by chance.
        complete = len(group) == group[0].probe.ask.count
        if absent and complete and not any(o in violations for o in group):
            violations.append(group[-1])
            missed.append(
                f"{', '.join(sorted(absent))} got none of {len(group)} from {source}"
            )
    return Verdict(violations=tuple(violations), note="; ".join(missed))


def sticks(seen: Observations) -> Verdict:
    """All connections of one source are answered by one backend."""
    violations = [o for o in seen if not is_connected(o)]
    notes = []
    for source, group in by_source(seen).items():
        peers = sorted({o.answered_by for o in group if is_connected(o)})
        if len(peers) > 1:
            first = next(o.answered_by for o in group if is_connected(o))
            violations += [
                o for o in group if is_connected(o) and o.answered_by != first
            ]
            named = ", ".join(peers[:MOST_PEERS_NAMED])
            notes.append(f"{source} was answered by {named}")
    return Verdict(violations=tuple(violations), note="; ".join(notes))


def changes(seen: Observations) -> Verdict:
    """Connections of one source, each way, are answered by several backends."""
    violations = [o for o in seen if not is_connected(o)]
    ways: dict[tuple[object, ...], list[Observation]] = defaultdict(list)
    for one in seen:
        probe = one.probe
        ways[probe.source, probe.protocol, probe.family].append(one)
    for group in ways.values():
        complete = len(group) == group[0].probe.ask.count
        if complete and len({o.answered_by for o in group}) == 1:
            violations.append(group[-1])
    return Verdict(violations=tuple(violations))


def fair_share(seen: Observations) -> Verdict:
    """No backend gets less or more than chance allows, per source and altogether."""
    violations = [o for o in seen if not is_connected(o)]
    notes = []
    for source, group in {**by_source(seen), "all Nodes": list(seen)}.items():
        if not all(map(is_connected, group)):
            continue
        served = Counter(o.answered_by for o in group)
        total, peers = sum(served.values()), group[0].may_answer
        for peer in peers:
            if improbable(served[peer], total, 1 / len(peers)):
                violations.append(group[-1])
                notes.append(f"{peer} got {served[peer]} of {total} from {source}")
    return Verdict(violations=tuple(dict.fromkeys(violations)), note="; ".join(notes))


def improbable(count: int, total: int, share: float) -> bool:
    """Whether so few or so many of TOTAL fair draws come less than BY_CHANCE."""

    def exactly(number: int) -> float:
        ways = math.lgamma(total + 1) - math.lgamma(number + 1)
        ways -= math.lgamma(total - number + 1)
        odds = number * math.log(share) + (total - number) * math.log1p(-share)
        return math.exp(ways + odds)

    if share == 1:
        return count < total
    fewer = sum(map(exactly, range(count + 1)))
    more = sum(map(exactly, range(count, total + 1)))
    return min(fewer, more) < BY_CHANCE


def none_lost(seen: Observations) -> Verdict:
    """Every attempt gets its answer; how many do not is noted."""
    lost = tuple(o for o in seen if not is_connected(o))
    return Verdict(violations=lost, note=f"{len(lost)} of {len(seen)} lost")


def all_equal(seen: Observations) -> Verdict:
    """Everybody says the same; those who say what fewer say are violations."""
    told = [o for o in seen if o.outcome is Outcome.ANSWERED and o.values]
    said = Counter(o.values for o in told)
    usual = said.most_common(1)[0][0] if said else ()
    note = " and ".join(", ".join(values) for values, _ in said.most_common())
    return Verdict(
        violations=tuple(o for o in told if o.values != usual),
        unjudged=tuple(o for o in seen if o not in told),
        note=note,
    )


def all_unique(seen: Observations) -> Verdict:
    """No address has two owners; the values are "address owner"."""
    owners: dict[str, str] = {}
    clashes = []
    notes = []
    told = [o for o in seen if o.outcome is Outcome.ANSWERED and o.values]
    for one in told:
        for value in one.values:
            address, _, owner = value.partition(" ")
            first = owners.setdefault(address, owner)
            if first != owner:
                clashes.append(one)
                notes.append(f"{address} is both {first} and {owner}")
    return Verdict(
        violations=tuple(clashes),
        unjudged=tuple(o for o in seen if o not in told),
        note="; ".join(notes),
    )


def settled(until: Callable[[Observation], bool]) -> Judge:
    """Judge the last observation of every cell of a rule that watches a change."""

    def judge(seen: Observations) -> Verdict:
        verdict = each(until)(seen)
        times = [o.after for o in seen if o.after is not None and until(o)]
        where = "shown elsewhere" if verdict.violations else "shown everywhere"
        note = f"{where} after {max(times):.2f} s" if times else ""
        return Verdict(violations=verdict.violations, note=note)

    return judge
