"""What a plan needs: Pods, namespaces, permissions, time. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from pytest_k8snet.manifests import NAMESPACE_OF
from pytest_k8snet.model import Feature, Kind, Op, Role

if TYPE_CHECKING:
    from pytest_k8snet.manifests import LabSpec
    from pytest_k8snet.plan import Plan

FIXED_SECONDS = 7.0
SECONDS_PER_POD = 0.25
NAME = "pytest-k8snet"
POLICY_VERBS = {"apply": "patch", "revoke": "delete"}
"""The verb that a change to a policy needs."""


def pods(plan: Plan) -> dict[Role, int]:
    """Count the Pods of each role."""
    return {
        role: len(ranks(role, plan))
        for role in sorted(plan.roles)
        if role in NAMESPACE_OF
    }


def ranks(role: Role, plan: Plan) -> range:
    """Give the ranks of the Nodes on which a role is played."""
    return range(1 if role is Role.UNREADY else len(plan.facts.nodes))


def namespace_keys(plan: Plan) -> list[str]:
    """Say which of the run's namespaces the plan needs."""
    keys = {NAMESPACE_OF[role] for role in pods(plan)}
    keys |= {NAMESPACE_OF[service.role] for service in plan.services}
    return sorted(keys)


def namespaces(plan: Plan, spec: LabSpec) -> list[str]:
    """Name the namespaces that would be made."""
    return [spec.namespace(key) for key in namespace_keys(plan)]


def seconds(plan: Plan) -> float:
    """Estimate how long a healthy run takes: Pods start side by side on a Node."""
    per_node = len(pods(plan))
    return FIXED_SECONDS + SECONDS_PER_POD * per_node * min(len(plan.facts.nodes), 4)


def rules(plan: Plan) -> list[dict[str, Any]]:
    """Give the rules of the ClusterRole that the plan needs, and nothing more."""
    ops = {p.ask.op for check in plan.checks for p in check.probes}
    changes = {c.kind for p in plan.checks for s, _ in p.steps for c in s.changes}
    pod_verbs = ["create", "deletecollection", "list", "watch"]
    if changes & {"restart", "create"}:
        pod_verbs.append("get")
    if "label" in changes:
        pod_verbs.append("patch")
    if changes & {"terminate", "delete"}:
        pod_verbs.append("delete")
    made = [
        _rule("", ["nodes"], ["list"]),
        _rule("", ["namespaces"], ["create", "delete", "get", "list"]),
        _rule("", ["configmaps", "services"], ["create", "get"]),
        _rule("", ["services"], ["list"]),
        _rule("", ["serviceaccounts"], ["create", "get"]),
        _rule("", ["pods"], sorted(pod_verbs)),
        # From Kubernetes 1.35 a websocket needs create beside get.
        _rule("", ["pods/exec"], ["create", "get"]),
        _rule("discovery.k8s.io", ["endpointslices"], ["list"]),
        # Only where something fails, to say why.
        _rule("", ["events"], ["list"]),
        # The rest only finds out more: without it the report says "unknown", and
        # rules do not apply whose features nobody claims.
        _rule("apps", ["daemonsets"], ["list"]),
        _rule("networking.k8s.io", ["ingressclasses", "servicecidrs"], ["list"]),
        _rule("gateway.networking.k8s.io", ["gatewayclasses"], ["list"]),
    ]
    if any(s.manual for s in plan.services):
        made.append(_rule("discovery.k8s.io", ["endpointslices"], ["create", "get"]))
        # Endpoints by hand may point anywhere: the API server asks for this, too.
        made.append(
            _rule("discovery.k8s.io", ["endpointslices/restricted"], ["create"])
        )
    if "serve" in changes:
        made.append(_rule("", ["services"], ["patch"]))
    if "withdraw" in changes:
        made.append(_rule("", ["services"], ["delete"]))
    if Op.PROXY in ops:
        made.append(_rule("", ["pods/proxy", "services/proxy"], ["get"]))
    made += _policy_rules(plan, changes) + _entry_rules(plan)
    if Op.LOGS in ops:
        made.append(_rule("", ["pods/log"], ["get"]))
    if Op.PORT_FORWARD in ops:
        made.append(_rule("", ["pods/portforward"], ["create", "get"]))
    return made


def _policy_rules(plan: Plan, changes: set[str]) -> list[dict[str, Any]]:
    made = []
    if Feature.NETWORK_POLICY in plan.facts.features:
        verbs = {POLICY_VERBS[change] for change in changes & POLICY_VERBS.keys()}
        verbs |= {"create", "get", "list"} if plan.policies else {"list"}
        made.append(_rule("networking.k8s.io", ["networkpolicies"], sorted(verbs)))
    if "label namespace" in changes:
        made.append(_rule("", ["namespaces"], ["patch"]))
    return made


def _entry_rules(plan: Plan) -> list[dict[str, Any]]:
    made, verbs = [], ["create", "get", "list"]
    kinds = {entry.kind for entry in plan.entries}
    if any(site.secure for entry in plan.entries for site in entry.sites):
        made.append(_rule("", ["secrets"], ["create"]))
    if Kind.INGRESS in kinds:
        made.append(_rule("networking.k8s.io", ["ingresses"], verbs))
    if Kind.GATEWAY in kinds:
        group = "gateway.networking.k8s.io"
        made.append(_rule(group, ["gateways", "httproutes"], verbs))
    return made


def _rule(group: str, resources: list[str], verbs: list[str]) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


def role_yaml(plan: Plan) -> str:
    """Write the ClusterRole as kubectl reads it."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": NAME},
        "rules": rules(plan),
    }
    text: str = yaml.safe_dump(role, sort_keys=False, default_flow_style=None)
    return text.rstrip()
