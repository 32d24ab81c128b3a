"""flannel's tunnels between Nodes."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_k8snet.faults.netfilter import EARLY, FAMILY, on_node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.faults.fault import Inject
    from pytest_k8snet.faults.site import Site

PORT = 8472
DEVICES = ("flannel.1", "flannel-v6.1")
OTHER_MAC = "02:00:00:00:00:99"


def blocked(node: str, source: str) -> Inject:
    """Drop the tunnel packets that arrive at a Node from another one."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        rules = "\n".join(
            f"{FAMILY[':' in address]} saddr {address} udp dport {PORT} drop"
            for address in site.addresses(source)
        )
        with on_node(node, "tunnel", EARLY, rules)(site):
            yield

    return inject


def other_mac(node: str) -> Inject:
    """Give the ends of a Node's tunnels other MACs than the other Nodes know."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        before = {device: _mac(site, node, device) for device in DEVICES}
        try:
            for device in DEVICES:
                _set_mac(site, node, device, OTHER_MAC)
            yield
        finally:
            for device, mac in before.items():
                _set_mac(site, node, device, mac)

    return inject


def _mac(site: Site, node: str, device: str) -> str:
    (found,) = json.loads(site.run(node, "ip", "-j", "link", "show", "dev", device))
    return str(found["address"])


def _set_mac(site: Site, node: str, device: str, mac: str) -> None:
    site.run(node, "ip", "link", "set", "dev", device, "address", mac)
