"""The comparison with upstream: its table, what it reads, and what it concludes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.upstream import comparison, coverage, programs
from benchmarks.upstream.run import FOCUS, Ran, UpstreamRun, parse
from pytest_k8snet.localcluster import packages
from pytest_k8snet.localcluster.component import KUBERNETES_VERSION
from pytest_k8snet.model import Profile
from pytest_k8snet.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Collection

TABLE = coverage.load()
COUNT = 47
"""[sig-network] [Conformance] tests in 1.36, by `e2e.test --list-conformance-tests`."""

API, DNS = (f"[sig-network] {name} [Conformance]" for name in ("API works", "DNS does"))
COVERED = (
    coverage.Covered(name=DNS, rules=("DNS-SERVICE", "DNS-SRV")),
    coverage.Covered(name=API, left="API objects only"),
)


def test_every_test_of_upstream_is_in_the_table_once() -> None:
    names = [covered.name for covered in TABLE]

    assert len(names) == len(set(names)) == COUNT
    assert [name for name in names if not re.fullmatch(FOCUS, name)] == []


def test_every_rule_in_the_table_is_one_that_the_default_run_has() -> None:
    known = {rule.id for rule in RULES if rule.profile is not Profile.FULL}

    assert {rule for covered in TABLE for rule in covered.rules} <= known


@pytest.mark.parametrize("covered", TABLE, ids=lambda c: comparison.short(c.name))
def test_what_no_rule_covers_has_a_reason(covered: coverage.Covered) -> None:
    assert covered.rules or covered.left
    assert len(covered.rules) == len(set(covered.rules))


def test_the_rules_of_the_table_are_what_is_selected(pytester: pytest.Pytester) -> None:
    select = coverage.selection(TABLE)

    said = pytester.runpytest_inprocess(
        "--collect-only", "-q", "--k8s-context=none", f"-k={select}"
    )

    found = {re.sub(r".*\[|\]", "", line) for line in said.outlines if "[" in line}
    for rule in {rule for covered in TABLE for rule in covered.rules}:
        assert any(check.startswith(rule) for check in found)
    assert not any(check.startswith(("NP-", "LOCALHOST-TCP")) for check in found)


def test_what_is_built_is_the_kubernetes_of_the_clusters() -> None:
    text = (programs.E2E.folder / "go.mod").read_text(encoding="utf-8")

    assert f"\nrequire k8s.io/kubernetes {KUBERNETES_VERSION}\n" in text or (
        f"\tk8s.io/kubernetes {KUBERNETES_VERSION}\n" in text
    )
    assert (programs.E2E.folder / "go.sum").is_file()


def test_programs_that_go_into_an_image_are_known_by_package() -> None:
    known = {*packages.PROGRAMS, *packages.MORE_PROGRAMS}

    assert set(programs.NETWORK) <= known | {"getent"}


def case(name: str, status: str, inside: str = "") -> str:
    return f'<testcase name="{name}" status="{status}" time="1.5">{inside}</testcase>'


def report(*cases: str) -> str:
    return f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>"


LABELS = "[sig-network, Conformance]"
WORDS = {
    "pass": ("passed", ""),
    "fail": ("failed", '<failure message="no answer" />'),
    "skip": ("skipped", '<skipped message="skipped - needs two Nodes" />'),
    "not run": ("skipped", '<skipped message="skipped" />'),
}


@pytest.mark.parametrize("word", WORDS)
def test_each_word_is_read_from_a_report(word: str) -> None:
    text = report(case(f"[It] {DNS} {LABELS}", *WORDS[word]))

    assert parse(text) == {DNS: Ran(word, 1.5)}


def test_an_interrupted_test_was_not_run_to_its_end() -> None:
    text = report(case(f"[It] {DNS} {LABELS}", "interrupted", "<error />"))

    assert parse(text)[DNS].word == "not run"


def test_only_the_tests_that_are_compared_are_read() -> None:
    text = report(
        case("[SynchronizedBeforeSuite]", "passed"),
        case("[It] [sig-node] Pods should run [Conformance] [Conformance]", "passed"),
        case("[It] [sig-network] Services should do more [sig-network]", "passed"),
        case(f"[It] {DNS} {LABELS}", "passed"),
        case(f"[It] {API} {LABELS}", "passed"),
    )

    assert set(parse(text)) == {DNS, API}


def ours(wall: float, **words: Collection[str]) -> dict[str, Any]:
    rules = {name.replace("_", "-"): set(found) for name, found in words.items()}
    return {"wall": wall, "results": {"pass": 3}, "rules": rules}


def upstream(wall: float = 100.0, **words: str) -> UpstreamRun:
    names = {"dns": DNS, "api": API}
    return UpstreamRun(wall, {names[n]: Ran(word, 2.0) for n, word in words.items()})


GREEN = ours(10.0, DNS_SERVICE=["pass"], DNS_SRV=["pass", "not-applicable"])


def compared(mine: dict[str, Any] = GREEN, **runs: UpstreamRun) -> dict[str, Any]:
    return comparison.compare([DNS, API], COVERED, {"suite": [mine]}, runs)


def test_the_ratio_is_of_whole_runs() -> None:
    slow = {**GREEN, "wall": 20.0}
    runs = {"serial": upstream(dns="pass", api="pass")}

    mine = {"suite": [GREEN, slow], "part": [GREEN]}

    document = comparison.compare([DNS, API], COVERED, mine, runs)

    ratios = document["ratios"]["serial"]
    assert ratios["suite"] == {"min": 5.0, "median": 7.5, "max": 10.0}
    assert ratios["part"] == {"min": 10.0, "median": 10.0, "max": 10.0}
    assert document["upstream"]["serial"]["results"] == {"pass": 2}


@pytest.mark.parametrize(
    ("mine", "theirs", "agree"),
    [
        ("pass", "pass", True),
        ("pass", "fail", False),
        ("fail", "fail", True),
        ("fail", "pass", False),
        ("known-deviation", "pass", False),
        ("known-deviation", "fail", True),
        # What one side did not judge contradicts nobody.
        ("inconclusive", "pass", True),
        ("not-applicable", "fail", True),
        ("pass", "skip", True),
        ("fail", "not run", True),
    ],
)
def test_verdicts_agree_or_are_listed(mine: str, theirs: str, agree: bool) -> None:
    run = ours(10.0, DNS_SERVICE=["pass"] if mine == "fail" else [], DNS_SRV=[mine])

    document = compared(run, serial=upstream(dns=theirs, api="pass"))

    assert document["tests"][0]["ours"] == mine
    assert document["disagreements"] == ([] if agree else [DNS])


def test_upstream_has_to_agree_with_itself() -> None:
    first, second = upstream(dns="pass", api="pass"), upstream(dns="pass", api="fail")

    assert compared(a=first, b=second)["disagreements"] == [API]


@pytest.mark.parametrize(
    ("mine", "theirs", "shown"),
    [
        ("pass", "fail", True),
        ("not-applicable", "skip", True),
        ("inconclusive", "pass", False),
        ("pass", "not run", False),
    ],
)
def test_what_came_to_no_end_has_shown_nothing(
    mine: str, theirs: str, shown: bool
) -> None:
    run = ours(10.0, DNS_SRV=[mine])

    document = compared(run, serial=upstream(dns=theirs, api="pass"))

    assert document["not shown"] == ([] if shown else [DNS])


def test_a_test_without_rules_is_listed_as_uncovered() -> None:
    document = compared(serial=upstream(dns="pass", api="pass"))

    assert document["uncovered"] == [API]
    assert document["disagreements"] == []


def test_a_test_that_the_table_lacks_or_has_too_much_is_listed() -> None:
    new = "[sig-network] News [Conformance]"

    document = comparison.compare([DNS, new], COVERED, {"suite": [GREEN]}, {})

    assert document["unaccounted"] == sorted([API, new])


def test_what_was_not_run_yet_is_left_out() -> None:
    document = compared()

    assert document["upstream"] == document["ratios"] == {}
    assert document["ours"]["suite"]["figures"]["wall"]["median"] == 10.0
    assert "disagreements: none" in comparison.table(document)


def test_the_table_shows_each_test_with_both_verdicts() -> None:
    document = compared(serial=upstream(dns="fail", api="pass"))

    text = comparison.table(document)

    assert re.search(r"1 x ours, suite +10\.0 +10\.0 +10\.0  3 pass\n", text)
    assert re.search(r"1 x upstream, serial +100\.0 +1 fail, 1 pass\n", text)
    assert re.search(r"serial / suite +10\.0 +10\.0 +10\.0\n", text)
    assert re.search(r"fail +2\.0 +pass +DNS does: DNS-SERVICE DNS-SRV", text)
    assert "covered by no rule: 1\n  API works: API objects only" in text
    assert "disagreements: DNS does" in text
    assert "unaccounted: none" in text
