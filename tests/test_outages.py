"""From what was seen along a path to its outages, budgets and word."""

from __future__ import annotations

import pytest

from pytest_k8snet.model import Family, Outcome, Word
from pytest_k8snet.outages import (
    PROFILES,
    Outage,
    Path,
    Record,
    Run,
    Trail,
    Way,
    record,
)
from pytest_k8snet.watched import measured_nothing, overall

PATH = Path(Way.SERVICE, "a", "watch", Family.IPV4)
OK, LOST, REFUSED = Outcome.ANSWERED, Outcome.TIMED_OUT, Outcome.REFUSED
BUDGETS = PROFILES["upgrade"]
TWO_SECONDS = BUDGETS[Way.SERVICE]


def trail(*seen: tuple[Outcome, float, float], **more: object) -> Trail:
    """Ask five times a second, with these outcomes from and to these times."""
    made = Trail(**more)  # type: ignore[arg-type]
    for outcome, first, last in seen:
        made.add(Run(outcome, first, last, round((last - first) * 5) + 1))
    return made


def judge(
    seen: Trail, now: float = 60.0, absences: tuple[tuple[float, float], ...] = ()
) -> Record:
    return record(PATH, seen, now, BUDGETS, absences)


def test_what_always_answers_has_no_outage() -> None:
    made = judge(trail((OK, 0.1, 59.9)))

    assert (made.word, made.outages, made.unmeasured) == (Word.PASS, (), ())
    assert made.asked == 300


def test_an_outage_lasts_from_the_first_failure_to_the_next_success() -> None:
    made = judge(trail((OK, 0.1, 9.9), (LOST, 10.1, 14.9), (OK, 15.1, 59.9)))

    (outage,) = made.outages
    assert (outage.start, outage.end, outage.over) == (10.1, 15.1, True)
    assert outage.seconds == pytest.approx(5.0)
    assert outage.gap == pytest.approx(5.0)
    assert (outage.lost, outage.failed, outage.why) == (25, 0, LOST)
    assert made.word is Word.FAIL
    assert made.reason == "out for 5.0 s, more than 2 s"


def test_an_outage_within_its_budget_passes() -> None:
    made = judge(trail((OK, 0.1, 9.9), (REFUSED, 10.1, 11.9), (OK, 12.1, 59.9)))

    assert [o.failed for o in made.outages] == [10]
    assert made.word is Word.PASS


def test_failures_of_different_kinds_in_a_row_are_one_gap() -> None:
    seen = trail(
        (OK, 0.1, 9.9), (REFUSED, 10.1, 10.5), (LOST, 10.7, 11.3), (OK, 11.5, 59.9)
    )

    (outage,) = judge(seen).outages

    assert (outage.lost, outage.failed) == (4, 3)
    assert outage.gap == pytest.approx(1.4)


def test_failures_that_come_and_go_are_one_outage_with_a_shorter_gap() -> None:
    seen = trail(
        (OK, 0.1, 9.9),
        (LOST, 10.1, 10.3),
        (OK, 10.5, 10.9),
        (LOST, 11.1, 11.1),
        (OK, 11.3, 59.9),
    )

    (outage,) = judge(seen).outages

    assert (outage.start, outage.end) == (10.1, 11.3)
    assert outage.gap == pytest.approx(0.4)


def test_failures_far_apart_are_outages_of_their_own_the_longest_first() -> None:
    seen = trail(
        (OK, 0.1, 9.9),
        (LOST, 10.1, 10.1),
        (OK, 10.3, 11.3),
        (LOST, 11.5, 11.9),
        (OK, 12.1, 59.9),
    )

    assert [o.start for o in judge(seen).outages] == [11.5, 10.1]


def test_an_outage_that_goes_on_is_not_over() -> None:
    made = judge(trail((OK, 0.1, 56.9), (LOST, 57.1, 59.9)))

    (outage,) = made.outages
    assert (outage.end, outage.over) == (60.0, False)
    assert made.word is Word.FAIL


def test_what_was_not_asked_is_not_measured_and_never_an_outage() -> None:
    made = judge(trail((OK, 0.1, 9.9), (OK, 13.1, 59.9)))

    assert made.outages == ()
    assert made.unmeasured == ((9.9, 13.1),)
    assert made.word is Word.INCONCLUSIVE
    assert made.reason == "not measured for 3.2 s"


def test_a_hole_that_hides_no_more_than_is_allowed_is_no_obstacle() -> None:
    assert judge(trail((OK, 0.1, 9.9), (OK, 11.8, 59.9))).word is Word.PASS


def test_what_could_not_be_asked_is_a_hole() -> None:
    seen = trail((OK, 0.1, 9.9), (Outcome.NOT_PROBED, 10.1, 14.9), (OK, 15.1, 59.9))

    made = judge(seen)

    assert (made.outages, made.unmeasured) == ((), ((9.9, 15.1),))
    assert made.asked == 275


def test_of_an_outage_that_leads_into_a_hole_only_what_was_seen_counts() -> None:
    made = judge(trail((OK, 0.1, 9.9), (LOST, 10.1, 10.9), (OK, 20.1, 59.9)))

    (outage,) = made.outages
    assert (outage.start, outage.end, outage.over) == (10.1, 10.9, False)
    assert made.unmeasured == ((10.9, 20.1),)


def test_a_stream_that_is_lost_for_good_leaves_the_rest_not_measured() -> None:
    made = judge(trail((OK, 0.1, 30.0)))

    assert made.unmeasured == ((30.0, 60.0),)
    assert made.word is Word.INCONCLUSIVE


def test_who_answers_and_was_not_let_run_excuses_short_failures() -> None:
    seen = trail((OK, 0.1, 9.9), (LOST, 10.1, 10.7), (OK, 10.9, 59.9))

    assert len(judge(seen).outages) == 1
    assert judge(seen, absences=((10.5, 11.2),)).outages == ()


