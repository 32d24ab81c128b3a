"""The plugin, driven by pytester: against no cluster, or one on which nothing runs."""

from __future__ import annotations

import importlib
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from fake_api import FakeApi, node, served
from interruptible import ctrl_c_counts  # noqa: F401 - for every test
from recordings import FOLDER

from pytest_k8snet.manifests import EXPIRES, MANAGED_BY, RUN, US
from pytest_k8snet.model import Profile, Word
from pytest_k8snet.plan import checks, in_profile
from pytest_k8snet.plugin import MARKERS
from pytest_k8snet.plugin.gate import _excuse
from pytest_k8snet.plugin.options import OPTIONS
from pytest_k8snet.report.compare import compare_check
from pytest_k8snet.report.formats import FORMATS
from pytest_k8snet.report.recording import read
from pytest_k8snet.result import Result
from pytest_k8snet.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_k8snet.model import Check

USAGE, FAILED, OK = pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.TESTS_FAILED, 0
SOON = "--k8snet-timeout-ready=0.5"
ONE_RULE = "-kLOCALHOST-TCP"
PATIENCE = 60.0
BY_DEFAULT, QUICKLY = (
    checks(rule for rule in RULES if in_profile(rule, profile))
    for profile in (Profile.DEFAULT, Profile.QUICK)
)
HEAVY = (
    *("kubernetes.client", "kubernetes.config", "rich.console", "rich.table"),
    *("pytest_k8snet.lab", "pytest_k8snet.localcluster", "pytest_k8snet.workbench"),
    *("pytest_k8snet.report.formats", "pytest_k8snet.report.compare"),
    *("pytest_k8snet.report.terminal", "pytest_k8snet.deviations"),
    *("pytest_k8snet.diagnose", "jinja2", "yaml"),
)


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    """Load once what every run in this process would load and forget again."""
    for name in HEAVY:
        importlib.import_module(name)


