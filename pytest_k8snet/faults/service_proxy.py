"""kube-proxy on one Node."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_k8snet.faults.netfilter import REMOVE
from pytest_k8snet.faults.site import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.faults.fault import Inject
    from pytest_k8snet.faults.site import Site

TABLES = ("ip kube-proxy", "ip6 kube-proxy")


def rules_flushed(node: str) -> Inject:
    """End a Node's kube-proxy, and take all of its rules away."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        try:
            site.end(node, "kube-proxy")
            site.nft(node, "".join(map(REMOVE.format, TABLES)))
            yield
        finally:
            site.start_proxy(node)
            wait_until(lambda: _programmed(site, node), "kube-proxy's rules", 30)

    return inject


def stopped(node: str) -> Inject:
    """Stop a Node's kube-proxy where it is; its rules stay as they are."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        try:
            with site.stopped(node, "kube-proxy"):
                yield
        finally:
            wait_until(lambda: _programmed(site, node), "kube-proxy's rules", 30)

    return inject


def _programmed(site: Site, node: str) -> bool:
    address = site.api.get("/api/v1/namespaces/kube-system/services/kube-dns")["spec"]
    rules = site.run(node, "nft", "list", "ruleset")
    return all(f"{ip} . " in rules for ip in address["clusterIPs"])
