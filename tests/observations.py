"""What is seen where a rule holds, and ways in which it is seen to be broken."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scenes import reply_of, seen

from pytest_k8snet.model import Outcome
from pytest_k8snet.verdict import (
    ANSWERED_OPS,
    all_refused,
    all_silent,
    all_unknown,
    sticks,
)

if TYPE_CHECKING:
    from pytest_k8snet.model import Observation, Probe, Scene
    from pytest_k8snet.plan import CheckPlan

EXPECTS_SILENCE = {
    all_silent: Outcome.TIMED_OUT,
    all_refused: Outcome.REFUSED,
    all_unknown: Outcome.NAME_NOT_FOUND,
}
ELSEWHERE = "203.0.113.99"


def good(planned: CheckPlan, probe: Probe, on: Scene) -> Observation:
    """Give what is seen where the rule holds."""
    judge = planned.check.rule.judge
    if probe.ask.timeout == "silence" and planned.steps:
        outcome = Outcome.NAME_NOT_FOUND if is_question(probe) else Outcome.TIMED_OUT
        return seen(probe, on, {"outcome": outcome, "phase": "connect"})
    if probe.ask.blocked:
        return seen(probe, on, {"outcome": Outcome.TIMED_OUT, "phase": "connect"})
    if judge in EXPECTS_SILENCE:
        return seen(probe, on, {"outcome": EXPECTS_SILENCE[judge], "phase": "connect"})
    return seen(probe, on, reply_of(probe, on, rotate=judge is not sticks))


def is_question(probe: Probe) -> bool:
    return probe.ask.op in ANSWERED_OPS


def silent(right: Observation) -> Observation:
    return replace(
        right,
        outcome=Outcome.TIMED_OUT,
        answered_by="",
        peer="",
        local="",
        values=(),
    )


def served(right: Observation) -> Observation:
    return replace(right, outcome=Outcome.CONNECTED, answered_by="server@a")


def masqueraded(right: Observation) -> Observation:
    return replace(right, peer=ELSEWHERE)
