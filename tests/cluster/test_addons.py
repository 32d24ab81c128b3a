"""Clusters with other pod networks, and with ways into them, do what they claim."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from faults.objects import everything_denied
from faults.site import output, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from faults import Site
    from shipped_suite import Suite, SuiteRun

    OtherCluster = Callable[[str], AbstractContextManager[Suite]]

pytestmark = pytest.mark.cluster

HOST = "dns.example.test"
METRICS = {"name": "kube-dns", "port": 9153}
"""What there is in every cluster that speaks HTTP: the cluster DNS's own numbers."""


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


def test_what_leads_into_a_cluster_leads_to_its_services(
    other_cluster: OtherCluster,
) -> None:
    with other_cluster("edge.yaml") as suite:
        addresses = load_balancer(suite.site)
        publish(suite.site)
        for address in addresses:
            for host in (HOST, f"gw.{HOST}"):
                leads = partial(serves, suite.site, address, host)
                wait_until(leads, f"{address} leads to {host}", 20)
            assert not serves(suite.site, address, "unknown.example.test")
        run = suite.run()

    assert len(addresses) == 2
    assert run.green, run.output
    assert run.report
    claimed = {"Gateway", "Ingress", "LoadBalancer"}
    assert claimed <= set(run.report.environment.features)


def load_balancer(site: Site) -> list[str]:
    """Wait until the controller's Service has an address of each IP family."""
    path = "/api/v1/namespaces/traefik/services/traefik"
    found: list[str] = []

    def there() -> bool:
        status = site.api.get(path)["status"]["loadBalancer"]
        found[:] = [entry["ip"] for entry in status.get("ingress", ())]
        return len(found) > 1

    wait_until(there, "the Service has its addresses", 20)
    return found


def publish(site: Site) -> None:
    """Publish the cluster DNS's numbers, by an Ingress and by an HTTPRoute."""
    backend = {"service": {"name": METRICS["name"], "port": {"number": 9153}}}
    path = {"path": "/metrics", "pathType": "Exact", "backend": backend}
    routes: dict[str, dict[str, Any]] = {
        "networking.k8s.io/v1 Ingress": {
            "ingressClassName": "traefik",
            "rules": [{"host": HOST, "http": {"paths": [path]}}],
        },
        "gateway.networking.k8s.io/v1 Gateway": {
            "gatewayClassName": "traefik",
            "listeners": [{"name": "http", "protocol": "HTTP", "port": 8000}],
        },
        "gateway.networking.k8s.io/v1 HTTPRoute": {
            "parentRefs": [{"name": "numbers"}],
            "hostnames": [f"gw.{HOST}"],
            "rules": [{"backendRefs": [METRICS]}],
        },
    }
    for made, spec in routes.items():
        version, kind = made.split()
        plural = {"Ingress": "ingresses"}.get(kind, f"{kind.lower()}s")
        site.api.create(
            f"/apis/{version}/namespaces/kube-system/{plural}",
            {
                "apiVersion": version,
                "kind": kind,
                "metadata": {"name": "numbers"},
                "spec": spec,
            },
        )


FETCH = """
import sys, urllib.request
url, host = sys.argv[1:]
asked = urllib.request.Request(url, headers={"Host": host})
try:
    print(urllib.request.urlopen(asked, timeout=2).read().decode())
except OSError as error:
    print(error)
"""


def serves(site: Site, address: str, host: str) -> bool:
    """Whether an address leads to the cluster DNS's numbers from outside."""
    place = f"[{address}]" if ":" in address else address
    url = f"http://{place}/metrics"
    said = output([*site.cluster.outside, "python3", "-c", FETCH, url, host])
    return "coredns_" in said


def dns_answers(site: Site) -> bool:
    """Whether a replica of the cluster DNS answers a Node that it does not run on."""
    replica, *_ = site.dns_replicas()
    address = replica["status"]["podIP"]
    other = next(n for n in site.nodes if site.full(n) != replica["spec"]["nodeName"])
    asked = f"import socket; socket.create_connection(({json.dumps(address)}, 53), 1)"
    try:
        site.run(other, "python3", "-c", asked)
    except AssertionError:
        return False
    return True
