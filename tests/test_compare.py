"""Two runs, side by side."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import pytest
from recordings import real
from test_recording import again
from test_report import FAILED, LEFT_OUT, PASSED, UNKNOWN, result

from pytest_k8snet.model import Verdict, Word
from pytest_k8snet.report.compare import (
    Change,
    baseline_document,
    compare,
    latencies,
    match_places,
    of_check,
    showing,
)
from pytest_k8snet.report.recording import Recording, recorded
from pytest_k8snet.report.schema import NodeDocument

if TYPE_CHECKING:
    from pytest_k8snet.report.schema import Environment
    from pytest_k8snet.result import Result

CHECK = "POD-TO-POD-tcp-ipv4-cross-node"
WELL = result(CHECK)
WORSE = result(CHECK, lost="c")
real_run = cache(real)


def changes(before: Recording, after: Recording) -> dict[Change, set[str]]:
    made = compare(before, after)
    found = {change: {c.id for c in made.of(change)} for change in Change}
    return {change: ids for change, ids in found.items() if ids}


def test_a_run_is_like_itself() -> None:
    run = real_run("healthy")

    made = compare(run, run)

    assert {c.change for c in made.checks} == {Change.UNCHANGED}
    assert made.shifts == ()
    assert made.environment == ()


def test_a_node_cut_off_is_a_regression_of_what_failed_and_of_nothing_else() -> None:
    healthy, broken = real_run("healthy"), real_run("worker2-cut-off")
    worse = {
        r.check.id for r in broken.results if r.word in {Word.FAIL, Word.INCONCLUSIVE}
    }

    assert changes(healthy, broken)[Change.REGRESSED] == worse
    assert changes(broken, healthy)[Change.FIXED] == worse
    assert set(changes(healthy, broken)) == {Change.REGRESSED, Change.UNCHANGED}


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (WELL, FAILED, Change.REGRESSED),
        (FAILED, WELL, Change.FIXED),
        (FAILED, FAILED, Change.UNCHANGED),
        (FAILED, WORSE, Change.REGRESSED),
        (LEFT_OUT, LEFT_OUT, Change.UNCHANGED),
    ],
)
def test_a_check_changes_with_its_cells(
    before: Result, after: Result, change: Change
) -> None:
    (made,) = compare(again(before), again(after)).checks

    assert made.change is change


def test_the_cells_that_changed_are_named() -> None:
    (made,) = compare(again(FAILED), again(WORSE)).checks

    assert made.cells[Change.FIXED] == (
        "client@a -> server@b",
        "client@c -> server@b",
    )
    assert made.cells[Change.REGRESSED] == (
        "client@a -> server@c",
        "client@b -> server@c",
    )


@pytest.mark.parametrize(
    ("then", "now", "change"),
    [
        (None, Word.PASS, Change.NEW),
        (Word.NOT_APPLICABLE, Word.FAIL, Change.NEW),
        (Word.PASS, None, Change.GONE),
        (Word.FAIL, Word.NOT_APPLICABLE, Change.GONE),
        (None, Word.NOT_APPLICABLE, Change.UNCHANGED),
        (Word.PASS, Word.KNOWN_DEVIATION, Change.UNCHANGED),
        (Word.PASS, Word.INCONCLUSIVE, Change.REGRESSED),
        (Word.INCONCLUSIVE, Word.INCONCLUSIVE, Change.UNCHANGED),
        (Word.INCONCLUSIVE, Word.FAIL, Change.NEW),
        (Word.INCONCLUSIVE, Word.PASS, Change.FIXED),
        (Word.FAIL, Word.INCONCLUSIVE, Change.UNCHANGED),
    ],
)
def test_what_becomes_of_a_check(
    then: Word | None, now: Word | None, change: Change
) -> None:
    before, after = (
        None if word is None else replace(PASSED, word=word) for word in (then, now)
    )

    assert of_check(before, after, worse=False) is change


def test_which_cells_of_a_broken_service_fail_is_chance_and_no_regression() -> None:
    asked = result("SERVICE-ALL-BACKENDS-tcp-ipv4")
    well = replace(asked, word=Word.PASS, verdict=Verdict())
    once, elsewhere = (
        replace(well, word=Word.FAIL, verdict=Verdict((seen,)))
        for seen in (well.seen[0], well.seen[-1])
    )

    (made,) = compare(again(once), again(elsewhere)).checks
    (first,) = compare(again(well), again(once)).checks

    assert made.cells[Change.REGRESSED] == ("client@c -> ClusterIP few@c",)
    assert made.change is Change.UNCHANGED
    assert first.change is Change.REGRESSED


def environment(
    *nodes: tuple[str, str, str], replicas: tuple[str, ...] = ()
) -> Environment:
    made = again(PASSED).report.environment
    documents = [NodeDocument(name=n, roles=(r,), zone=z) for n, r, z in nodes]
    update = {"nodes": documents, "dns_replicas": list(replicas)}
    return made.model_copy(update=update)


def test_nodes_that_were_replaced_are_matched_by_role_and_zone() -> None:
    before = environment(
        ("cp", "control-plane", "x"),
        ("old-1", "", "x"),
        ("old-2", "", "y"),
        ("old-3", "", "y"),
        replicas=("10.0.0.2", "10.0.0.3"),
    )
    after = environment(
        ("cp", "control-plane", "x"),
        ("a-new", "", "y"),
        ("b-new", "", "x"),
        ("c-new", "", "z"),
        replicas=("10.0.0.8",),
    )

    assert match_places(before, after) == {
        "cp": "cp",
        "a-new": "old-2",
        "b-new": "old-1",
        "10.0.0.8": "10.0.0.2",
    }


def renamed(run: Recording, old: str, new: str) -> Recording:
    """Give the run of a cluster in which one Node was replaced by another."""
    text = run.report.model_dump_json().replace(old, new)
    return recorded(type(run.report).model_validate_json(text))


def test_a_cluster_with_a_node_replaced_is_compared_cell_by_cell() -> None:
    healthy, broken = real_run("healthy"), real_run("worker2-cut-off")
    replaced = renamed(broken, "worker2", "worker9")

    made = compare(healthy, replaced)

    assert made.nodes["worker9"] == "worker2"
    assert changes(healthy, replaced) == changes(healthy, broken)
    for here, there in zip(made.checks, compare(healthy, broken).checks, strict=True):
        counted = [{k: len(v) for k, v in c.cells.items()} for c in (here, there)]
        assert counted[0] == counted[1]
    assert baseline_document(made).nodes == {"worker9": "worker2"}


def test_what_differs_in_what_was_tested_is_said() -> None:
    before, after = real_run("healthy"), real_run("version1")

    assert "suite: 0.1.0 -> unknown" in compare(before, after).environment
    other = renamed(before, "v1.36.1", "v1.37.0")
    assert compare(before, other).environment == (
        "Kubernetes: v1.36.1 -> v1.37.0",
        "kubelets: v1.36.1 x 3 -> v1.37.0 x 3",
    )


def slowed(run: Recording, seconds: float, after: float = 0.0) -> Recording:
    """Give a run in which every answer took longer, and every change showed later."""
    results = tuple(
        replace(
            one,
            seen=tuple(
                replace(
                    o,
                    seconds=o.seconds + seconds,
                    after=None if o.after is None else o.after + after,
                )
                for o in one.seen
            ),
        )
        for one in run.results
    )
    return Recording(run.report, results)


def test_answers_that_are_slower_than_noise_makes_them_are_said() -> None:
    run = real_run("healthy")

    shifts = compare(run, slowed(run, 0.040)).shifts

    assert {"connect to Pod tcp cross-node", "dns to name udp"} <= {
        s.what for s in shifts
    }
    assert all(s.after - s.before == pytest.approx(0.040, abs=0.005) for s in shifts)
    assert compare(run, slowed(run, 0.0049)).shifts == ()


def test_changes_that_show_later_than_noise_makes_them_are_said() -> None:
    run = real_run("healthy")

    shifts = compare(run, slowed(run, 0.0, after=5.0)).shifts

    assert {s.what for s in shifts} == set(showing(run))


def test_answers_over_one_path_are_counted_once_however_many_rules_judge_them() -> None:
    assert len(latencies(real_run("healthy"))["connect to Pod tcp cross-node"]) == 36


def test_a_baseline_is_described_by_what_changed() -> None:
    made = compare(again(WELL, PASSED), again(FAILED, PASSED, UNKNOWN))

    document = baseline_document(made)

    assert {(c.check, c.change, c.before, c.after) for c in document.changes} == {
        (FAILED.check.id, "regressed", "pass", "fail"),
        (UNKNOWN.check.id, "new", "", "inconclusive"),
    }
