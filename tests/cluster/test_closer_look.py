"""What is wrong with a Node is found on the Node, and only when something is wrong."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from access import kubeconfig_for, rules_in

from pytest_k8snet.diagnose import Confidence, diagnose
from pytest_k8snet.faults import netfilter, service_proxy
from pytest_k8snet.report.recording import evidence, facts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shipped_suite import Suite, SuiteRun

    from pytest_k8snet.faults.fault import Inject
    from pytest_k8snet.faults.site import Site
    from pytest_k8snet.report.schema import FindingDocument

pytestmark = pytest.mark.cluster

INSPECT = "--k8snet-inspect-nodes"
CHOSEN = ("-m", "rule2 or rule3")
WRONG_MAC = "02:00:00:00:00:99"


@contextmanager
def bridge_unseen(site: Site) -> Iterator[None]:
    """Have what a Node's bridge switches pass by its packet filters."""
    setting = "/proc/sys/net/bridge/bridge-nf-call-iptables"
    try:
        site.run("worker2", "sh", "-c", f"echo 0 >{setting}")
        yield
    finally:
        site.run("worker2", "sh", "-c", f"echo 1 >{setting}")


@contextmanager
def wrong_neighbour(site: Site) -> Iterator[None]:
    """Have a Node take another one for a machine that is not there."""
    address = next(a for a in site.addresses("worker") if ":" not in a)
    entry = (address, "dev", "eth0")
    mac = ("lladdr", WRONG_MAC, "nud", "permanent")
    try:
        site.run("worker2", "ip", "neigh", "replace", *entry, *mac)
        yield
    finally:
        site.run("worker2", "ip", "neigh", "del", *entry)


def first(run: SuiteRun) -> FindingDocument:
    assert run.report, run.output
    assert run.report.findings, run.output
    return run.report.findings[0]


def told_again(run: SuiteRun) -> list[tuple[str, str]]:
    """Give the findings that the recording alone gives, without a cluster."""
    assert run.recording
    report = run.recording.report
    found = diagnose(
        facts(report.environment),
        run.recording.results,
        report.not_running,
        evidence(report),
    )
    return [(one.cause, str(one.confidence)) for one in found]


@pytest.mark.parametrize(
    ("inject", "args", "cause", "line"),
    [
        (bridge_unseen, (), "bridge-nf-call-off", "bridge-nf-call-iptables is 0"),
        (
            netfilter.no_pod_traffic("worker2"),
            (INSPECT,),
            "nft-hidden-drop",
            "inet k8snet-fault-cut-off fault:",
        ),
        (
            service_proxy.rules_flushed("worker2"),
            (INSPECT,),
            "kube-proxy-rules-missing",
            "there are rules for 0 ports of Services",
        ),
        (
            wrong_neighbour,
            (),
            "arp-stale-peer-node",
            f"as PERMANENT at {WRONG_MAC}, which no device of ",
        ),
    ],
    ids=["settings", "packet-filters", "service-rules", "neighbours"],
)
def test_a_cause_is_confirmed_on_its_node(
    inject: Inject, args: tuple[str, ...], cause: str, line: str, suite: Suite
) -> None:
    with inject(suite.site):
        run = suite.run(*CHOSEN, *args)

    found = first(run)
    assert (found.cause, found.nodes) == (cause, (suite.site.full("worker2"),))
    assert found.confidence == Confidence.CONFIRMED
    assert any(line in said for said in found.evidence), found.evidence
    assert told_again(run)[0] == (cause, Confidence.CONFIRMED)


def test_a_kubelet_that_nobody_reaches_says_itself_that_it_is_well(
    suite: Suite,
) -> None:
    with netfilter.kubelet_closed("worker2")(suite.site):
        run = suite.run("-k", "KUBELET-EXEC", INSPECT)

    found = first(run)
    worker = suite.site.full("worker2")
    assert (found.cause, found.nodes) == ("node-internalip-wrong", (worker,))
    assert found.confidence == Confidence.CONFIRMED, run.output
    said = f"asked on {worker}, the kubelet says that it is well"
    assert said in found.evidence, found.evidence


def test_a_healthy_cluster_is_not_looked_at(suite: Suite) -> None:
    run = suite.run(*CHOSEN, INSPECT)

    assert run.green, run.output
    assert run.report
    assert run.report.evidence == []
    assert "evidence" not in run.report.figures.phases


def test_the_permissions_of_the_plan_are_enough_to_look_at_nodes(
    suite: Suite, tmp_path: Path
) -> None:
    planned = suite.run(*CHOSEN, "--k8snet-plan")

    with (
        kubeconfig_for(suite.site, rules_in(planned.output), tmp_path) as file,
        netfilter.no_pod_traffic("worker2")(suite.site),
    ):
        run = suite.run(*CHOSEN, INSPECT, f"--k8snet-kubeconfig={file}")

    assert first(run).confidence == Confidence.CONFIRMED, run.output
    assert run.report
    assert not [a for a in run.report.evidence if a.problem], run.output


def test_an_interruption_while_it_looks_closer_keeps_the_results(suite: Suite) -> None:
    with netfilter.no_pod_traffic("worker2")(suite.site):
        started = suite.start(*CHOSEN, INSPECT)
        started.wait_for("looking closer")
        started.interrupt()
        run = started.finish()

    assert "interrupted: the findings are without evidence" in run.output
    assert first(run).confidence == Confidence.CONSISTENT
    assert run.report
    assert run.report.evidence == []
