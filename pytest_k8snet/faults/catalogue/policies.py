"""Faults of what enforces NetworkPolicy."""

from __future__ import annotations

from pytest_k8snet.faults import runtime
from pytest_k8snet.faults.fault import Fault, together

ISOLATED = Fault(
    id="netpol-isolates-everything",
    breaks="Policies isolate the Pods of their namespaces in every direction.",
    inject=together(
        *(runtime.isolated(pod) for pod in ("guarded-", "neighbour-", "confined-"))
    ),
)

FAULTS = (ISOLATED,)
