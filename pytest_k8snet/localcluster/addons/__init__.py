"""What a cluster can have beyond what every cluster has: one module each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .addon import Addon, Setting
from .cilium import CILIUM
from .flannel import FLANNEL
from .install import install

if TYPE_CHECKING:
    from pytest_k8snet.localcluster.config import ClusterSpec

__all__ = ["ADDONS", "Addon", "Setting", "all_of", "install", "network_of"]

ADDONS = {addon.name: addon for addon in (CILIUM, FLANNEL)}


def network_of(spec: ClusterSpec) -> Addon | None:
    """Return the add-on that is the cluster's pod network, if it is one."""
    return ADDONS.get(spec.cni or "")


def all_of(spec: ClusterSpec) -> list[Addon]:
    """Return the add-ons of a cluster, its pod network first."""
    network = network_of(spec)
    return [*([network] if network else []), *(ADDONS[name] for name in spec.addons)]
