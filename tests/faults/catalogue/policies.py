"""Faults of what enforces NetworkPolicy, on a cluster where nothing does.

It is claimed that something does: then policies are ignored, or what stands for it
isolates whole Pods and whole namespaces.
"""

from __future__ import annotations

from contextlib import nullcontext

from faults import runtime
from faults.catalogue.network import each
from faults.ends import everywhere
from faults.fault import POLICED, Fault, together

CLAIM = "--k8snet-features=NetworkPolicy"
DEMAND_AN_ANSWER = (
    *("NP-DEFAULT-ALLOW", "NP-ISOLATION-PER-DIRECTION"),
    *("NP-NODE-TO-LOCAL-POD", "NP-SELF"),
)
"""Rules about what policies must not block."""

IGNORED = Fault(
    id="netpol-not-enforced",
    breaks="Nothing enforces the policies that the cluster claims to enforce.",
    inject=lambda _: nullcontext(),
    red=each(tuple(sorted(POLICED.difference(DEMAND_AN_ANSWER))), everywhere),
    # Their controls, that a policy is in force, do not hold.
    inconclusive=each(DEMAND_AN_ANSWER, everywhere),
    args=("-m", "policy", CLAIM),
)

TOO_MUCH = Fault(
    id="netpol-isolates-everything",
    breaks="Policies isolate the Pods of their namespaces in every direction.",
    inject=together(
        *(runtime.isolated(pod) for pod in ("guarded-", "neighbour-", "confined-"))
    ),
    red=each(DEMAND_AN_ANSWER, everywhere),
    args=("-k", " or ".join(DEMAND_AN_ANSWER), CLAIM),
)

FAULTS = (IGNORED, TOO_MUCH)
