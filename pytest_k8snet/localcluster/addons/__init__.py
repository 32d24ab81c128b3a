"""What a cluster can have beyond what every cluster has: one module each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .addon import Addon, Setting
from .cilium import CILIUM
from .flannel import FLANNEL
from .installer import install
from .metallb import METALLB
from .traefik import TRAEFIK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_k8snet.localcluster.build import Binaries
    from pytest_k8snet.localcluster.component import Component
    from pytest_k8snet.localcluster.config import ClusterSpec
    from pytest_k8snet.localcluster.images import Image

__all__ = [
    "ADDONS",
    "Addon",
    "Setting",
    "all_of",
    "components_of",
    "images_of",
    "install",
    "network_of",
    "programs_of",
]

ADDONS = {addon.name: addon for addon in (CILIUM, FLANNEL, METALLB, TRAEFIK)}


def network_of(spec: ClusterSpec) -> Addon | None:
    """Return the add-on that is the cluster's pod network, if it is one."""
    return ADDONS.get(spec.cni or "")


def all_of(spec: ClusterSpec) -> list[Addon]:
    """Return the add-ons of a cluster, its pod network first."""
    network = network_of(spec)
    return [*([network] if network else []), *(ADDONS[name] for name in spec.addons)]


def programs_of(chosen: Iterable[Addon]) -> list[str]:
    """Return the programs of the distribution that the add-ons' images contain."""
    return [program for addon in chosen for program in addon.programs]


def components_of(chosen: Iterable[Addon]) -> list[Component]:
    """Return what is built for the add-ons."""
    return [component for addon in chosen for component in addon.components]


def images_of(chosen: Iterable[Addon], binaries: Binaries) -> dict[str, Image]:
    """Return the add-ons' images, by name."""
    return {
        name: image
        for addon in chosen
        for name, image in addon.images(binaries).items()
    }