def test_it_does_not_excuse_what_goes_on_before_or_after() -> None:
    seen = trail((OK, 0.1, 9.9), (LOST, 10.1, 14.9), (OK, 15.1, 59.9))

    assert judge(seen, absences=((11.0, 12.0),)).outages[0].seconds == 5.0


def test_what_did_not_answer_before_does_not_apply() -> None:
    made = judge(trail((LOST, 0.1, 59.9), known=False))

    assert made.word is Word.NOT_APPLICABLE


def test_a_path_that_came_later_is_asked_from_then_on() -> None:
    made = judge(trail((OK, 30.1, 59.9), since=30.0))

    assert (made.word, made.unmeasured) == (Word.PASS, ())


def test_that_a_name_server_which_was_taken_away_is_silent_is_no_outage() -> None:
    seen = trail((OK, 0.1, 28.9), (REFUSED, 29.1, 29.9), until=30.0)

    assert judge(seen).outages == ()


def test_that_it_was_silent_long_before_is_one() -> None:
    seen = trail((OK, 0.1, 19.9), (REFUSED, 20.1, 29.9), until=30.0)

    assert [o.seconds for o in judge(seen).outages] == [pytest.approx(9.9)]


def test_a_name_server_that_comes_back_was_away_and_not_unmeasured() -> None:
    seen = trail(
        (OK, 0.1, 18.9), (REFUSED, 19.1, 19.9), (OK, 31.3, 59.9), away=[(20.0, 31.0)]
    )

    made = judge(seen)

    assert (made.outages, made.unmeasured, made.word) == ((), (), Word.PASS)


def test_what_is_not_known_beside_its_absence_is_a_hole() -> None:
    seen = trail((OK, 0.1, 18.9), (OK, 31.3, 59.9), away=[(25.0, 31.0)])

    assert judge(seen).unmeasured == ((18.9, 31.3),)


def test_a_path_that_was_never_asked_is_inconclusive() -> None:
    assert judge(Trail(), now=0.5).word is Word.INCONCLUSIVE


@pytest.mark.parametrize(
    "seen", [Trail(since=59.5), Trail(since=31.0, until=31.2)], ids=["late", "short"]
)
def test_a_path_that_was_hardly_there_is_not_judged(seen: Trail) -> None:
    assert judge(seen).word is Word.NOT_APPLICABLE


@pytest.mark.parametrize("last", [1.6, 0.9])
def test_what_is_not_known_within_an_outage_may_be_part_of_it(last: float) -> None:
    back = 12.9 + last
    seen = trail(
        *((OK, 0.1, 9.9), (LOST, 10.1, 11.3), (LOST, 12.9, back), (OK, back + 0.2, 59))
    )

    made = judge(seen)

    assert made.word is Word.INCONCLUSIVE
    assert made.reason == f"out, or not measured for {last + 3:.1f} s"


def test_it_is_no_part_of_an_outage_long_before() -> None:
    seen = trail(
        *((OK, 0.1, 9.9), (LOST, 10.1, 11.3), (OK, 11.5, 20.1), (OK, 21.7, 59.9))
    )

    assert judge(seen).word is Word.PASS


@pytest.mark.parametrize(
    "more",
    [{"until": 30.0}, {"away": [(30.0, 36.0)]}],
    ids=["for good", "for a while"],
)
def test_what_is_asked_in_vain_once_it_is_gone_is_no_outage(
    more: dict[str, object],
) -> None:
    seen = trail((OK, 0.1, 30.9), (LOST, 31.1, 35.7), **more)
    if "away" in more:
        seen.add(Run(OK, 36.1, 59.9, 120))

    made = judge(seen)

    assert (made.word, made.outages) == (Word.PASS, ())


def test_strict_allows_nothing() -> None:
    seen = trail((OK, 0.1, 9.9), (LOST, 10.1, 10.1), (OK, 10.3, 59.9))

    assert record(PATH, seen, 60.0, PROFILES["strict"]).word is Word.FAIL
    assert judge(seen).word is Word.PASS


@pytest.mark.parametrize(
    ("words", "word"),
    [
        ([Word.PASS, Word.FAIL, Word.INCONCLUSIVE], Word.FAIL),
        ([Word.PASS, Word.INCONCLUSIVE], Word.INCONCLUSIVE),
        ([Word.PASS, Word.NOT_APPLICABLE], Word.PASS),
        ([Word.NOT_APPLICABLE], Word.NOT_APPLICABLE),
        ([], Word.NOT_APPLICABLE),
    ],
)
def test_a_watch_shows_the_worst_of_its_paths(words: list[Word], word: Word) -> None:
    assert overall(Record(PATH, one) for one in words) is word


def test_a_watch_in_which_no_path_was_judged_measured_nothing() -> None:
    words = (Word.INCONCLUSIVE, Word.NOT_APPLICABLE)

    assert measured_nothing(Record(PATH, word) for word in words)
    assert not measured_nothing([Record(PATH, Word.FAIL)])


def test_runs_that_go_on_are_one() -> None:
    made = trail((OK, 0.1, 0.9), (OK, 1.1, 1.9), (OK, 4.0, 5.0))

    assert made.runs == [Run(OK, 0.1, 1.9, 10), Run(OK, 4.0, 5.0, 6)]


def test_paths_say_who_asks_whom_and_how() -> None:
    kept = Path(Way.POD, "a", "b", Family.IPV6, kept=True)

    assert [str(PATH), str(kept)] == ["a -> watch ipv4 new", "a -> b ipv6 kept"]
    assert Outage(1.0, 3.5, 1.0, 1, 0, LOST).seconds == 2.5
