"""The specification: one module per area, one value per rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_k8snet.rules import (
    control_plane,
    dns,
    dns_service,
    entry,
    external,
    load_balancer,
    localhost,
    pod_end,
    pod_network,
    pod_traffic,
    policy,
    policy_changes,
    service,
    service_variants,
)

if TYPE_CHECKING:
    from pytest_k8snet.model import Rule

RULES: tuple[Rule, ...] = (
    *localhost.RULES,
    *pod_network.RULES,
    *pod_traffic.RULES,
    *pod_end.RULES,
    *service.RULES,
    *service_variants.RULES,
    *external.RULES,
    *load_balancer.RULES,
    *entry.RULES,
    *dns.RULES,
    *dns_service.RULES,
    *control_plane.RULES,
    *policy.RULES,
    *policy_changes.RULES,
)

__all__ = ["RULES"]
