"""NetworkPolicy while policies, labels and Pods change.

What becomes of a connection that is open when it ceases to be allowed is up to the
network plugin: that is reported, not judged.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_k8snet.model import (
    NO_ANSWER,
    Allow,
    Ask,
    Change,
    Op,
    Outcome,
    Peer,
    Policy,
    Protocol,
    Role,
    Spread,
    Step,
    Target,
    Verdict,
)
from pytest_k8snet.rules._policed import (
    CLIENTS,
    DENY_INGRESS,
    GUARD,
    ISOLATION,
    NETWORK_POLICIES,
    SERVERS,
    TCP,
    admit,
    allowed,
    blocked,
    entering,
    open_to,
    ours,
    policy_rule,
)
from pytest_k8snet.rules._world import BOTH, FAMILIES, fact, pod, serves, words
from pytest_k8snet.verdict import is_as_allowed, settled

if TYPE_CHECKING:
    from pytest_k8snet.model import Observation, Observations

NEIGHBOUR, CLIENT, SERVER = Role.NEIGHBOUR, Role.CLIENT, Role.SERVER
GUARDED, NEWCOMER = Role.GUARDED, Role.NEWCOMER

EXISTING = NETWORK_POLICIES + "#networkpolicy-s-impact-on-existing-connections"
LIFECYCLE = NETWORK_POLICIES + "#pod-lifecycle"


def _ways(*asks: Ask, protocols: tuple[Protocol, ...] = (TCP,)) -> tuple[Ask, ...]:
    """Ask over each family, again and again: the change itself happens once."""
    return tuple(
        replace(ask, family=family, protocol=protocol, timeout="poll")
        for ask in asks
        for family in FAMILIES
        for protocol in protocols
    )


def hold(source: Role, to: Target) -> Ask:
    """Open a connection, and keep it."""
    return Ask(source, Op.HOLD, to, Spread.RING)


def resume(source: Role, to: Target, *, still_allowed: bool = True) -> Ask:
    """Ask again over a connection that was open before the change."""
    return Ask(source, Op.RESUME, to, Spread.RING, blocked=not still_allowed)


def _is_up_to_the_plugin(seen: Observation) -> bool:
    return seen.probe.ask.op is Op.RESUME and seen.probe.ask.blocked


def _has_changed(seen: Observation) -> bool:
    if _is_up_to_the_plugin(seen):
        return seen.outcome is not Outcome.NOT_PROBED
    return is_as_allowed(seen)


def changed(seen: Observations) -> Verdict:
    """Judge what is promised of a change, and report what is not."""
    free = [o for o in seen if _is_up_to_the_plugin(o)]
    verdict = settled(is_as_allowed)(tuple(o for o in seen if o not in free))
    went_on = sum(o.outcome is Outcome.CONNECTED for o in free)
    fate = f"{went_on} of {len(free)} open connections that ceased to be allowed go on"
    return replace(verdict, note="; ".join(x for x in (verdict.note, fate) if x))


MOVING = (("joining", "yes"), ("leaving", None))
"""What becomes of labels: one is added, the other removed, in one request."""


def _moving(joining: str, leaving: str, *, moved: bool, who: Role) -> tuple[Ask, ...]:
    inside, outside = (joining, leaving) if moved else (leaving, joining)
    return _ways(*entering(inside, by=(who,)), *entering(outside, but=(who,)))


LABEL_CHANGE = policy_rule(
    id="NP-LABEL-CHANGE",
    requirement="A policy MUST follow the labels of the Pods that it allows.",
    spec=EXISTING,
    services=(GUARD,),
    policies=(
        DENY_INGRESS,
        admit("by-joining", "joining", Peer(pods=ours(joining="yes"))),
        admit("by-leaving", "leaving", Peer(pods=ours(leaving="yes"))),
    ),
    provided=(serves(GUARDED), *open_to(NEIGHBOUR)),
    steps=(
        Step(
            asks=_moving("joining", "leaving", moved=False, who=NEIGHBOUR),
            until=is_as_allowed,
            budget="enforcement",
        ),
        Step(
            changes=(Change("label", NEIGHBOUR, labels=MOVING),),
            asks=_moving("joining", "leaving", moved=True, who=NEIGHBOUR),
            until=is_as_allowed,
            budget="policy",
        ),
    ),
    judge=settled(is_as_allowed),
)

NAMESPACE_LABEL_CHANGE = policy_rule(
    id="NP-NAMESPACE-LABEL-CHANGE",
    requirement="A policy MUST follow the labels of the namespaces that it allows.",
    spec=EXISTING,
    services=(GUARD,),
    policies=(
        DENY_INGRESS,
        admit("by-space-join", "space-join", Peer(namespaces=ours(joining="yes"))),
        admit("by-space-leave", "space-leave", Peer(namespaces=ours(leaving="yes"))),
    ),
    provided=(serves(GUARDED), *open_to(CLIENT)),
    steps=(
        Step(
            asks=_moving("space-join", "space-leave", moved=False, who=CLIENT),
            until=is_as_allowed,
            budget="enforcement",
        ),
        Step(
            changes=(Change("label namespace", CLIENT, labels=MOVING),),
            asks=_moving("space-join", "space-leave", moved=True, who=CLIENT),
            until=is_as_allowed,
            budget="policy",
        ),
    ),
    judge=settled(is_as_allowed),
)

NEIGHBOURS = Peer(pods=ours(role=NEIGHBOUR))
BEFORE = admit("by-update", "update", NEIGHBOURS, SERVERS)
AFTER = admit("by-update", "update", CLIENTS, SERVERS)
UPDATED = pod(GUARDED, "update")

UPDATE = policy_rule(
    id="NP-UPDATE",
    requirement="A policy that is changed MUST allow what it says now, and no more.",
    spec=EXISTING,
    services=(GUARD,),
    policies=(DENY_INGRESS, BEFORE),
    provided=(serves(GUARDED), *open_to(NEIGHBOUR, CLIENT)),
    steps=(
        Step(
            asks=_ways(
                *entering("update", by=(NEIGHBOUR, SERVER), but=(CLIENT,)),
                hold(NEIGHBOUR, UPDATED),
                hold(SERVER, UPDATED),
            ),
            until=is_as_allowed,
            budget="enforcement",
        ),
        Step(
            changes=(Change("apply", GUARDED, policy=AFTER),),
            asks=_ways(
                *entering("update", by=(CLIENT, SERVER), but=(NEIGHBOUR,)),
                resume(NEIGHBOUR, UPDATED, still_allowed=False),
                resume(SERVER, UPDATED),
            ),
            until=_has_changed,
            budget="policy",
        ),
    ),
    judge=changed,
)

# Whoever is named, at every port: the rules for the guarded Pods all name ports.
ARRIVALS = Policy(
    "arrivals",
    NEWCOMER,
    ingress=(Allow((NEIGHBOURS,)),),
    egress=(Allow((SERVERS,)),),
)
IN_FORCE = Step(
    asks=_ways(blocked(CLIENT, pod(GUARDED))),
    until=is_as_allowed,
    budget="enforcement",
)
"""Pods that come from now on are isolated from their first packet on."""


def _was_isolated(seen: Observation) -> bool:
    if seen.probe.ask.op is Op.FACT:
        return seen.outcome is Outcome.ANSWERED and set(seen.values) <= NO_ANSWER
    return is_as_allowed(seen)


NEW_POD = policy_rule(
    id="NP-NEW-POD",
    requirement="A new Pod MUST be isolated before its first container starts.",
    spec=LIFECYCLE,
    policies=(DENY_INGRESS, ARRIVALS),
    provided=(serves(GUARDED), *open_to(CLIENT)),
    steps=(
        IN_FORCE,
        Step(
            changes=(Change("create", NEWCOMER),),
            asks=(
                # The first thing it did was to dial the client on its Node.
                fact(NEWCOMER, "first", words()),
                *_ways(
                    allowed(NEIGHBOUR, pod(NEWCOMER)),
                    blocked(CLIENT, pod(NEWCOMER)),
                    allowed(NEWCOMER, pod(SERVER)),
                    blocked(NEWCOMER, pod(CLIENT)),
                ),
            ),
            until=_was_isolated,
            budget="policy",
        ),
    ),
    judge=settled(_was_isolated),
    usually="a network plugin that learns of a Pod only once it runs",
)

REPLIES_ALLOWED = policy_rule(
    id="NP-REPLIES-ALLOWED",
    requirement="Replies MUST pass where the connection that they answer is allowed.",
    spec=ISOLATION,
    policies=(DENY_INGRESS, ARRIVALS),
    provided=(serves(GUARDED), *open_to(SERVER)),
    steps=(
        IN_FORCE,
        Step(
            changes=(Change("create", NEWCOMER),),
            asks=_ways(
                allowed(NEIGHBOUR, pod(NEWCOMER)),
                blocked(NEWCOMER, pod(NEIGHBOUR)),
                allowed(NEWCOMER, pod(SERVER)),
                blocked(SERVER, pod(NEWCOMER)),
                protocols=BOTH,
            ),
            until=is_as_allowed,
            budget="policy",
        ),
    ),
    judge=settled(is_as_allowed),
    usually="a network plugin that does not track connections, or not those by UDP",
)

DELETE = policy_rule(
    id="NP-DELETE",
    requirement="A Pod whose last policy is deleted MUST NOT stay isolated.",
    spec=ISOLATION,
    policies=(DENY_INGRESS, ARRIVALS),
    provided=(serves(GUARDED), *open_to(CLIENT)),
    steps=(
        IN_FORCE,
        Step(
            changes=(Change("create", NEWCOMER),),
            asks=_ways(
                blocked(CLIENT, pod(NEWCOMER)),
                blocked(NEWCOMER, pod(CLIENT)),
                hold(NEIGHBOUR, pod(NEWCOMER)),
            ),
            until=is_as_allowed,
            budget="enforcement",
        ),
        Step(
            changes=(Change("revoke", NEWCOMER, policy=ARRIVALS),),
            asks=_ways(
                allowed(CLIENT, pod(NEWCOMER)),
                allowed(NEWCOMER, pod(CLIENT)),
                resume(NEIGHBOUR, pod(NEWCOMER)),
            ),
            until=is_as_allowed,
            budget="policy",
        ),
    ),
    judge=settled(is_as_allowed),
    usually="the network plugin's agent on that Node does not follow the API",
)

RULES = (
    LABEL_CHANGE,
    NAMESPACE_LABEL_CHANGE,
    UPDATE,
    NEW_POD,
    REPLIES_ALLOWED,
    DELETE,
)
