"""What could not be asked is inconclusive: neither red, nor green."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from pytest_k8snet.faults.site import end

if TYPE_CHECKING:
    from shipped_suite import Suite, SuiteRun

    from pytest_k8snet.faults.site import Site

pytestmark = pytest.mark.cluster

NODE = "worker2"
AGENTS_OPEN = " agents  "


def assert_inconclusive_about(run: SuiteRun, who: str, *said: str) -> None:
    """What one actor did not ask leaves its checks open, and all else passes."""
    assert run.recording, run.output
    checks = run.recording.report.checks
    unclear = [c for c in checks if c.result == "inconclusive"]
    assert unclear, run.output
    assert run.count("fail") == 0, run.output
    assert run.count("pass") > 0, run.output
    for check in unclear:
        assert any(text in check.reason for text in said), check.reason
    # How much was asked already when it went is chance; what was not is never judged.
    lost = [
        (check, cell)
        for check in checks
        for cell in run.recording.cells[check.id]
        if cell.shown.outcome == "not probed"
    ]
    assert any(cell.source == who for _, cell in lost), run.output
    for check, _ in lost:
        assert check.result == "inconclusive", check.id
    # pytest's word for it is an error, not a failure of the test.
    assert f"{len(unclear)} error" in run.output
    assert " failed" not in run.output
    assert run.exit_code == pytest.ExitCode.TESTS_FAILED


def test_an_agent_that_hangs_is_asked_once_more_over_a_new_stream(
    suite: Suite,
) -> None:
    site = suite.site
    started = suite.start("-m", "rule2")
    started.wait_for(AGENTS_OPEN)
    stopped = site.controls(NODE, "client")
    try:
        for pid in stopped:
            end(pid, signal.SIGSTOP)
        run = started.finish()
    finally:
        for pid in stopped:
            end(pid, signal.SIGCONT)

    assert stopped
    assert run.green, run.output


def test_an_agent_that_hangs_again_and_again_leaves_its_checks_open(
    suite: Suite,
) -> None:
    site, client = suite.site, f"client@{suite.site.full(NODE)}"
    started = suite.start("-m", "rule2")
    started.wait_for(AGENTS_OPEN)
    stopped: set[int] = set()
    try:
        while started.process.poll() is None:
            for pid in set(site.controls(NODE, "client")) - stopped:
                end(pid, signal.SIGSTOP)
                stopped.add(pid)
        run = started.finish()
    finally:
        for pid in stopped:
            end(pid, signal.SIGCONT)

    assert_inconclusive_about(run, client, "no reply from", "control stream of")


def test_a_server_that_hangs_is_no_evidence_against_the_network(suite: Suite) -> None:
    site, server = suite.site, f"server@{suite.site.full(NODE)}"
    started = suite.start("-m", "rule2 or rule3")
    started.wait_for(AGENTS_OPEN)
    stopped = site.agents(NODE, "server")
    assert stopped
    try:
        for pid in stopped:
            end(pid, signal.SIGSTOP)
        run = started.finish()
    finally:
        for pid in stopped:
            end(pid, signal.SIGCONT)

    assert run.report, run.output
    assert run.count("fail") == 0, run.output
    assert run.words["POD-TO-POD-tcp-ipv4-cross-node"] == "inconclusive"
    assert server in run.output


def test_a_stream_that_is_lost_again_and_again_is_no_evidence(suite: Suite) -> None:
    site, client = suite.site, f"client@{suite.site.full(NODE)}"
    started = suite.start("-m", "rule2")
    started.wait_for(AGENTS_OPEN)
    while started.process.poll() is None:
        for pid in site.controls(NODE, "client"):
            end(pid)
    run = started.finish()

    assert_inconclusive_about(run, client, "control stream of")


def test_a_stream_that_is_lost_once_is_opened_again(suite: Suite) -> None:
    started = suite.start("-m", "rule2")
    started.wait_for(AGENTS_OPEN)
    lost = suite.site.controls(NODE, "client")
    for pid in lost:
        end(pid)
    run = started.finish()

    assert lost
    assert run.report, run.output
    assert run.count("fail") == 0, run.output
    # Only what was asked at that moment got no answer.
    assert run.count("pass") > 0, run.output


def test_a_pod_that_cannot_be_scheduled_leaves_open_what_needs_it(
    suite: Suite,
) -> None:
    with_port_hogs = [hog(suite.site, number) for number in range(3)]
    pods = "/api/v1/namespaces/default/pods"
    try:
        for pod in with_port_hogs:
            suite.site.api.create(pods, pod)
        run = suite.run("--k8snet-timeout-ready=25")
    finally:
        for pod in with_port_hogs:
            name = pod["metadata"]["name"]
            suite.site.api.delete(f"{pods}/{name}", gracePeriodSeconds=0)

    edge = f"edge@{suite.site.full(NODE)}"
    assert_inconclusive_about(run, edge, edge, "not running", "does not run")
    assert "free ports" in run.output
    rules = {c.rule for c in run.report.checks if c.result == "inconclusive"}  # type: ignore[union-attr]
    assert rules == {"HOSTPORT", "LOCALHOST-ONE-ADDRESS", "DNS-POLICY-NONE"}


def hog(site: Site, number: int) -> dict[str, Any]:
    """Make a Pod that takes 3,000 of the hostPorts among which a run draws its own."""
    first = 20000 + 3000 * number
    ports = [
        {"containerPort": port, "hostPort": port} for port in range(first, first + 3000)
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"hog-{number}"},
        "spec": {
            "nodeName": site.full(NODE),
            # It only has to be there: no CNI plugin is to map all of them.
            "hostNetwork": True,
            "containers": [
                {
                    "name": "main",
                    "image": "k8snet.local/none:1",
                    "imagePullPolicy": "Never",
                    "ports": ports,
                }
            ],
        },
    }
