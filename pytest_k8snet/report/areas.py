"""The areas of rules, in the order in which people read of them."""

from __future__ import annotations

AREAS = {
    "rule1": "localhost",
    "rule2": "Pod to Pod",
    "rule3": "Pod to Service",
    "rule4": "external to Service",
    "dns": "DNS",
    "control": "control plane",
    "policy": "NetworkPolicy",
}
"""By pytest marker."""
