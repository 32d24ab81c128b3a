"""On a healthy cluster the shipped suite is green, each time, however it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from access import kubeconfig_for, rules_in
from faults.ends import Ends
from faults.expected import LEFT_OUT
from kernel import has_sctp

from pytest_k8snet.faults.catalogue.network import HAIRPIN_OFF
from pytest_k8snet.faults.objects import tainted

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from shipped_suite import Suite, SuiteRun

    from pytest_k8snet.faults.site import Site
    from pytest_k8snet.report.schema import CheckDocument

    OtherCluster = Callable[[str], AbstractContextManager[Suite]]

pytestmark = pytest.mark.cluster


def pairs_of(run: SuiteRun, rule: str, site: Site) -> set[tuple[str, str]]:
    """Give the (source, target) Nodes of the cells of a rule."""
    assert run.recording
    results, cells = run.recording.by_rule[rule], run.recording.cells
    ends = [Ends.of(cell, site) for r in results for cell in cells[r.check.id]]
    return {(end.source, end.target) for end in ends}


def not_applicable(run: SuiteRun) -> list[CheckDocument]:
    assert run.report
    return [c for c in run.report.checks if c.result == "not-applicable"]


ASKED_ON_REQUEST = {
    *("EGRESS-TARGET", "DNS-UPSTREAM"),
    *("SERVICE-EXTERNAL-IPS-tcp", "SERVICE-EXTERNAL-IPS-udp"),
}
"""What needs a target that only the user can name."""


def test_what_the_user_names_is_asked(suite: Suite) -> None:
    (node, *_) = suite.site.addresses("control-plane")

    run = suite.run(
        *("-k", " or ".join(sorted(ASKED_ON_REQUEST)), "--k8snet-profile=full"),
        f"--k8snet-egress-target={node}:6443",
        "--k8snet-upstream-name=kubernetes.default.svc.cluster.local.",
        "--k8snet-external-ip=203.0.113.10",
    )

    assert run.green, run.output
    assert run.words == dict.fromkeys(ASKED_ON_REQUEST, "pass")


@pytest.mark.parametrize("time", ["first", "second", "third"])
def test_a_healthy_cluster_is_green_each_time(suite: Suite, time: str) -> None:
    del time

    run = suite.run()

    assert run.green, run.output
    assert {c.rule for c in not_applicable(run)} == LEFT_OUT
    assert pairs_of(run, "POD-TO-POD", suite.site) == {
        (source, target) for source in suite.site.nodes for target in suite.site.nodes
    }
    suite.site.wait_until_clean()


def test_with_xdist_the_results_are_the_same_and_the_lab_is_one(suite: Suite) -> None:
    alone = suite.run("--collect-only", "-q")
    run = suite.run("-n", "2")

    assert run.green, run.output
    assert run.report
    assert run.output.count("3 namespaces, ") == 1
    for check in run.report.checks:
        assert f"[{check.id}]" in alone.output
    assert len(run.report.checks) == alone.output.count("::test_")
    asked = len(run.report.checks) - len(not_applicable(run))
    assert f"{asked} passed" in run.output


@pytest.mark.parametrize(
    ("choice", "rules"),
    [
        (("-m", "rule1"), {"LOCALHOST", "SANDBOX"}),
        (("-m", "control"), {"KUBELET", "NODE", "CONTROL"}),
        (("-k", "HAIRPIN or PTR"), {"SERVICE", "DNS"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_only_what_is_chosen_is_asked(
    suite: Suite, choice: tuple[str, str], rules: set[str]
) -> None:
    run = suite.run(*choice)

    assert run.green, run.output
    assert {check.split("-")[0] for check in run.words} == rules


def test_what_failed_last_is_asked_alone(suite: Suite) -> None:
    with HAIRPIN_OFF.inject(suite.site):
        first = suite.run("-m", "rule3")
    second = suite.run("--lf", again=True)

    failed = [check for check, word in first.words.items() if word == "fail"]
    assert list(second.words) == failed
    assert failed
    assert second.green, second.output


@pytest.mark.parametrize(
    ("file", "proxy", "absent"),
    [
        ("iptables.yaml", "kube-proxy", ""),
        ("ipv4.yaml", "kube-proxy", "ipv6"),
        ("ipv6.yaml", "kube-proxy", "ipv4"),
        ("single-node.yaml", "kube-proxy", "cross-node"),
    ],
)
def test_other_kinds_of_clusters_are_green_too(
    other_cluster: OtherCluster, file: str, proxy: str, absent: str
) -> None:
    with other_cluster(file) as suite:
        run = suite.run()

    assert run.green, run.output
    assert run.report
    assert proxy in run.report.environment.service_proxy
    skipped = not_applicable(run)
    if absent:
        assert {i for i in run.words if absent in i} <= {c.id for c in skipped}
    if absent != "cross-node":
        explained = LEFT_OUT | ({"SERVICE-DUAL-STACK"} if absent else set())
        others = (c.id for c in skipped if c.rule not in explained)
        assert all(absent and absent in i for i in others)


def test_a_kernel_without_the_sctp_that_is_claimed_fails(suite: Suite) -> None:
    run = suite.run("-k", "SCTP", "--k8snet-features=SCTP")

    assert run.report, run.output
    if has_sctp():
        assert run.green, run.output
    else:
        assert set(run.words.values()) == {"fail"}
        assert "EPROTONOSUPPORT" in run.output


def test_a_tainted_node_is_asked_like_the_others(suite: Suite) -> None:
    with tainted(suite.site, "worker2"):
        run = suite.run("-m", "rule2 or rule3")

    assert run.green, run.output
    assert ("worker", "worker2") in pairs_of(run, "POD-TO-POD", suite.site)


def test_what_is_kept_is_removed_by_cleanup(suite: Suite) -> None:
    kept = suite.run("-m", "rule1", "--k8snet-keep")
    left = suite.site.namespaces()
    cleaned = suite.run("--k8snet-cleanup")

    assert kept.green, kept.output
    assert left
    assert all(name in kept.output for name in left)
    assert cleaned.exit_code == 0, cleaned.output
    assert all(name in cleaned.output for name in left)
    assert suite.site.namespaces() == []


def test_a_plan_touches_nothing_and_its_role_is_enough(
    suite: Suite, tmp_path: Path
) -> None:
    """What the plan prints is all that a user of the suite has to be allowed."""
    planned = suite.run("--k8snet-plan")
    assert planned.exit_code in {0, pytest.ExitCode.NO_TESTS_COLLECTED}, planned.output
    assert planned.report is None
    assert suite.site.namespaces() == []

    with kubeconfig_for(suite.site, rules_in(planned.output), tmp_path) as file:
        run = suite.run(f"--k8snet-kubeconfig={file}")

    assert run.green, run.output
