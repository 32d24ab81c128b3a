"""When each check has its turn, and what has to work before. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_k8snet.entries import ADDRESS
from pytest_k8snet.model import LEADS_IN, Kind, Op, Role
from pytest_k8snet.plan import roles_of
from pytest_k8snet.verdict import (
    all_refused,
    all_silent,
    all_unknown,
    as_asked,
    includes,
    is_answered,
    is_connected,
    is_resolved,
)
from pytest_k8snet.wire import entry_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_k8snet.model import Observation, Probe, Scene, Step
    from pytest_k8snet.plan import CheckPlan

EXPECT_SILENCE = (all_silent, all_refused, all_unknown)
HEAVY = frozenset({Op.BULK, Op.FULL_SIZE})
"""Transfers: they begin after the rest, which they would slow down."""

FOLLOWS = frozenset({Op.HTTP, Op.PROXY})
"""Asks what answers at once, and otherwise than it should until it has heard of a
Service's endpoints: its Node's health check, and the API server's own proxy."""

SLOW = frozenset({Role.EDGE})
"""Roles whose Pods take longer to start: made later, while other probes wait."""

POLICED = frozenset({Role.GUARDED, Role.NEIGHBOUR, Role.CONFINED, Role.NEWCOMER})
"""Roles that only policy rules need: their Pods, too, are made while others wait."""


def gate(
    planned: Iterable[CheckPlan],
) -> dict[Probe, Callable[[Observation], bool]]:
    """Give what has to work before anything is judged, each with when it does."""
    wanted: dict[Probe, Callable[[Observation], bool]] = {}
    for plan in planned:
        if plan.check.rule.judge in EXPECT_SILENCE:
            continue
        for probe in plan.probes:
            if probe.number or expects_silence(probe):
                continue
            if probe.target.kind in LEADS_IN and probe.ask.op is not Op.STATUS:
                wanted[_polled(probe)] = as_asked
            elif probe.ask.op is Op.CONNECT and probe.target.kind is not Kind.LOOPBACK:
                wanted[_polled(probe)] = is_connected
            elif name := dict(probe.ask.settings).get("after"):
                wanted[_resolving(probe, str(name))] = is_resolved
            elif probe.ask.op in {Op.DNS, Op.LOOKUP}:
                wanted[_polled(probe)] = includes
            elif probe.ask.op in FOLLOWS:
                wanted[_polled(probe)] = is_answered
    return wanted


def expects_silence(probe: Probe) -> bool:
    """Whether a probe is sent to hear nothing, which takes the whole of its time."""
    return probe.ask.timeout == "silence"


def asked(plan: CheckPlan) -> list[Probe]:
    """Give every probe of a check that is asked once, its controls' included."""
    return [*plan.probes, *(p for _, probes in plan.controls for p in probes)]


def _polled(probe: Probe) -> Probe:
    return replace(probe, ask=replace(probe.ask, timeout="poll"))


def _resolving(probe: Probe, name: str) -> Probe:
    """Ask for the addresses of a name, in place of what must not be asked too early."""
    to = replace(probe.ask.to, name=name)
    return _polled(
        replace(probe, ask=replace(probe.ask, to=to, settings=(("type", ""),)))
    )


def changed_roles(plan: CheckPlan) -> set[Role]:
    """Give the roles whose Pods a check changes."""
    return {c.role for step, _ in plan.steps for c in step.changes if c.service is None}


ROUGH = ("restart", "terminate", "delete", "revoke")
"""The changes after which others find less of a Pod, the gentlest first."""


def is_rough(step: Step) -> bool:
    """Whether a step leaves less of a Pod for others."""
    return any(change.kind in ROUGH for change in step.changes)


def roughness(plan: CheckPlan) -> int:
    """Give how little a check's changes leave for others; 0 for all of it."""
    kinds = {c.kind for step, _ in plan.steps for c in step.changes}
    return max((n for n, kind in enumerate(ROUGH, 1) if kind in kinds), default=0)


def is_quick(plan: CheckPlan) -> bool:
    """Whether a check is asked once, of Pods that are made at the start."""
    late = roles_of(plan.check.rule) & (SLOW | POLICED) or leads_in(plan)
    return not plan.check.rule.steps and not late


def awaited(
    planned: Iterable[CheckPlan], scene: Scene
) -> dict[tuple[Kind, str], frozenset[str]]:
    """Give what the API has to say of everything that leads into the cluster."""
    wanted: dict[tuple[Kind, str], frozenset[str]] = {}
    for probe in (p for plan in planned for p in plan.probes):
        if probe.target.kind in LEADS_IN:
            holds = {ADDRESS}
            if probe.ask.op is Op.STATUS and probe.ask.expect:
                holds |= {*probe.ask.expect(scene, probe)}
            key = entry_key(probe)
            wanted[key] = wanted.get(key, frozenset()) | holds
    return wanted


def leads_in(plan: CheckPlan) -> bool:
    """Whether a check is about what has an address when the API says so."""
    return any(probe.target.kind in LEADS_IN for probe in plan.probes)
