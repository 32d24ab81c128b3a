"""What is told of a watch: while it goes on, at its end, and in watch.json."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from scenes import facts

from pytest_k8snet import report
from pytest_k8snet.cli import main
from pytest_k8snet.model import Family, Inconclusive, Outcome, Word
from pytest_k8snet.outages import PROFILES, Record, Run, Trail, Way, record
from pytest_k8snet.outages import Path as Asked
from pytest_k8snet.report.watch_schema import (
    WATCH_VERSION,
    WatchDocument,
    watch_document,
)
from pytest_k8snet.report.watch_text import MOST_ROWS, progress_line, tables
from pytest_k8snet.watched import Watched
from pytest_k8snet.workbench import Watching

STARTED = 1_795_000_000.0
OK, LOST = Outcome.ANSWERED, Outcome.TIMED_OUT
BUDGETS = PROFILES["upgrade"]


def seen(path: Asked, *runs: Run, **more: object) -> Record:
    trail = Trail(**more)  # type: ignore[arg-type]
    for run in runs:
        trail.add(run)
    return record(path, trail, 60.0, BUDGETS)


WHOLE = Run(OK, 0.1, 59.9, 300)
HEALTHY = seen(Asked(Way.POD, "a", "b", Family.IPV4), WHOLE)
OUT = seen(
    Asked(Way.SERVICE, "a", "Service watch", Family.IPV4),
    Run(OK, 0.1, 9.9, 50),
    Run(LOST, 10.1, 14.9, 25),
    Run(OK, 15.1, 59.9, 225),
)
CUT = seen(Asked(Way.NODE_PORT, "outside", "b", Family.IPV4), Run(OK, 0.1, 30.0, 150))
MUTE = seen(Asked(Way.DNS, "a", "Service 10.96.0.10", Family.IPV4), known=False)
BROKEN = replace(
    seen(Asked(Way.POD, "a", "b", Family.IPV4, kept=True), WHOLE),
    broken=((12.0, Outcome.RESET),),
)


def watched(*records: Record) -> Watched:
    return Watched(records, BUDGETS, STARTED, 60.0)


def test_the_tables_say_what_was_out_and_for_how_long() -> None:
    said = tables(watched(HEALTHY, BROKEN, OUT, CUT, MUTE), width=120)

    lines = said.splitlines()
    assert "Pod to Pod: 2 paths, 600 requests, no outage, 1 s allowed" in lines
    (row,) = [line for line in lines if line.endswith(" a -> Service watch ipv4 new")]
    assert row.split()[:6] == ["5.0", "5.0", "25", "0", "11:06:50.1", "11:06:55.1"]
    assert " timed out " in row
    assert "broken: a -> b ipv4 kept at" in said
    assert "not measured: outside -> b ipv4 new from" in said
    assert "(30.0 s)" in said
    assert "not judged: a -> Service 10.96.0.10 ipv4 new: did not answer before" in said
    assert lines[-1] == (
        "fail: of 5 paths 1 out for longer than allowed, "
        "1 not measured for longer than that, 2 within what is allowed; "
        "the worst: service a -> Service watch ipv4 new: out for 5.0 s, more than 2 s"
    )


def test_the_longest_outages_come_first_and_the_rest_is_counted() -> None:
    runs = [Run(OK, 0.0, 0.0, 1)]
    for number in range(MOST_ROWS + 3):
        start = 1.0 + 4 * number
        runs += [
            Run(LOST, start, start + 0.1 * number, 1),
            Run(OK, start + 0.1 * number + 0.2, start + 3.9, 10),
        ]
    path = Asked(Way.SERVICE, "a", "x", Family.IPV4)

    said = tables(watched(seen(path, *runs)), width=120)

    lengths = [line.split()[0] for line in said.splitlines() if line.endswith(" new")]
    assert lengths == sorted(lengths, key=float, reverse=True)
    assert len(lengths) == MOST_ROWS
    assert "... and 3 more outages" in said


def test_a_watch_that_saw_nothing_says_so() -> None:
    assert tables(watched()).strip() == "not-applicable: no path was measured"


def test_progress_names_what_is_out_now() -> None:
    out = seen(Asked(Way.POD, "a", "c", Family.IPV4), Run(LOST, 1.0, 59.9, 300))

    assert progress_line([HEALTHY], 5.0) == "   5 s  1 paths, 300 requests, no outage"
    assert progress_line([HEALTHY, out], 60.0).endswith("; out now: a -> c ipv4 new")


def test_watch_json_is_read_as_it_was_written() -> None:
    made = watch_document(facts(2), watched(HEALTHY, BROKEN, OUT, CUT, MUTE))

    again = WatchDocument.model_validate_json(made.model_dump_json())

    assert again == made
    assert made.result == "fail"
    assert made.started == "2026-11-18T11:06:40.000+00:00"
    out = next(path for path in made.paths if path.kind == "service")
    (outage,) = out.outages
    assert (outage.start, outage.end, outage.seconds) == (10.1, 15.1, 5.0)
    assert made.paths[1].broken[0].why == "reset"
    assert made.budgets == {"pod": 1.0, "service": 2.0, "nodeport": 2.0, "dns": 5.0}


def test_the_schema_in_the_package_is_current(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["schema", "watch"]) == 0

    said = capsys.readouterr().out
    file = Path(report.__file__).with_name("watch.schema.json")
    assert file.read_text(encoding="utf-8") == said, "k8snet schema watch"
    version = json.loads(said)["properties"]["watch_version"]
    assert version["default"] == WATCH_VERSION


class Paper:
    """Stands for a watch whose records are known."""

    seconds = 60.0

    def __init__(self, *records: Record) -> None:
        self.problems: dict[str, str] = {}
        self._records = list(records)

    def records(self, budgets: object) -> list[Record]:
        del budgets
        return self._records


def test_a_test_fails_when_a_path_was_out_for_too_long() -> None:
    watching = Watching(Paper(HEALTHY, OUT), BUDGETS)  # type: ignore[arg-type]

    with pytest.raises(AssertionError, match=r"out for 5\.0 s, more than 2 s"):
        watching.judge()

    (found,) = watching.outages
    assert found[0].way is Way.SERVICE


def test_a_test_is_inconclusive_when_that_could_not_be_told() -> None:
    with pytest.raises(Inconclusive, match=r"not measured for 30\.0 s"):
        Watching(Paper(HEALTHY, CUT), BUDGETS).judge()  # type: ignore[arg-type]
    with pytest.raises(Inconclusive):
        Watching(Paper(MUTE), BUDGETS).judge()  # type: ignore[arg-type]


def test_a_node_without_an_agent_is_no_pass_and_is_named() -> None:
    paper = Paper(HEALTHY)
    paper.problems = {"c": "ImagePullBackOff: [nope]"}

    with pytest.raises(Inconclusive, match=r"no agent on c: ImagePullBackOff: \[nope"):
        Watching(paper, BUDGETS).judge()  # type: ignore[arg-type]


def test_a_test_passes_when_all_was_within_its_budget() -> None:
    watching = Watching(Paper(HEALTHY), BUDGETS)  # type: ignore[arg-type]

    watching.judge()

    assert watching.watched.word is Word.PASS
