"""Routes to other Nodes' Pods."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.faults.fault import Inject
    from pytest_k8snet.faults.site import Site


def missing(node: str, to: str) -> Inject:
    """Take a Node's routes to another Node's Pods away, in every family."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        ranges = site.pod_ranges(to)
        via = {":" in a: a for a in site.addresses(to)}
        try:
            for pods in ranges:
                site.run(node, "ip", "route", "del", pods)
            yield
        finally:
            for pods in ranges:
                site.run(node, "ip", "route", "replace", pods, "via", via[":" in pods])

    return inject
