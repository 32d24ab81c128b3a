"""A fault: a value that says what it breaks, where, and how it is made and healed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_k8snet.faults.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

Inject = Callable[[Site], AbstractContextManager[None]]
"""Makes something wrong, and heals it at the end, whatever happens in between.

Raises LocalClusterError or ClusterError where it cannot be made or healed.
"""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a cluster.

    Attributes:
        id: as in the catalogue of failure modes.
        breaks: what it breaks, in one sentence.
        inject: makes it, and always heals it.
        nodes: the Nodes at fault, without the cluster's name; () when none is.
        cluster: the file in clusters/ that describes a cluster it can be made on.

    """

    id: str
    breaks: str
    inject: Inject
    nodes: tuple[str, ...] = ()
    cluster: str = "three-node"

    def __str__(self) -> str:
        return self.id


def together(*injects: Inject) -> Inject:
    """Make several changes that are one fault, and heal them in reverse order."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        with ExitStack() as stack:
            for one in injects:
                stack.enter_context(one(site))
            yield

    return inject
