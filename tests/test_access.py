"""What a plan needs of the cluster, and not a permission more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml
from scenes import facts, plan_of, spec

from pytest_k8snet import access
from pytest_k8snet.model import Role
from pytest_k8snet.plan import checks
from pytest_k8snet.rules import RULES

if TYPE_CHECKING:
    from pytest_k8snet.plan import Plan

CLUSTER = facts(3)


def plan(*ids: str) -> Plan:
    return plan_of(CLUSTER, checks([r for r in RULES if r.id in ids]))


def verbs(of: Plan) -> dict[str, set[str]]:
    """Give what is allowed, by resource."""
    allowed: dict[str, set[str]] = {}
    for rule in access.rules(of):
        for resource in rule["resources"]:
            allowed.setdefault(resource, set()).update(rule["verbs"])
    return allowed


def test_pods_are_counted_by_role() -> None:
    assert access.pods(plan_of(CLUSTER)) == {
        Role.CLIENT: 3,
        Role.CONFINED: 3,
        Role.EDGE: 3,
        Role.GUARDED: 3,
        Role.HOST: 3,
        Role.NEIGHBOUR: 3,
        Role.NEWCOMER: 3,
        Role.SERVER: 3,
        Role.SPARE: 3,
        Role.UNREADY: 1,
    }
    assert access.pods(plan("NODE-READY")) == {}


def test_only_the_namespaces_that_are_used_are_made() -> None:
    def names(of: Plan) -> list[str]:
        return [one.rpartition("-")[2] for one in access.namespaces(of, spec())]

    every = ["client", "confined", "host", "policy", "server"]
    assert names(plan_of(CLUSTER)) == every
    assert names(plan("NP-DELETE")) == ["client", "policy"]
    assert names(plan("POD-TO-POD")) == ["client", "server"]
    assert names(plan("DNS-EXTERNAL-NAME")) == ["client", "server"]
    assert names(plan("NODE-READY")) == []


def test_a_larger_plan_takes_longer() -> None:
    least, most = access.seconds(plan("NODE-READY")), access.seconds(plan_of(CLUSTER))

    assert access.FIXED_SECONDS == least < most


def test_nothing_may_be_changed_by_a_plan_that_changes_nothing() -> None:
    allowed = verbs(plan("POD-TO-POD"))

    assert allowed["pods"] == {"create", "deletecollection", "list", "watch"}
    assert allowed["pods/exec"] == {"create", "get"}
    assert allowed["endpointslices"] == {"list"}
    assert allowed["events"] == {"list"}
    assert {"pods/log", "pods/portforward", "endpointslices/restricted"} & set(
        allowed
    ) == set()


def test_each_step_and_probe_adds_what_it_needs() -> None:
    assert "patch" in verbs(plan("SERVICE-BACKEND-ADDED"))["pods"]
    assert "get" in verbs(plan("SANDBOX-SURVIVES-RESTART"))["pods"]
    assert verbs(plan("KUBELET-LOGS"))["pods/log"] == {"get"}
    assert verbs(plan("KUBELET-LOGS"))["pods/portforward"] == {"create", "get"}
    assert verbs(plan("SERVICE-SELECTORLESS"))["endpointslices/restricted"] == {
        "create"
    }


def test_nobody_is_ever_asked_for_everything() -> None:
    granted = access.rules(plan_of(CLUSTER))

    assert "*" not in str(granted)
    about_secrets = [rule["verbs"] for rule in granted if "secrets" in str(rule)]
    assert about_secrets == [["create"]]


def test_what_leads_into_the_cluster_is_made_only_by_a_plan_that_asks_for_it() -> None:
    assert {"secrets", "ingresses", "gateways"}.isdisjoint(verbs(plan("POD-TO-POD")))
    assert verbs(plan("LOADBALANCER-REACH")).keys() == verbs(plan("POD-TO-POD")).keys()
    made = {"create", "get", "list"}
    assert verbs(plan("INGRESS-HOST-PATH"))["ingresses"] == made
    assert "secrets" not in verbs(plan("INGRESS-HOST-PATH"))
    assert verbs(plan("INGRESS-TLS"))["secrets"] == {"create"}
    assert verbs(plan("GATEWAY-STATUS"))["httproutes"] == made


def test_the_cluster_role_is_yaml_that_kubectl_reads() -> None:
    role = yaml.safe_load(access.role_yaml(plan_of(CLUSTER)))

    assert role["kind"] == "ClusterRole"
    assert role["rules"] == access.rules(plan_of(CLUSTER))


def test_policies_are_made_and_changed_only_by_a_plan_that_does_so() -> None:
    def granted(rule: str) -> set[str]:
        return verbs(plan(rule))["networkpolicies"]

    # Those of others are looked for wherever policies are enforced.
    assert granted("POD-TO-POD") == {"list"}
    assert granted("NP-PORT") == {"create", "get", "list"}
    assert granted("NP-UPDATE") == {"create", "get", "list", "patch"}
    assert granted("NP-DELETE") == {"create", "delete", "get", "list"}
    unpoliced = plan_of(facts(3, features=frozenset()))
    assert "networkpolicies" not in verbs(unpoliced)
    assert "patch" not in verbs(plan("NP-PORT"))["namespaces"]
    assert "patch" in verbs(plan("NP-NAMESPACE-LABEL-CHANGE"))["namespaces"]
