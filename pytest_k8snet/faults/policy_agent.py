"""Cilium's agent on a Node."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_k8snet.faults.site import output
from pytest_k8snet.localcluster.errors import LocalClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.faults.fault import Inject
    from pytest_k8snet.faults.site import Site


def not_enforcing(node: str) -> Inject:
    """Have a Node's agent enforce no policy."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        try:
            _enforce(site, node, "never")
            yield
        finally:
            _enforce(site, node, "default")

    return inject


def _enforce(site: Site, node: str, when: str) -> None:
    agents = site.processes(node, "cilium-agent")
    if not agents:
        raise LocalClusterError(f"no Cilium agent runs on {node}")
    inside = ["nsenter", "-t", str(agents[0]), "-m", "-n"]
    output([*inside, "cilium-dbg", "config", f"PolicyEnforcement={when}"])
