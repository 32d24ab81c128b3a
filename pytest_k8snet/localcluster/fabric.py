"""The wires: a bridge in a namespace of its own, to which all Nodes are plugged.

The fabric has no uplink, so that nothing a test does can leave the machine. It is
every Node's default gateway, because a process on a Node that connects to a
ClusterIP needs some route before the service proxy can rewrite the address; what it
cannot deliver it answers as unreachable, at once instead of after a time-out.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from . import state
from .commands import run
from .errors import LocalClusterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .state import ClusterRecord

FABRIC, OUTSIDE = "fabric", "outside"
LINKS = Path("/sys/class/net")
NAMESPACES = Path("/run/netns")
ALIAS = "k8snet cluster "


def lay(cluster: ClusterRecord) -> None:
    """Make the namespaces and the links between them."""
    fabric = cluster.netns(FABRIC)
    places = [(cluster.netns(node.short), node.host) for node in cluster.nodes]
    places.append((cluster.netns(OUTSIDE), state.OUTSIDE_HOST))
    _ip(["netns add " + name for name in (fabric, *(name for name, _ in places))])
    _ip(
        [
            "link set lo up",
            "link add br0 type bridge",
            *(
                f"link add v{host} type veth peer name eth0 netns {name}"
                for name, host in places
            ),
            # Our own namespace has no name: it is where this process is.
            f"link add host type veth peer name {cluster.link} netns {os.getpid()}",
            *(f"link set v{host} master br0 up" for _, host in places),
            "link set host master br0 up",
        ],
        fabric,
    )
    if "ipv6" in cluster.families:
        _enable_ipv6(cluster, [fabric, *(name for name, _ in places)])
    _ip(
        [
            *_addresses(cluster, state.FABRIC_HOST, "br0"),
            "link set br0 up",
            *_unreachable(cluster),
        ],
        fabric,
    )
    for name, host in places:
        gateways = cluster.addresses(state.FABRIC_HOST)
        _ip(
            [
                "link set lo up",
                *_addresses(cluster, host, "eth0"),
                "link set eth0 up",
                *(f"route add {_everything(g)} via {g}" for g in gateways),
            ],
            name,
        )
    _ip(
        [
            f"link set {cluster.link} alias '{ALIAS}{cluster.name}'",
            *_addresses(cluster, state.MACHINE_HOST, cluster.link),
            f"link set {cluster.link} up",
        ]
    )
    run(["ip", "netns", "exec", fabric, "sh", "-c", FORWARD])


def _enable_ipv6(cluster: ClusterRecord, namespaces: list[str]) -> None:
    """Where a machine has IPv6 switched off, new links and namespaces have so, too."""
    conf = Path("/proc/sys/net/ipv6/conf")
    # Of our own namespace only the one link is ours to change.
    (conf / cluster.link / "disable_ipv6").write_text("0")
    switch = f"for all in {conf}/*/disable_ipv6; do echo 0 >$all; done"
    for netns in namespaces:
        run(["ip", "netns", "exec", netns, "sh", "-c", switch])


# The answers are not to be rationed: tests ask often.
FORWARD = """
cd /proc/sys/net
echo 1 >ipv4/ip_forward
echo 0 >ipv4/icmp_ratelimit
[ ! -e ipv6 ] || echo 1 >ipv6/conf/all/forwarding
[ ! -e ipv6 ] || echo 0 >ipv6/icmp/ratelimit
nft -f - <<'.'
table ip k8snet {
  chain forward {
    type filter hook forward priority filter; policy accept;
    oifname "lo" reject with icmp type host-unreachable
  }
}
.
"""


def _addresses(cluster: ClusterRecord, host: int, link: str) -> list[str]:
    return _address_lines(cluster.addresses(host), link)


def _address_lines(addresses: Sequence[str], link: str) -> list[str]:
    # Without nodad an IPv6 address is of no use for its first two seconds.
    return [
        f"addr add {address}/64 dev {link} nodad"
        if ":" in address
        else f"addr add {address}/24 dev {link}"
        for address in addresses
    ]


def _unreachable(cluster: ClusterRecord) -> list[str]:
    """Return routes for all that is not on the fabric.

    An IPv4 one to be rejected on its way: the kernel answers for an unreachable route
    but once a second, and whoever asks more often waits for a time-out. IPv6 has no
    such limit, and refuses to route into the loopback.
    """
    # The metric is the largest, so that any real route is preferred.
    return [
        f"route add unreachable ::/0 metric {2**32 - 1}"
        if ":" in address
        else "route add 0.0.0.0/0 dev lo"
        for address in cluster.addresses(state.FABRIC_HOST)
    ]


def _everything(address: str) -> str:
    return "::/0" if ":" in address else "0.0.0.0/0"


def _ip(lines: list[str], netns: str = "") -> None:
    where = ["-n", netns] if netns else []
    run(["ip", *where, "-batch", "-"], text="\n".join(lines) + "\n")


def outside_command(cluster: ClusterRecord) -> tuple[str, ...]:
    """Return the argv prefix that runs a command outside the cluster."""
    return ("ip", "netns", "exec", cluster.netns(OUTSIDE))


def remove(name: str) -> None:
    """Remove every namespace and link of a cluster, whatever is left of them."""
    for link in LINKS.iterdir():
        try:
            alias = (link / "ifalias").read_text().strip()
        except OSError:
            continue
        if alias == f"{ALIAS}{name}":
            run(["ip", "link", "del", link.name], check=False)
    # A killed `up` may have made the link and not yet named it.
    record = state.load(name)
    if record and (LINKS / record.link).exists():
        run(["ip", "link", "del", record.link], check=False)
    for netns in namespaces(name):
        run(["ip", "netns", "del", netns])


def namespaces(name: str) -> list[str]:
    """Return the existing namespaces of one cluster.

    The whole name is matched: "a" must not find what belongs to "a-b".
    """
    ours = re.compile(
        rf"k8snet-{re.escape(name)}-({FABRIC}|{OUTSIDE}|(control-plane|worker)\d*)"
    )
    if not NAMESPACES.is_dir():
        return []
    return sorted(p.name for p in NAMESPACES.iterdir() if ours.fullmatch(p.name))


def network(text: str) -> state.Network:
    """Read a subnet."""
    return ipaddress.ip_network(text, strict=False)


def free_index(avoid: list[state.Network]) -> int:
    """Choose Node networks that nothing on this machine uses; hold the lock."""
    taken = {record.index for record in state.records()}
    used = _networks_in_use() + avoid
    for index in range(256):
        wanted = state.subnets(index, ("ipv4", "ipv6"))
        clash = any(
            mine.version == other.version and mine.overlaps(other)
            for mine in wanted
            for other in used
        )
        if index not in taken and not clash and not (LINKS / f"k8snet{index}").exists():
            return index
    raise LocalClusterError(
        "no Node network is free: 10.203.0.0/24 to 10.203.255.0/24 and "
        "fd00:203:0::/64 to fd00:203:ff::/64 all overlap with routes of this machine "
        "or with the cluster's own subnets; `k8snet cluster list` shows what runs"
    )


def _networks_in_use() -> list[state.Network]:
    found: list[state.Network] = []
    for family in ("-4", "-6"):
        said = run(["ip", "-j", family, "route", "show", "table", "all"], check=False)
        for route in json.loads(said.stdout or "[]"):
            target = str(route.get("dst", "default"))
            try:
                found_network = network(target)
            except ValueError:
                # "default", and what is not an address at all.
                continue
            if found_network.prefixlen:
                found.append(found_network)
    return found