@pytest.fixture(scope="module")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a place for what subprocesses compile, wherever else it may not go."""
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch, bytecode: Path) -> None:
    """Keep what this machine's user says out of the runs."""
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(bytecode))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    for name in ("KUBECONFIG", "GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    for one in OPTIONS:
        monkeypatch.delenv(one.variable, raising=False)


@pytest.fixture
def api(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeApi]:
    with served() as fake:
        monkeypatch.setenv("KUBECONFIG", str(fake.kubeconfig(pytester.path)))
        yield fake


def run(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """Run pytest in this process against the context of the fake API server."""
    return pytester.runpytest("--k8s-context=fake", "-pno:cacheprovider", *args)


def said(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


def assert_refused(result: pytest.RunResult, *parts: str) -> None:
    """Assert a usage error of one line with all these parts."""
    lines = [line for line in result.stderr.lines if line.startswith("ERROR: ")]

    assert (result.ret, len(lines)) == (USAGE, 1), said(result)
    assert [part for part in parts if part not in lines[0]] == []
    assert "Traceback" not in said(result)


# ------------------------------------------------------------------ without a cluster


def test_without_our_options_nothing_happens(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_theirs="""
        import sys

        def test_it():
            heavy = {"kubernetes", "rich", "pydantic", "yaml", "pytest_k8snet.lab"}
            assert not heavy & set(sys.modules)
        """
    )

    result = pytester.runpytest_subprocess()

    result.assert_outcomes(passed=1)
    assert "k8snet:" not in result.stdout.str()


def test_help_shows_every_option_with_its_ini_key_and_variable(
    pytester: pytest.Pytester,
) -> None:
    text = " ".join(pytester.runpytest("--help").stdout.str().split())

    for one in OPTIONS:
        assert one.switch in text
        assert f"[{one.key}, {one.variable}]" in text.replace("- ", "-")


def test_every_marker_is_listed(pytester: pytest.Pytester) -> None:
    text = pytester.runpytest("--markers").stdout.str()

    assert [marker for marker in MARKERS if f"@pytest.mark.{marker}" not in text] == []


def test_the_checks_are_listed_without_a_kubeconfig(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--collect-only", "-q", "--k8s-context=nowhere")

    listed = [line for line in result.stdout.lines if "::" in line]
    assert result.ret == OK
    assert sorted(line.partition("[")[2].rstrip("]") for line in listed) == sorted(
        str(check) for check in BY_DEFAULT
    )


@pytest.mark.parametrize(
    ("profile", "expected"),
    [("quick", QUICKLY), ("default", BY_DEFAULT), ("full", checks(RULES))],
)
def test_a_profile_deselects_what_is_beyond_it(
    pytester: pytest.Pytester, profile: str, expected: tuple[Check, ...]
) -> None:
    result = pytester.runpytest(
        "--collect-only", "-q", "--k8s-context=nowhere", f"--k8snet-profile={profile}"
    )

    listed = [line for line in result.stdout.lines if "::" in line]
    assert len(listed) == len(expected)
    left_out = len(checks(RULES)) - len(expected)
    assert f"{left_out} deselected" in result.stdout.str() or not left_out


@pytest.mark.parametrize(
    ("selected", "told"), [("POD-TERMINATING", True), ("POD-TO-POD", False)]
)
def test_a_selection_that_a_profile_has_nothing_of_is_told_where_it_is(
    pytester: pytest.Pytester, selected: str, told: bool
) -> None:
    result = pytester.runpytest(
        "--collect-only", "--k8s-context=nowhere", "-k", selected
    )

    assert told == (result.ret == pytest.ExitCode.NO_TESTS_COLLECTED)
    text = result.stdout.str()
    assert told == ("is beyond the profile default: add --k8snet-profile=full" in text)


def test_a_profile_leaves_other_tests_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import pytest\n@pytest.mark.parametrize('check', [1])\n"
        "def test_mine(check): pass"
    )

    result = pytester.runpytest(
        "--collect-only", "-q", "--k8s-context=nowhere", "--k8snet-profile=quick", "."
    )

    assert "test_mine[1]" in result.stdout.str()


def test_the_checks_are_listed_without_a_context(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest(
        "--collect-only", "-q", "--pyargs", "pytest_k8snet.checks"
    )

    assert result.ret == OK
    result.stdout.fnmatch_lines([f"{len(checks(RULES))} tests collected*"])


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "with-workers"])
def test_the_checks_do_not_run_without_a_context(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    result = pytester.runpytest_subprocess(
        "--pyargs", "pytest_k8snet.checks", ONE_RULE, *workers
    )

    assert result.ret == USAGE, said(result)
    assert "--k8s-context=NAME" in said(result)
    assert "Traceback" not in said(result)


@pytest.mark.parametrize("workers", [(), ("-n1",)], ids=["alone", "with-workers"])
def test_a_parameter_named_as_a_check_makes_none(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("rule", ["NODE-READY"])
        def test_mine(rule):
            pass
        """
    )

    result = pytester.runpytest_subprocess(*workers)

    assert result.ret == OK, said(result)
    result.assert_outcomes(passed=1)


def test_a_context_that_is_not_there_is_refused_with_those_that_are(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    result = pytester.runpytest("--k8s-context=elsewhere")

    assert_refused(result, "'elsewhere'", "contexts there are: fake")
    assert api.asked == []


def test_a_server_that_does_not_answer_is_refused(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        fake = FakeApi(url=f"http://127.0.0.1:{closed.getsockname()[1]}")
    monkeypatch.setenv("KUBECONFIG", str(fake.kubeconfig(pytester.path)))

    result = run(pytester)

    assert_refused(result, f"cannot reach the API server at {fake.url}", "refused")


# ----------------------------------------------------- with a cluster that is no good


def test_a_cluster_without_nodes_is_refused(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    api.nodes = []

    assert_refused(run(pytester), "the cluster of fake has no Nodes")


def test_a_cluster_whose_nodes_are_not_ready_is_refused_with_each_reason(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    api.nodes = [node("a", ready=False), node("b", ready=False)]

    result = run(pytester)

    reason = "NotReady (KubeletNotReady)"
    assert_refused(result, "no Node of fake takes", f"a: {reason}", f"b: {reason}")
    assert api.did("POST") == []


def test_a_selector_that_matches_no_node_is_named(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    result = run(pytester, "--k8snet-nodes=disk=ssd")

    assert_refused(result, "'disk=ssd'", "--k8snet-nodes")
    assert api.did("POST") == []


def test_a_missing_permission_is_named(pytester: pytest.Pytester, api: FakeApi) -> None:
    api.forbidden.add("/api/v1/nodes")

    result = run(pytester)

    assert_refused(result, "not allowed to list nodes cluster-wide", "--k8snet-plan")


def test_explicit_paths_win_over_the_shipped_suite(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    mine = pytester.makepyfile(test_mine="def test_mine(): pass")

    result = run(pytester, str(mine))

    result.assert_outcomes(passed=1)
    assert api.did("POST") == []


def test_the_header_names_what_is_tested(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    result = run(pytester, "-kno-such-check")

    result.stdout.fnmatch_lines(
        [
            f"k8snet: context fake, {api.url}, v1.37.0",
            "k8snet: network plugin unknown, unknown, ipv4",
            "k8snet: 2 Nodes: a, b",
        ]
    )
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert api.did("POST") == []


# ------------------------------------------------------- with Pods that never run


def assert_nothing_is_left(api: FakeApi) -> None:
    made = {path.split("/")[4] for path in api.did("POST", "/pods")}

    assert made
    # A namespace may be there before its first Pod is: all of them have to go.
    assert {path.split("/")[4] for path in api.did("DELETE")} >= made
    assert api.namespaces() == ["default"]


def test_checks_whose_pods_do_not_run_are_errors_that_say_why(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    result = run(pytester, SOON, ONE_RULE)

    result.assert_outcomes(errors=1, deselected=len(checks(RULES)) - 1)
    assert result.ret == FAILED
    result.stdout.fnmatch_lines(
        ["*LOCALHOST-TCP is inconclusive: no probe Pod runs: *2 Insufficient cpu.*"]
    )
    assert_nothing_is_left(api)


def test_a_run_in_which_nothing_applies_is_not_green(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    result = run(pytester, "-kPOD-TO-POD-tcp-ipv6")

    result.assert_outcomes(skipped=2, deselected=len(checks(RULES)) - 2)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert api.did("POST") == []


def test_what_only_the_api_server_is_asked_needs_no_pod(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    result = run(pytester, SOON, "-kNODE-READY")

    result.assert_outcomes(passed=1, deselected=len(checks(RULES)) - 1)
    assert api.did("POST") == []


def test_stopping_at_the_first_error_cleans_up(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    result = run(pytester, SOON, "-x", "-krule1")

    result.assert_outcomes(errors=1, deselected=len(checks(RULES)) - 12)
    assert_nothing_is_left(api)


def test_several_workers_share_one_lab(pytester: pytest.Pytester, api: FakeApi) -> None:
    result = pytester.runpytest_subprocess(
        "--k8s-context=fake", "-n2", SOON, "-k", "LOCALHOST and not NODE"
    )

    assert result.ret == FAILED, said(result)
    assert "passed" not in result.stdout.lines[-1]
    made = api.did("POST", "/pods")
    assert len({path.split("/")[4].split("-")[1] for path in made}) == 1
    assert_nothing_is_left(api)


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "with-workers"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_cleans_up(
    pytester: pytest.Pytester,
    api: FakeApi,
    how: signal.Signals,
    workers: tuple[str, ...],
) -> None:
    command = [sys.executable, "-mpytest", "--k8s-context=fake", ONE_RULE, *workers]
    with pytester.popen(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT
    ) as process:
        try:
            assert api.waits.wait(PATIENCE)
            process.send_signal(how)
            out, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()

    assert process.returncode == pytest.ExitCode.INTERRUPTED, out.decode()
    assert_nothing_is_left(api)


# --------------------------------------------------------------------- plan and report


def test_the_plan_says_what_would_be_made_and_makes_nothing(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    result = run(pytester, "--k8snet-plan")

    assert {how for how, _ in api.asked} == {"GET"}
    assert result.ret == OK
    result.stdout.fnmatch_lines(
        [
            f"checks      * of the {len(BY_DEFAULT)} selected ones apply",
            "probes      * over 4 ordered pairs of Nodes",
            "namespaces  k8snet-*-client, k8snet-*-host, k8snet-*-server",
            "Pods        2 client, 2 edge, 2 host, 2 server, 2 spare, 1 unready",
            "image       docker.io/library/python:3.13-slim",
            "kind: ClusterRole",
            "not applicable: POD-TO-POD-tcp-ipv6-same-node: *",
        ]
    )


def test_the_plan_needs_no_workers(pytester: pytest.Pytester, api: FakeApi) -> None:
    result = pytester.runpytest_subprocess("--k8s-context=fake", "--k8snet-plan", "-n2")

    assert {how for how, _ in api.asked} == {"GET"}
    assert result.ret == OK
    result.stdout.fnmatch_lines(["kind: ClusterRole"])


def test_the_report_is_written_as_its_schema_says(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    result = run(pytester, SOON, "-krule1", "--k8snet-report=out/deep")

    text = (pytester.path / "out/deep/report.json").read_text(encoding="utf-8")
    report = read(text).report
    assert report.environment.server == api.url
    assert [n.name for n in report.environment.nodes] == ["a", "b"]
    assert report.results == {"inconclusive": 9, "not-applicable": 3}
    result.stdout.fnmatch_lines(["report: out/deep/report.html"])
    assert {file.name for file in (pytester.path / "out/deep").iterdir()} == set(
        FORMATS
    )


# ---------------------------------------------------- what is not red, and what is told


@pytest.fixture
def left_out(api: FakeApi) -> None:
    """A Node is not ready: NODE-READY fails, and needs no Pod to do so."""
    api.nodes = [node("a"), node("b", ready=False)]


NODE_READY = ("-kNODE-READY", SOON)


@pytest.mark.usefixtures("left_out")
def test_what_failed_in_the_baseline_is_not_red(pytester: pytest.Pytester) -> None:
    before = run(pytester, *NODE_READY, "--k8snet-report=before")
    after = run(pytester, *NODE_READY, "--k8snet-baseline=before/report.json", "-rx")

    before.assert_outcomes(failed=1, deselected=len(checks(RULES)) - 1)
    after.assert_outcomes(xfailed=1, deselected=len(checks(RULES)) - 1)
    assert after.ret == OK
    after.stdout.fnmatch_lines(
        [
            "k8snet: red is only what got worse since *",
            "baseline of *: 0 regressed, 0 fixed, 0 new, 0 gone",
            "*no regression: fail in the baseline, too: NODE-READY: *",
        ]
    )


def test_what_got_worse_than_the_baseline_is_red(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    before = run(pytester, *NODE_READY, "--k8snet-report=before")
    api.nodes[1] = node("b", ready=False)
    baseline = "--k8snet-baseline=before/report.json"
    after = run(pytester, *NODE_READY, baseline, "--k8snet-report=after")

    assert before.ret == OK
    after.assert_outcomes(failed=1, deselected=len(checks(RULES)) - 1)
    found = read((pytester.path / "after/report.json").read_text()).report.baseline
    assert found
    assert [(c.check, c.change) for c in found.changes] == [("NODE-READY", "regressed")]
    after.stdout.fnmatch_lines(["  regressed  NODE-READY  pass -> fail, 1 cells"])


@pytest.mark.parametrize(
    ("before", "after", "is_red"),
    [
        (None, Word.FAIL, True),
        (Word.INCONCLUSIVE, Word.FAIL, True),
        (Word.NOT_APPLICABLE, Word.FAIL, True),
        (None, Word.INCONCLUSIVE, False),
        (Word.FAIL, Word.FAIL, False),
    ],
)
def test_only_what_did_not_hold_before_excuses_a_failure(
    before: Word | None, after: Word, is_red: bool
) -> None:
    check = next(c for c in checks(RULES) if c.id == "NODE-READY")
    then = None if before is None else Result(check, before)
    now = Result(check, after)

    excuse = _excuse(compare_check(check.id, then, now, {}))

    assert bool(excuse) is not is_red


def test_a_baseline_that_cannot_be_used_is_refused(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    pytester.makefile(".json", broken="{}")
    (pytester.path / "other.json").write_text((FOLDER / "healthy.json").read_text())

    for file, why in {
        "nowhere.json": "No such file",
        "broken.json": "no report.json of pytest-k8snet",
        "other.json": "a run of another cluster: context k8snet-three-node",
    }.items():
        assert_refused(
            run(pytester, f"--k8snet-baseline={file}"), "--k8snet-baseline", why
        )
    assert api.did("POST") == []


DEVIATION = """
[[deviation]]
rule = "NODE-READY"
reason = "b is in repair"
expires = {}
"""


@pytest.mark.usefixtures("left_out")
def test_a_known_deviation_is_not_red_until_it_expires(
    pytester: pytest.Pytester,
) -> None:
    file = pytester.path / "k8snet-deviations.toml"

    file.write_text(DEVIATION.format("2999-12-31"))
    excused = run(pytester, *NODE_READY, "--k8snet-report=out", "-rx")
    file.write_text(DEVIATION.format("2026-01-01"))
    expired = run(pytester, *NODE_READY)

    excused.assert_outcomes(xfailed=1, deselected=len(checks(RULES)) - 1)
    excused.stdout.fnmatch_lines(
        [
            "k8snet: known deviations: 1 in k8snet-deviations.toml",
            "*b is in repair (until 2999-12-31)",
        ]
    )
    report = read((pytester.path / "out/report.json").read_text()).report
    assert report.results == {"known-deviation": 1}
    assert [(d.state, d.checks) for d in report.deviations] == [
        ("used", ["NODE-READY"])
    ]
    expired.assert_outcomes(failed=1, deselected=len(checks(RULES)) - 1)
    expired.stdout.fnmatch_lines(
        ["known deviation NODE-READY * expired on 2026-01-01*"]
    )


def test_a_deviation_that_is_no_longer_needed_is_said(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    (pytester.path / "mine.toml").write_text(DEVIATION.format("2999-12-31"))

    result = run(pytester, *NODE_READY, "--k8snet-deviations=mine.toml")

    result.assert_outcomes(passed=1, deselected=len(checks(RULES)) - 1)
    result.stdout.fnmatch_lines(["known deviation NODE-READY *is no longer needed*"])
    assert_refused(run(pytester, "--k8snet-deviations=none.toml"), "none.toml")
    assert api.did("POST") == []


@pytest.mark.usefixtures("left_out")
@pytest.mark.parametrize("workers", [(), ("-n1",)], ids=["alone", "xdist"])
def test_junit_is_told_what_was_tested_and_which_rule(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    run(pytester, *NODE_READY, "--junitxml=junit.xml", *workers)

    root = ET.parse(pytester.path / "junit.xml").getroot()  # noqa: S314
    told = {p.get("name"): p.get("value") for p in root.iter("property")}
    assert told["k8snet.context"] == "fake"
    assert told["k8snet.nodes"] == "1"
    assert (told["rule"], told["level"]) == ("NODE-READY", "MUST")
    assert (told["result"], told["cells"]) == ("fail", "1/2")


@pytest.mark.usefixtures("left_out")
def test_github_gets_a_summary_and_annotations(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = pytester.path / "summary.md"
    summary.write_text("of another step\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    result = run(pytester, *NODE_READY)

    said = summary.read_text()
    assert said.startswith("of another step\n# Kubernetes network: 1 failed\n")
    assert len([one for one in result.outlines if one.startswith("::error ")]) == 1


# -------------------------------------------------------------------- what others left


def left_behind(api: FakeApi, name: str, *, expires: str) -> None:
    metadata = {
        "name": name,
        "labels": {MANAGED_BY: US, RUN: "old"},
        "annotations": {EXPIRES: expires},
    }
    api.objects[f"/api/v1/namespaces/{name}"] = {"metadata": metadata}


def test_cleaning_up_removes_what_is_ours_and_nothing_else(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    left_behind(api, "k8snet-old-client", expires="9999999999")
    api.objects["/api/v1/namespaces/k8snet-not-ours"] = {
        "metadata": {"name": "k8snet-not-ours"}
    }

    result = run(pytester, "--k8snet-cleanup")

    assert result.ret == OK
    assert api.namespaces() == ["default", "k8snet-not-ours"]
    result.stdout.fnmatch_lines(
        ["k8snet: removing k8snet-old-client", "k8snet: removed"]
    )


def test_cleaning_up_without_permission_says_so(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    left_behind(api, "k8snet-old-client", expires="9999999999")
    left_behind(api, "k8snet-old-server", expires="9999999999")
    api.refused.add(("DELETE", "/namespaces/k8snet-old-client"))

    result = run(pytester, "--k8snet-cleanup")

    assert_refused(result, "not allowed to delete namespaces")
    assert api.namespaces() == ["default", "k8snet-old-client"]


def test_what_may_not_be_swept_or_removed_is_told(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    left_behind(api, "k8snet-old-client", expires="1")
    api.refused.add(("DELETE", "/namespaces/"))

    result = run(pytester, SOON, ONE_RULE)

    result.stdout.fnmatch_lines(
        [
            "k8snet: it stays: not allowed to delete namespaces*",
            "k8snet: could not remove the namespaces of run *: not allowed to delete*",
        ]
    )


def test_a_report_that_cannot_be_written_is_refused_at_once(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    (pytester.path / "out").write_text("a file\n")

    result = run(pytester, *NODE_READY, "--k8snet-report=out")

    assert_refused(result, "--k8snet-report: cannot make the folder out: File exists")
    assert api.asked == []


@pytest.mark.usefixtures("left_out")
def test_a_summary_that_cannot_be_written_costs_nothing_else(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path))

    result = run(pytester, *NODE_READY)

    result.stdout.fnmatch_lines(["*Kubernetes network*", "no report: *Is a directory*"])


def test_cleaning_up_where_nothing_is_left_says_so(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    result = run(pytester, "--k8snet-cleanup")

    assert result.ret == OK
    assert {how for how, _ in api.asked} == {"GET"}
    result.stdout.fnmatch_lines(["k8snet: nothing of ours is in fake"])


def test_a_run_sweeps_what_has_expired_and_nothing_younger(
    pytester: pytest.Pytester, api: FakeApi
) -> None:
    left_behind(api, "k8snet-old-client", expires="1")
    left_behind(api, "k8snet-new-client", expires="9999999999")

    result = run(pytester, SOON, ONE_RULE)

    assert api.namespaces() == ["default", "k8snet-new-client"]
    result.stdout.fnmatch_lines(["*an earlier run left: k8snet-old-client"])
