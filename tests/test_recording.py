"""report.json: what it says, how it is packed, and how it is read again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from recordings import FIGURES, FOLDER, SUITE, on_paper, real, rules_of
from scenes import reply_of, seen
from test_report import FAILED, LEFT_OUT, ON, PASSED, PLAN, PLANS, UNKNOWN, dead, result

from pytest_k8snet import wire
from pytest_k8snet.model import Outcome, Profile, Word
from pytest_k8snet.report import document, recording, schema
from pytest_k8snet.report.packing import Packer, ranges, shortest
from pytest_k8snet.report.recording import Recording, Unreadable, read
from pytest_k8snet.report.schema import ByPlace
from pytest_k8snet.result import Result, conclude, describe, explain, shape

if TYPE_CHECKING:
    from pytest_k8snet.model import Observation
    from pytest_k8snet.report.schema import Report

KIB = 1000


def made(*results: Result, **more: Any) -> Report:
    given: dict[str, Any] = {"started": 0.0, "suite": SUITE, "problems": {}}
    return document.document(PLAN, results, FIGURES, **given | more)


def again(*results: Result) -> Recording:
    """Write a report, and read it."""
    return read(document.text(made(*results)))


def test_the_document_says_what_was_tested_and_what_became_of_it() -> None:
    report = made(UNKNOWN, PASSED, FAILED, LEFT_OUT, problems={"b": "no image"})

    assert report.schema_version == schema.SCHEMA_VERSION
    assert report.started == "1970-01-01T00:00:00+00:00"
    assert report.coverage.ordered_pairs == 9
    assert report.results == {
        "fail": 1,
        "inconclusive": 1,
        "not-applicable": 1,
        "pass": 1,
    }
    results = (UNKNOWN, PASSED, FAILED, LEFT_OUT)
    assert [c.id for c in report.checks] == sorted(r.check.id for r in results)
    assert report.environment.families == ["ipv4", "ipv6"]
    assert [n.name for n in report.environment.nodes] == ["a", "b", "c"]
    assert report.not_running == {"b": "no image"}


def test_what_is_read_is_what_was_written() -> None:
    report = made(FAILED, PASSED)

    assert read(document.text(report)).report == report


def test_facts_are_read_as_they_were_found() -> None:
    assert recording.facts(made().environment) == ON.facts


def bare(one: Observation) -> dict[str, Any]:
    """Give what a report keeps of an observation."""
    probe = one.probe
    ends = (probe.source, probe.target, probe.protocol, probe.family, probe.number)
    return {**vars(one), "probe": ends, "seconds": round(one.seconds, 9)}


def test_everything_that_was_seen_is_read_again() -> None:
    """Every rule on paper: whatever its probes look like, they come back the same."""
    results = []
    for planned in PLAN.checks:
        asked = [*planned.probes, *(p for _, probes in planned.steps for p in probes)]
        told = tuple(seen(p, ON, reply_of(p, ON)) for p in asked)
        results.append(conclude(planned.check, [], told, ON))
    results.sort(key=lambda r: r.check.id)

    for before, after in zip(results, again(*results).results, strict=True):
        assert [bare(o) for o in after.seen] == [bare(o) for o in before.seen]
        assert (after.check.id, after.word) == (before.check.id, before.word)
        assert after.cells == before.cells


def test_results_explain_themselves_as_they_did() -> None:
    results = {r.check.id: r for r in again(PASSED, FAILED, UNKNOWN).results}

    assert explain(results[FAILED.check.id]) == explain(FAILED)
    assert shape(results[FAILED.check.id].verdict.violations) == "to b"
    assert results[UNKNOWN.check.id].reason == UNKNOWN.reason


def test_what_two_rules_judge_is_kept_once() -> None:
    other = PLANS["POD-SOURCE-PRESERVED-tcp-ipv4-same-node"].check

    report = made(PASSED, replace(PASSED, check=other))

    assert len(report.batches) == 1
    assert report.checks[0].batches == report.checks[1].batches


def test_the_cells_of_a_failed_check_say_which_are_wrong() -> None:
    found = again(FAILED)

    assert found.report.checks[0].cells == (4, 6)
    wrong = [c for c in found.cells[FAILED.check.id] if c.conforms is False]
    ends = [("client@a", "server@b"), ("client@c", "server@b")]
    assert [(c.source, c.target) for c in wrong] == ends
    assert [c.places for c in wrong] == [("a", "b"), ("c", "b")]
    assert describe(wrong[0].shown).endswith("timed out (connect)")


def test_what_was_not_judged_is_neither_right_nor_wrong() -> None:
    planned = PLANS["POD-TO-POD-tcp-ipv4-cross-node"]
    holes = tuple(wire.not_probed(p, ON, "gone") for p in planned.probes)

    found = again(conclude(planned.check, [], holes, ON))

    assert {c.conforms for c in found.cells[planned.check.id]} == {None}
    assert found.report.checks[0].cells == (0, 6)
    assert "not probed (gone)" in describe(found.cells[planned.check.id][0].shown)


def test_a_hole_beside_a_violation_stays_a_hole() -> None:
    planned = PLANS["POD-TO-POD-tcp-ipv4-cross-node"]
    first, second, *others = (seen(p, ON, reply_of(p, ON)) for p in planned.probes)
    hole = wire.not_probed(second.probe, ON, "gone")

    judged = conclude(planned.check, [], (dead(first), hole, *others), ON)
    found = again(judged).cells[planned.check.id]

    assert judged.word is Word.FAIL
    assert [c.conforms for c in found] == [False, None, *[True] * len(others)]


def test_the_attempts_of_a_cell_are_counted_and_the_slowest_is_told() -> None:
    passed = result("SERVICE-ALL-BACKENDS-tcp-ipv4")
    slow = replace(passed.seen[0], seconds=0.1234567)

    found = again(replace(passed, seen=(slow, *passed.seen[1:])))

    first = found.cells[passed.check.id][0]
    assert first.attempts == passed.seen[0].probe.ask.count
    assert first.seconds == 0.123


# ----------------------------------------------------------------------------- packing


def test_a_column_is_said_in_the_shortest_way() -> None:
    sources, targets = [0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 2] * 3

    assert shortest([5] * 9, sources, targets) == 5
    by_source = [7, 7, 7, 8, 8, 8, 9, 9, 9]
    assert shortest(by_source, sources, targets) == ByPlace(source=[7, 8, 9])
    assert shortest([7, 8, 9] * 3, sources, targets) == ByPlace(target=[7, 8, 9])
    one_off = ByPlace(all=5, but={4: 6})
    assert shortest([5, 5, 5, 5, 6, 5, 5, 5, 5], sources, targets) == one_off
    assert shortest(range(9), sources, targets) == list(range(9))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [([], []), ([3], [(3, 3)]), ([1, 2, 3, 7, 9, 8], [(1, 3), (7, 9)])],
)
def test_rows_are_written_as_ranges(
    rows: list[int], expected: list[tuple[int, int]]
) -> None:
    assert ranges(rows) == expected


def test_a_packer_gives_every_batch_of_a_check() -> None:
    packer = Packer()

    assert packer.pack(PASSED.seen) == [0]
    assert packer.pack(FAILED.seen) == [1]
    assert packer.pack(PASSED.seen) == [0]


# ------------------------------------------------------------------------------- sizes


def test_a_run_of_three_nodes_is_small_enough_to_be_committed() -> None:
    run, packer = real("healthy"), Packer()
    checks = [document.check_document(one, packer) for one in run.results]
    packed = {k: v for k, v in vars(packer).items() if not k.startswith("_")}
    report = run.report.model_copy(update={"checks": checks, **packed})

    assert report.batches == run.report.batches
    assert len(report.environment.nodes) == 3
    assert report.suite.profile == "default"
    assert len(document.text(report).encode()) <= 200 * KIB


def test_a_run_of_fifty_nodes_is_small_enough_to_be_sent() -> None:
    report = on_paper(50, rules_of(Profile.DEFAULT))

    assert sum(total for _, total in (c.cells for c in report.checks)) > 200_000
    assert len(document.text(report).encode()) <= 5000 * KIB


# ----------------------------------------------------------------------------- reading


def test_the_first_version_is_read() -> None:
    found = real("version1")

    assert found.report.schema_version == schema.SCHEMA_VERSION
    ids = {r.check.id for r in found.results}
    assert {"POD-TO-POD-tcp-ipv4-cross-node", "NODE-READY"} <= ids
    cells = found.cells["POD-TO-POD-tcp-ipv4-cross-node"]
    assert [(c.source, c.target) for c in cells][:2] == [
        ("client@control-plane", "server@worker"),
        ("client@control-plane", "server@worker2"),
    ]
    assert all(c.conforms and c.seconds > 0 for c in cells)
    assert read(document.text(found.report)).report == found.report


def test_every_target_of_the_first_version_is_read_as_it_was_written() -> None:
    old = json.loads((FOLDER / "version1.json").read_text(encoding="utf-8"))
    found = real("version1")

    for check in old["checks"]:
        # Cells that differed only in what was expected are one now.
        ends = {(c["source"], c["target"]) for c in check["cells"]}
        assert {(c.source, c.target) for c in found.cells[check["id"]]} == ends


def test_what_the_first_version_said_of_a_violation_is_kept() -> None:
    old = json.loads((FOLDER / "version1.json").read_text(encoding="utf-8"))
    check = next(
        c for c in old["checks"] if c["id"] == "POD-TO-POD-tcp-ipv4-cross-node"
    )
    why = "client@a -> server@b tcp/ipv4 [10.0.0.1 80]  timed out (connect, no answer)"
    check["cells"][0] |= {"conforms": False, "outcome": "timed out", "detail": why}
    check["cells"][1] |= {"conforms": None, "outcome": "not probed"}
    check["result"] = "fail"

    found = read(json.dumps(old))

    (wrong,) = (r for r in found.results if r.word is Word.FAIL)
    assert len(wrong.verdict.violations) == len(wrong.verdict.unjudged) == 1
    assert wrong.verdict.violations[0].outcome is Outcome.TIMED_OUT
    assert wrong.verdict.violations[0].detail == "connect, no answer"


@pytest.mark.parametrize("number", ["asks", "grids", "layouts", "batches"])
def test_numbers_that_lead_nowhere_are_no_report(number: str) -> None:
    text = json.dumps(json.loads(document.text(made(PASSED))) | {number: []})

    with pytest.raises(Unreadable, match="not as its schema says: IndexError"):
        read(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no JSON", "no report.json of pytest-k8snet"),
        ("[]", "no report.json of pytest-k8snet"),
        ("{}", "no report.json of pytest-k8snet"),
        ('{"schema_version": 99}', "schema version 99, but should be at most 2"),
        ('{"schema_version": 1}', "not as its schema says: KeyError"),
        ('{"schema_version": 2}', "not as its schema says: started: "),
    ],
)
def test_what_is_no_report_is_refused_with_why(text: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read(text)


def test_the_schema_knows_no_field_that_is_not_its_own() -> None:
    text = json.dumps(json.loads(document.text(made())) | {"extra": 1})

    with pytest.raises(Unreadable, match="extra"):
        read(text)


def test_a_recording_on_paper_is_one_that_can_be_written() -> None:
    report = on_paper(3, rules_of(Profile.QUICK), cut_off="b")

    assert read(document.text(report)).report == report
