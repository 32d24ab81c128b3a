"""What harms no cluster, whatever it looks like: nobody may be blamed for it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_k8snet.faults import kernel, netfilter, upstream
from pytest_k8snet.faults.catalogue.nodes import FIRST, OTHER
from pytest_k8snet.faults.fault import Fault
from pytest_k8snet.faults.site import meanwhile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.faults.site import Site


@dataclass(frozen=True)
class Control:
    """Something that breaks nothing that a cluster promises.

    Attributes:
        made: it, as a fault is.
        may: the rules that fail all the same, each with why.
        args: what the suite is run with.

    """

    made: Fault
    may: frozenset[str] = frozenset()
    args: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.made.id


@contextmanager
def cordoned(site: Site) -> Iterator[None]:
    """Let the scheduler place nothing more on a Node."""
    path = f"/api/v1/nodes/{site.full(OTHER)}"
    try:
        site.api.patch(path, {"spec": {"unschedulable": True}})
        yield
    finally:
        site.api.patch(path, {"spec": {"unschedulable": None}})


@contextmanager
def dns_restarted(site: Site) -> Iterator[None]:
    """Start the cluster DNS anew, replica by replica, once a run has begun."""

    def look() -> bool:
        begun = bool(site.namespaces())
        if begun:
            site.restart_dns()
        return begun

    with meanwhile(site, look):
        yield


CONTROLS = (
    Control(
        Fault(
            id="rp-filter-strict",
            breaks="A Node wants packets to come the way that it would answer.",
            inject=kernel.switched(
                OTHER, ("ipv4/conf/all/rp_filter", "ipv4/conf/eth0/rp_filter"), 1
            ),
        ),
    ),
    Control(
        Fault(id="node-cordoned", breaks="A Node takes no new Pods.", inject=cordoned)
    ),
    Control(
        Fault(
            id="coredns-restarted",
            breaks="The cluster DNS is started anew during the run.",
            inject=dns_restarted,
        ),
    ),
    Control(
        Fault(
            id="upstream-answers",
            breaks="The cluster DNS has an upstream; other names take longer.",
            inject=upstream.answering(FIRST),
        ),
        args=(f"--k8snet-upstream-name={upstream.NAME}",),
    ),
    Control(
        Fault(
            id="icmp-filtered",
            breaks="A Node drops the ICMP echoes that arrive.",
            inject=netfilter.echoes_dropped(OTHER),
        ),
        # It asks for what is filtered; the finding says that this may be wanted.
        may=frozenset({"POD-PING"}),
    ),
    Control(
        Fault(
            id="bridged-ipv6-unfiltered",
            breaks="On an IPv4 cluster, bridged IPv6 goes past the rules.",
            inject=kernel.switched(OTHER, kernel.BRIDGED[1:], 0),
            cluster="ipv4",
        ),
    ),
)
