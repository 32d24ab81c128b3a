"""Faults of what enforces NetworkPolicy, on a cluster where nothing does.

It is claimed that something does: then policies are ignored, or what stands for it
isolates whole Pods and whole namespaces.
"""

from __future__ import annotations

from contextlib import nullcontext

from faults.catalogue.network import each
from faults.ends import everywhere
from faults.expected import POLICED, Blame, Expected
from pytest_k8snet.faults.catalogue import policies as shipped
from pytest_k8snet.faults.fault import Fault

CLAIM = "--k8snet-features=NetworkPolicy"
DEMAND_AN_ANSWER = (
    *("NP-DEFAULT-ALLOW", "NP-ISOLATION-PER-DIRECTION"),
    *("NP-NODE-TO-LOCAL-POD", "NP-SELF"),
)
"""Rules about what policies must not block."""

IGNORED = Expected(
    Fault(
        id="netpol-claimed-only",
        breaks="Nothing enforces the policies that the cluster claims to enforce.",
        inject=lambda _: nullcontext(),
    ),
    red=each(tuple(sorted(POLICED.difference(DEMAND_AN_ANSWER))), everywhere),
    # Their controls, that a policy is in force, do not hold.
    inconclusive=each(DEMAND_AN_ANSWER, everywhere),
    args=("-m", "policy", CLAIM),
    blame=Blame("netpol-not-enforced"),
)

TOO_MUCH = Expected(
    shipped.ISOLATED,
    red=each(DEMAND_AN_ANSWER, everywhere),
    args=("-k", " or ".join(DEMAND_AN_ANSWER), CLAIM),
)

EXPECTED = (IGNORED, TOO_MUCH)
