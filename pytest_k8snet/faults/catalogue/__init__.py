"""All faults that can be made, each a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_k8snet.faults.catalogue import (
    edge,
    kernel,
    network,
    objects,
    overlay,
    pods,
    policies,
)

if TYPE_CHECKING:
    from pytest_k8snet.faults.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *kernel.FAULTS,
    *network.FAULTS,
    *overlay.FAULTS,
    *pods.FAULTS,
    *objects.FAULTS,
    *policies.FAULTS,
    *edge.FAULTS,
)
