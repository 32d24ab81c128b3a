"""The specification: one module per area, one value per rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_k8snet.rules import (
    control_plane,
    dns,
    external,
    localhost,
    pod_network,
    service,
)

if TYPE_CHECKING:
    from pytest_k8snet.model import Rule

RULES: tuple[Rule, ...] = (
    *localhost.RULES,
    *pod_network.RULES,
    *service.RULES,
    *external.RULES,
    *dns.RULES,
    *control_plane.RULES,
)

__all__ = ["RULES"]
