"""What every add-on is: what to build, what to put into images, what to apply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_k8snet.localcluster.build import Binaries
    from pytest_k8snet.localcluster.component import Component
    from pytest_k8snet.localcluster.config import ClusterSpec
    from pytest_k8snet.localcluster.images import Image
    from pytest_k8snet.localcluster.objects import Object


@dataclass(frozen=True)
class Setting:
    """What an add-on's objects depend on.

    `nodes` are the addresses of one Node, one per family.
    """

    spec: ClusterSpec
    binaries: Binaries
    node: tuple[str, ...]


@dataclass(frozen=True)
class Addon:
    """Something that a cluster can have beyond what every cluster has.

    Attributes:
        name: as the cluster file has it.
        components: what is built for it.
        programs: of the distribution, which its images contain.
        images: makes its images, by the names that its manifests use.
        steps: yields objects to apply, each list when the one before is in force.

    """

    name: str
    components: tuple[Component, ...]
    images: Callable[[Binaries], dict[str, Image]]
    steps: Callable[[Setting], Iterable[list[Object]]]
    programs: tuple[str, ...] = ()
