"""Everything that is made of report.json: for people, for GitHub, for machines."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import yaml
from recordings import real
from test_recording import again
from test_report import FAILED, LEFT_OUT, PASSED, UNKNOWN, result

from pytest_k8snet.diagnose import Confidence, Finding
from pytest_k8snet.model import Word
from pytest_k8snet.report.compare import baseline_document, compare
from pytest_k8snet.report.conformance import conformance
from pytest_k8snet.report.figures import problems, took, verdict
from pytest_k8snet.report.formats import FORMATS
from pytest_k8snet.report.markdown import (
    MOST_ANNOTATIONS,
    SUMMARY_LIMIT,
    markdown,
    workflow_commands,
)
from pytest_k8snet.report.prometheus import prometheus
from pytest_k8snet.report.recording import Recording, recorded
from pytest_k8snet.report.schema import DeviationDocument, ShiftDocument
from pytest_k8snet.report.terminal import baseline_text, findings_text, summary

real_run = cache(real)
SAMPLE = re.compile(r'(k8snet_\w+)(?:\{(?:\w+="[^"]*",?)*\})? [\d.e+-]+')
MIXED = again(PASSED, FAILED, UNKNOWN, LEFT_OUT)
FINDING = Finding(
    "some-cause",
    "node kernel",
    Confidence.CONSISTENT,
    "b drops.",
    evidence=("2 cells of 1 rules",),
    next="look at b",
    link="https://example.org/1",
    checks=(FAILED.check.id,),
    also=("another-cause",),
)


def with_baseline() -> Recording:
    made = baseline_document(compare(again(PASSED), MIXED))
    return recorded(MIXED.report.model_copy(update={"baseline": made}))


@pytest.mark.parametrize("name", ["healthy", "worker2-cut-off", "version1"])
def test_every_format_is_made_of_every_recording(name: str) -> None:
    for form in FORMATS.values():
        assert form(real_run(name)).strip()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "0 ms"), (0.00041, "0.41 ms"), (0.25, "250 ms"), (15.34, "15.3 s")],
)
def test_times_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert took(seconds) == said


# ------------------------------------------------------------------------ what is wrong


def test_the_verdict_counts_the_words_that_there_are() -> None:
    assert verdict(MIXED) == "1 failed, 1 inconclusive, 1 passed, 1 do not apply"
    assert verdict(again(PASSED)) == "1 passed"


def test_a_finding_stands_for_the_failures_that_it_explains() -> None:
    (one, *others) = problems(real_run("worker2-cut-off"))

    assert "worker2" in one.title
    assert len(one.results) == 152
    assert {other.word for other in others} == {Word.INCONCLUSIVE}


def test_failures_that_nothing_explains_are_told_by_place() -> None:
    titles = [one.title for one in problems(MIXED)]

    assert titles == ["failed: to b", "inconclusive: the server is gone"]


def test_the_terminal_says_why_and_what_to_do_next() -> None:
    assert findings_text([FINDING]) == (
        "\nfinding: b drops. "
        "(node kernel, consistent: some-cause, or another-cause)\n"
        "  2 cells of 1 rules\n  next: look at b\n  see: https://example.org/1\n"
    )


def test_what_a_finding_explains_is_not_listed_again() -> None:
    run = real_run("worker2-cut-off")

    said = summary(
        run.results,
        dict(run.report.figures),
        problems={},
        findings=run.report.findings,
    )

    assert said.count("\nfinding: ") == 1
    assert "  red: 152 checks of " in said
    assert "  reproduce: kubectl --context " in said
    assert "\nfailed " not in said


def test_what_no_cause_fits_is_not_labelled() -> None:
    unknown = replace(FINDING, cause="unknown", evidence=(), next="", link="")

    assert findings_text([unknown]) == "\nfinding: b drops.\n"
    assert findings_text([unknown] * 14).endswith("... and 2 more findings\n")


def test_a_long_comparison_is_counted_and_what_took_longer_is_said() -> None:
    healthy, broken = real_run("healthy"), real_run("worker2-cut-off")
    document = baseline_document(compare(healthy, broken)).model_copy(
        update={"shifts": [ShiftDocument(what="dns udp", before=0.001, after=1.5)]}
    )

    said = baseline_text(document).splitlines()

    assert "  regressed  ... and 158 more" in said
    assert "  slower     dns udp  1 ms -> 1.5 s" in said


def test_the_terminal_says_what_changed_since_the_baseline() -> None:
    document = with_baseline().report.baseline
    assert document

    said = baseline_text(document)

    assert "0 regressed, 0 fixed, 2 new, 0 gone" in said
    assert f"new        {FAILED.check.id}  not asked -> fail, 2 cells" in said


# ------------------------------------------------------------------ Markdown and GitHub


def test_markdown_has_the_verdict_first_and_a_row_for_every_rule() -> None:
    said = markdown(with_baseline())

    assert said.startswith("# Kubernetes network: 1 failed, 1 inconclusive,")
    assert "## Failed: to b" in said
    assert "reproduce: kubectl --context paper" in said
    assert "## Compared with the baseline" in said
    for one in MIXED.results:
        assert f"[{one.check.rule.id}](https://" in said


def test_markdown_says_what_was_known_and_what_did_not_run() -> None:
    known = DeviationDocument(
        rule="POD-PING", cells=["*"], reason="NET-42", expires="2027-01-01",
        state="used", checks=["POD-PING-ipv4"],
    )  # fmt: skip
    update = {"deviations": [known], "not_running": {"server@b": "no image"}}

    said = markdown(recorded(MIXED.report.model_copy(update=update)))

    assert "| POD-PING | NET-42 | 2027-01-01 | used | 1 |" in said
    assert "- **not running**: server@b: no image" in said


def test_markdown_leaves_the_last_out_rather_than_all() -> None:
    said = markdown(real_run("worker2-cut-off"), limit=6000)

    assert len(said.encode()) <= 6000
    assert said.startswith("# Kubernetes network: 152 failed")
    assert said.endswith("(The rest does not fit here: see report.json.)\n")


def test_a_step_summary_is_not_dropped_for_its_size() -> None:
    assert SUMMARY_LIMIT <= 1000 * 1024


def test_what_would_end_a_table_cell_is_escaped() -> None:
    odd = replace(UNKNOWN, reason="a | b <script>")

    said = markdown(again(odd))

    assert "a \\| b &lt;script>" in said
    assert "<script>" not in said


def test_github_is_told_of_causes_and_not_of_cells() -> None:
    lines = workflow_commands(real_run("worker2-cut-off"))

    errors = [line for line in lines if line.startswith("::error ")]
    warnings = [line for line in lines if line.startswith("::warning ")]
    assert len(errors) == 1
    assert "worker2" in errors[0]
    assert "%0A" in errors[0]
    assert 0 < len(warnings) <= MOST_ANNOTATIONS
    assert workflow_commands(real_run("healthy")) == []


def test_an_annotation_stays_on_its_line() -> None:
    odd = replace(UNKNOWN, reason="100 %: a, b\nc")

    (line,) = workflow_commands(again(odd))

    assert "\n" not in line
    assert line.startswith(
        "::warning title=k8snet%3A inconclusive%3A 100 %25%3A a%2C b"
    )


# --------------------------------------------------------------------------- Prometheus


def test_prometheus_gets_lines_that_it_reads_and_no_series_per_pair() -> None:
    said = prometheus(real_run("worker2-cut-off"))

    samples = [line for line in said.splitlines() if not line.startswith("#")]
    for line in samples:
        assert SAMPLE.fullmatch(line), line
    assert "worker2" not in said
    assert len(samples) == len(set(samples)) <= 1000
    families = {line.split()[2] for line in said.splitlines() if "# TYPE" in line}
    assert {SAMPLE.fullmatch(s)[1] for s in samples} == families  # type: ignore[index]


def test_prometheus_gets_what_became_of_each_check() -> None:
    lines = prometheus(MIXED).splitlines()

    where = 'rule="POD-TO-POD",protocol="tcp",family="ipv4",path="cross-node"'
    assert f'k8snet_check{{{where},result="fail"}} 1' in lines
    assert f'k8snet_check_cells{{{where},conforms="yes"}} 4' in lines
    assert f'k8snet_check_cells{{{where},conforms="no"}} 2' in lines
    assert 'k8snet_check{rule="NODE-READY",result="inconclusive"} 1' in lines
    assert "k8snet_settle_seconds 0.75" in lines
    assert not [line for line in lines if "HOSTPORT" in line]


# -------------------------------------------------------------------------- conformance


def profile(recording: Recording, name: str) -> Any:
    made = yaml.safe_load(conformance(recording))
    assert made["kind"] == "ConformanceReport"
    return next(p for p in made["profiles"] if p["name"] == name)


def test_what_a_healthy_cluster_is_asked_it_conforms_to() -> None:
    found = profile(real_run("healthy"), "rule2")

    assert found["core"]["result"] == found["extended"]["result"] == "success"
    assert found["core"]["statistics"]["failed"] == 0
    assert found["core"]["statistics"]["passed"] > 0


def test_a_violated_must_is_a_failure_of_the_core() -> None:
    found = profile(MIXED, "rule2")["core"]

    assert found["result"] == "failure"
    assert found["failedTests"] == [FAILED.check.id]


@pytest.mark.parametrize(
    "word", [Word.INCONCLUSIVE, Word.KNOWN_DEVIATION, Word.NOT_APPLICABLE]
)
def test_what_was_not_shown_is_no_success(word: Word) -> None:
    other = result("POD-TO-POD-udp-ipv4-same-node")
    beside = () if word is Word.NOT_APPLICABLE else (PASSED,)

    found = profile(again(*beside, replace(other, word=word, reason="why")), "rule2")

    assert found["core"]["result"] == "partial"
