"""Clusters with other pod networks do what they claim."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_k8snet.faults.objects import everything_denied
from pytest_k8snet.faults.site import wait_until
from pytest_k8snet.localcluster import LocalClusterError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from shipped_suite import Suite, SuiteRun

    from pytest_k8snet.faults.site import Site

    OtherCluster = Callable[[str], AbstractContextManager[Suite]]

pytestmark = pytest.mark.cluster

FLANNEL = {"POD-FULL-SIZE", "POD-TO-HOST-NETWORK"}
CILIUM = {
    *("POD-TO-HOST-NETWORK", "SERVICE-HAIRPIN"),
    *("SERVICE-TWO-PROTOCOLS", "SERVICE-UDP-REMAP", "SERVICE-TRAFFIC-DISTRIBUTION"),
    *("POD-FRAGMENTS", "NP-END-PORT", "NP-SELF"),
}
"""The rules that they are known not to keep; all others they do."""


def test_on_flannel_the_suite_finds_nothing_but_what_is_known(
    other_cluster: OtherCluster,
) -> None:
    with other_cluster("flannel.yaml") as suite:
        run = suite.run()

    assert deviating(run, "flannel", {"DualStack"}) == FLANNEL, run.output


def test_on_cilium_it_does_not_either_and_policies_are_enforced(
    other_cluster: OtherCluster,
) -> None:
    policy = {"podSelector": {}, "policyTypes": ["Ingress"]}
    path = "/apis/networking.k8s.io/v1/namespaces/kube-system/networkpolicies"

    with other_cluster("cilium.yaml") as suite:
        run = suite.run()
        with everything_denied(suite.site):
            denied = suite.run()
        # One that lets nobody in cuts the cluster off from its own DNS.
        assert dns_answers(suite.site)
        suite.site.api.create(path, {"metadata": {"name": "nobody"}, "spec": policy})
        wait_until(lambda: not dns_answers(suite.site), "the policy is in force", 20)

    features = {"DualStack", "NetworkPolicy"}
    assert deviating(run, "Cilium", features) == CILIUM, run.output
    assert set(denied.words.values()) == {"inconclusive", "not-applicable"}
    assert "policies that are not ours apply to our Pods" in denied.output


def deviating(run: SuiteRun, plugin: str, features: set[str]) -> set[str]:
    """Give the rules that deviate as known, in a run with nothing else wrong."""
    assert run.exit_code == 0, run.output
    assert run.report
    environment = run.report.environment
    assert environment.network_plugin == plugin
    assert features <= set(environment.features)
    expected = {"pass", "known-deviation", "not-applicable"}
    assert set(run.words.values()) <= expected, run.output
    checks = run.report.checks
    return {check.rule for check in checks if check.result == "known-deviation"}


def dns_answers(site: Site) -> bool:
    """Whether a replica of the cluster DNS answers a Node that it does not run on."""
    replica, *_ = site.dns_replicas()
    address = replica["status"]["podIP"]
    other = next(n for n in site.nodes if site.full(n) != replica["spec"]["nodeName"])
    asked = f"import socket; socket.create_connection(({json.dumps(address)}, 53), 1)"
    try:
        site.run(other, "python3", "-c", asked)
    except LocalClusterError:
        return False
    return True
