"""Faults of what enforces NetworkPolicy."""

from __future__ import annotations

from pytest_k8snet.faults import policy_agent, runtime
from pytest_k8snet.faults.catalogue.nodes import OTHER
from pytest_k8snet.faults.fault import Fault, together

ISOLATED = Fault(
    id="netpol-isolates-everything",
    breaks="Policies isolate the Pods of their namespaces in every direction.",
    inject=together(
        *(runtime.isolated(pod) for pod in ("guarded-", "neighbour-", "confined-"))
    ),
)

NOT_ENFORCED = Fault(
    id="netpol-not-enforced",
    breaks="The policy agent of a Node enforces nothing.",
    inject=policy_agent.not_enforcing(OTHER),
    nodes=(OTHER,),
    cluster="cilium",
)

FAULTS = (ISOLATED, NOT_ENFORCED)
