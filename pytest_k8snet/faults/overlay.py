"""flannel's tunnels between Nodes."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_k8snet.faults.netfilter import EARLY, dropped_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.faults.fault import Inject
    from pytest_k8snet.faults.site import Site

PORT = 8472
DEVICES = ("flannel.1", "flannel-v6.1")
NOBODY = {False: "192.0.2.1", True: "2001:db8::1"}
OTHER_MAC = "02:00:00:00:00:99"


def blocked(node: str, source: str) -> Inject:
    """Drop the tunnel packets that arrive at a Node from another one."""
    rule = f"saddr {{address}} udp dport {PORT}"
    return dropped_for(node, "tunnel", EARLY, rule, lambda s: s.addresses(source))


def other_mac(node: str) -> Inject:
    """Give the ends of a Node's tunnels other MACs than the other Nodes know."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        before = {device: _mac(site, node, device) for device in DEVICES}
        lost = _lost_with(site, node)
        try:
            for device in DEVICES:
                _set_mac(site, node, device, OTHER_MAC)
            site.run(node, "ip", "-batch", "-", text=lost)
            yield
        finally:
            for device, mac in before.items():
                _set_mac(site, node, device, mac)
            site.run(node, "ip", "-batch", "-", text=lost)

    return inject


def wrong_peer(node: str, peer: str) -> Inject:
    """Have a Node send its tunnel packets for another one to nobody."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        changed = []
        try:
            for device in DEVICES:
                for entry in _known(site, node, device):
                    if entry["dst"] in site.addresses(peer):
                        changed.append((device, entry["mac"], entry["dst"]))
                        nobody = NOBODY[":" in entry["dst"]]
                        _lead(site, node, device, entry["mac"], nobody)
            yield
        finally:
            for one in changed:
                _lead(site, node, *one)

    return inject


def down(node: str) -> Inject:
    """Take a Node's ends of the tunnels down, with the routes over them."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        lost = _lost_with(site, node)
        try:
            for device in DEVICES:
                site.run(node, "ip", "link", "set", device, "down")
            yield
        finally:
            site.run(node, "ip", "-batch", "-", text=lost)

    return inject


def _lost_with(site: Site, node: str) -> str:
    """Give the commands that bring back what the kernel forgets with a tunnel's end.

    It forgets neighbours when the MAC changes, and addresses of IPv6 and routes, too,
    when the link goes down.
    """
    lines = [f"link set {device} up" for device in DEVICES]
    for device in DEVICES:
        lines += [
            f"addr replace {one['local']}/{one['prefixlen']} dev {device} nodad"
            for link in _listed(site, node, "addr", device)
            for one in link.get("addr_info", ())
            if one["family"] == "inet6" and one["scope"] == "global"
        ]
        lines += [
            f"neigh replace {one['dst']} lladdr {one['lladdr']} dev {device} "
            "nud permanent"
            for one in _listed(site, node, "neigh", device)
            if "PERMANENT" in one["state"]
        ]
        lines += [
            f"route replace {one['dst']} via {one['gateway']} dev {device} onlink"
            for one in _listed(site, node, "route", device)
            if "gateway" in one
        ]
    return "\n".join(lines) + "\n"


def _listed(site: Site, node: str, what: str, device: str) -> list[dict[str, Any]]:
    """List the addresses, neighbours or routes of a device, in both families."""
    found: list[dict[str, Any]] = []
    for family in ("-4", "-6"):
        argv = ["ip", "-j", family, what, "show", "dev", device]
        found += json.loads(site.run(node, *argv) or "[]")
    return found


def _known(site: Site, node: str, device: str) -> list[dict[str, Any]]:
    """List where a tunnel leads, by the MAC of its other end."""
    argv = ["bridge", "-j", "fdb", "show", "dev", device]
    return [one for one in json.loads(site.run(node, *argv)) if "dst" in one]


def _lead(site: Site, node: str, device: str, mac: str, to: str) -> None:
    site.run(node, "bridge", "fdb", "replace", mac, "dev", device, "dst", to)


def _mac(site: Site, node: str, device: str) -> str:
    (found,) = json.loads(site.run(node, "ip", "-j", "link", "show", "dev", device))
    return str(found["address"])


def _set_mac(site: Site, node: str, device: str, mac: str) -> None:
    site.run(node, "ip", "link", "set", "dev", device, "address", mac)
