"""One id explained: a rule, a check or a cause. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_k8snet.diagnose import CAUSES, PRIVILEGED
from pytest_k8snet.diagnose.cause import Place, Scope
from pytest_k8snet.model import ClusterFacts, Kind, Node
from pytest_k8snet.plan import checks
from pytest_k8snet.report.areas import AREAS
from pytest_k8snet.report.rules import does_not_apply
from pytest_k8snet.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_k8snet.diagnose.cause import Cause, Sign
    from pytest_k8snet.model import Ask, Rule

ANYWHERE = {
    "node": "NODE",
    "peer": "PEER",
    "peer_range": "PEER's pod range",
    "thing": "THING",
    "only": "",
}
"""Stands for the places that a finding names."""

PLACES = {
    Scope.NODE: Place(("NODE",)),
    Scope.PAIR: Place(("NODE", "PEER")),
    Scope.OBJECT: Place(things=("THING",)),
    Scope.CLUSTER: Place(),
}
FACTS = ClusterFacts(
    "",
    "",
    nodes=tuple(
        Node(name, addresses=(f"{name}'s address",), pod_cidrs=("192.0.2.0/24",))
        for name in PLACES[Scope.PAIR].nodes
    ),
)


class UnknownId(ValueError):  # noqa: N818 - reads as what is wrong
    """No rule, check or cause has that id."""


def explain(name: str) -> str:
    """Tell of a rule, by its id or by that of one of its checks, or of a cause.

    Raises:
        UnknownId: with those that look alike.

    """
    rules = {rule.id: rule for rule in RULES}
    of_checks = {check.id: check.rule for check in checks(RULES)}
    causes = dict.fromkeys(cause.id for cause in CAUSES)
    for one in (name, name.upper(), name.lower()):
        if one in causes:
            # A cause may be one of a Node, and of the whole cluster.
            return "\n".join(_cause(cause) for cause in CAUSES if cause.id == one)
        if rule := rules.get(one) or of_checks.get(one):
            return _rule(rule)
    alike = [i for i in (*rules, *causes) if name.upper() in i.upper()]
    hint = f"; there are {', '.join(alike)}" if alike else "; see k8snet rules"
    raise UnknownId(f"no rule or cause is called {name!r}{hint}")


def _titled(head: str, facts: Mapping[str, Iterable[str]]) -> str:
    out = f"{head}\n"
    for title, said in facts.items():
        lines = [one for one in dict.fromkeys(said) if one]
        heads = (title, *[""] * len(lines))
        out += "".join(f"  {h:9} {one}\n" for h, one in zip(heads, lines, strict=False))
    return out


def _rule(rule: Rule) -> str:
    return _titled(
        f"{rule.id}: {rule.requirement}",
        {
            "area": [f"{AREAS[rule.mark]} (-m {rule.mark})"],
            "level": [str(rule.level)],
            "profile": [str(rule.profile)],
            "not if": does_not_apply(rule),
            "checks": [check.id for check in checks([rule])],
            "asked": [_asked(ask) for ask in rule.probes],
            "watched": _watched(rule),
            "controls": [c.says for c in rule.provided],
            "usually": [rule.usually],
            "deviates": [
                f"{d.network_plugin or 'reported only'}: {d.reason}"
                for d in rule.deviations
            ],
            "spec": [rule.spec],
        },
    )


def _asked(ask: Ask) -> str:
    to = f" to {ask.to}" if ask.to.kind is not Kind.NONE else ""
    times = f", {ask.count} times" if ask.count > 1 else ""
    silence = ", which no policy allows" if ask.blocked else ""
    return f"{ask.op} from {ask.source}{to} ({ask.spread}{times}{silence})"


def _watched(rule: Rule) -> Iterable[str]:
    for step in rule.steps:
        done = [f"{change.kind} {change.role}" for change in step.changes]
        asked = ", ".join(dict.fromkeys(_asked(ask) for ask in step.asks))
        yield f"after {' and '.join(done) or 'that'}: {asked}"


def _cause(cause: Cause) -> str:
    return _titled(
        f"{cause.id}: {cause.says.format(**ANYWHERE)}",
        {
            "layer": [cause.layer],
            "of": [str(cause.scope)],
            "fails": [_shown(sign) for sign in cause.signs if sign.fails],
            "holds": [_shown(sign) for sign in cause.signs if not sign.fails],
            "breaks": [", ".join(cause.breaks) or "every rule"],
            "proof": _looks(cause),
            "next": [cause.next.format(**ANYWHERE)],
            "see": [cause.link],
        },
    )


def _looks(cause: Cause) -> Iterable[str]:
    """Say what is looked at to confirm a cause, or to rule it out."""
    for proof in cause.proofs:
        for question in proof.asks(PLACES[cause.scope], FACTS):
            needs = question.look in PRIVILEGED
            yield f"{question}{' (--k8snet-inspect-nodes)' if needs else ''}"


def _shown(sign: Sign) -> str:
    where = (sign.region.__doc__ or "").strip().rstrip(".")
    rules = ", ".join(sign.rules) or "every rule"
    return f"{rules}: {where[:1].lower()}{where[1:]}"
