"""Known deviations: excused with a reason, and not for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from test_report import FAILED, PASSED, UNKNOWN

from pytest_k8snet.deviations import EXAMPLE, Entry, State, amend, read, uses
from pytest_k8snet.model import Word

TODAY = date(2026, 11, 21)
ENTRY = Entry(rule="POD-TO-POD", reason="NET-42", expires=TODAY)


def entry(**more: object) -> Entry:
    return ENTRY.model_copy(update=more)


def test_the_example_is_an_entry() -> None:
    (read_back,) = read(EXAMPLE)

    assert read_back.rule == "POD-TO-HOST-NETWORK"
    assert read_back.cells == ("*",)
    assert read_back.expires == date(2027, 3, 31)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[deviation]]\nrule = 'POD-TO-POD'", "deviation.0.reason: Field required"),
        ("[[deviations]]\nrule = 'x'", "deviations: Extra inputs are not permitted"),
        (EXAMPLE.replace("POD-TO-HOST", "POD-TO-HEAVEN"), "no rule or check is called"),
        (EXAMPLE.replace("2027-03-31", "'soon'"), "deviation.0.expires"),
        (EXAMPLE.replace('"masqueraded, ticket NET-42"', '""'), "deviation.0.reason"),
        ("[[", "Invalid initial character"),
    ],
)
def test_a_file_that_is_wrong_says_where(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(text)


def test_a_failure_that_is_excused_altogether_is_a_known_deviation() -> None:
    made = amend(FAILED, [ENTRY], TODAY)

    assert made.word is Word.KNOWN_DEVIATION
    assert made.reason == "NET-42 (until 2026-11-21)"
    assert made.verdict == FAILED.verdict


@pytest.mark.parametrize(
    "cells", [("* -> server@b",), ("client@a -> *", "client@c -> server@?")]
)
def test_every_wrong_cell_has_to_be_named(cells: tuple[str, ...]) -> None:
    assert amend(FAILED, [entry(cells=cells)], TODAY).word is Word.KNOWN_DEVIATION


@pytest.mark.parametrize(
    "unfit",
    [
        entry(cells=("client@a -> *",)),
        entry(rule="POD-TO-POD-tcp-ipv4-same-node"),
        entry(rule="POD-BULK"),
        entry(expires=date(2026, 11, 20)),
    ],
    ids=["a cell", "another check", "another rule", "expired"],
)
def test_what_is_not_excused_still_fails(unfit: Entry) -> None:
    assert amend(FAILED, [unfit], TODAY) is FAILED


def test_what_was_not_judged_beside_it_is_inconclusive() -> None:
    wrong = FAILED.verdict.violations
    verdict = replace(FAILED.verdict, unjudged=wrong)

    made = amend(replace(FAILED, verdict=verdict), [ENTRY], TODAY)

    assert made.word is Word.INCONCLUSIVE
    assert made.reason.startswith("not judged: client@")


def test_what_did_not_fail_is_left_alone() -> None:
    assert amend(PASSED, [ENTRY], TODAY) is PASSED
    assert amend(UNKNOWN, [entry(rule="NODE-READY")], TODAY) is UNKNOWN


def test_entries_say_what_they_did() -> None:
    late = entry(expires=date(2026, 11, 20))
    entries = (
        ENTRY,
        entry(rule=PASSED.check.id),
        entry(rule="NODE-READY"),
        late,
        late.model_copy(update={"rule": PASSED.check.id}),
    )

    told = uses(entries, [PASSED, amend(FAILED, entries, TODAY), UNKNOWN], TODAY)

    assert [use.state for use in told] == [
        State.USED,
        State.NOT_NEEDED,
        State.NOT_ASKED,
        State.EXPIRED,
        State.EXPIRED,
    ]
    assert told[0].checks == (FAILED.check.id,)
    assert "is no longer needed" in str(told[1])
    assert str(told[2]).endswith(": not asked")
    assert f"expired on 2026-11-20; still needed by {FAILED.check.id}" in str(told[3])
    assert "expired on 2026-11-20; still needed by nothing in this run" in str(told[4])
