"""A cell after a change: what counts of its answers, and when no more are needed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_k8snet.convergence import TRIES, Convergence
from pytest_k8snet.model import (
    Actor,
    Ask,
    Kind,
    Observation,
    Op,
    Outcome,
    Probe,
    Role,
    Step,
    Target,
)

ASK = Ask(Role.CLIENT, Op.CONNECT, timeout="poll")
PROBE = Probe(ASK, Actor(Role.CLIENT, "a"), Target(Kind.POD, Role.SERVER, node="b"))
RIGHT = Observation(PROBE, Outcome.CONNECTED, answered_by="new")
WRONG = replace(RIGHT, answered_by="old")
SILENT = Observation(PROBE, Outcome.TIMED_OUT)
NO_NEWS = Observation(PROBE, Outcome.NOT_PROBED)
BUDGET = 10.0


def cell(*answers: tuple[float, Observation], consecutive: int = 3) -> Convergence:
    """Give a cell that got answers, each with when; silence is never spoilt here."""
    step = Step((ASK,), lambda o: o.answered_by == "new", consecutive=consecutive)
    made = Convergence(step, BUDGET)
    for now, seen in answers:
        made.hear(seen, now)
    return made


def test_it_conforms_when_it_does_so_often_enough_in_a_row() -> None:
    assert not cell((1, RIGHT), (2, RIGHT), (3, WRONG), (4, RIGHT)).done
    assert cell((1, RIGHT), (2, WRONG), (3, RIGHT), (4, RIGHT), (5, RIGHT)).done


def test_its_time_is_when_it_began_to_conform() -> None:
    last = cell((1, SILENT), (2, RIGHT), (3, RIGHT), (4, RIGHT)).last
    assert last
    assert last.after == 2


def test_the_seconds_of_a_cell_that_does_not_conform_are_those_since_it_did() -> None:
    last = cell((1, RIGHT), (4, SILENT), (6, SILENT)).last
    assert last
    assert (last.after, last.seconds) == (6, 5)


@pytest.mark.parametrize(
    ("answers", "over"),
    [
        ([(9, SILENT)], False),
        ([(11, SILENT)], True),
        # It began in time, and may finish.
        ([(9, RIGHT), (11, RIGHT)], False),
        # One answer of another may be chance, until twice the budget.
        ([(11, WRONG)], False),
        ([(20, WRONG)], True),
        ([(11, WRONG)] * TRIES, True),
    ],
)
def test_its_time_is_over(answers: list[tuple[float, Observation]], over: bool) -> None:
    assert cell(*answers).is_over(answers[-1][0]) is over


def test_what_is_hopeless_has_no_more_time() -> None:
    assert cell((1, SILENT)).is_over(1, hopeless=True)


@pytest.mark.parametrize(("budget", "until"), [(5.0, 15), (10.0, 20), (40.0, 80)])
def test_what_a_starved_machine_spoilt_is_asked_again_for_as_long_and_some_attempts(
    budget: float, until: float
) -> None:
    spoilt = Convergence(cell().step, budget)
    for now, over in ((budget + 1, False), (until - 1, False), (until, True)):
        spoilt.hear(NO_NEWS, now, spoilt=True)
        assert spoilt.is_over(now) is over


@pytest.mark.parametrize(("lost", "until"), [(0.0, 10), (4.0, 14), (99.0, 30)])
def test_what_a_starved_machine_took_is_given_back(lost: float, until: float) -> None:
    late = Convergence(cell().step, BUDGET, lost)
    for now, over in ((until, False), (until + 1, True)):
        late.hear(SILENT, now)
        assert late.is_over(now) is over


def test_no_news_takes_nothing_back_of_what_began_to_conform() -> None:
    assert cell((1, RIGHT), (2, RIGHT), (3, NO_NEWS), (4, RIGHT)).done
    assert not cell((1, RIGHT), (2, RIGHT), (20, NO_NEWS), (21, RIGHT)).done


@pytest.mark.parametrize(("seen_at", "known"), [(5, NO_NEWS), (11, WRONG)])
def test_no_news_leaves_what_was_seen_too_late_and_that_alone(
    seen_at: float, known: Observation
) -> None:
    last = cell((seen_at, WRONG), (15, NO_NEWS)).last
    assert last
    assert last.outcome is known.outcome
