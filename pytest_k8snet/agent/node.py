"""The operation that looks at a Node's network; nothing is changed."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess

from .addresses import family_of
from .netlink import DUMP, NLMSG_ERROR, ONE, attributes, netlink
from .outcomes import ANSWERED, NOT_PROBED, Stop
from .probe import Probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .options import Options

HOST = "/host"
"""Where a privileged Pod has the Node's file system, and others have nothing."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MOST_OUTPUT = 8 << 20
RTM_GETROUTE, RTA_DST, RTA_OIF, RTA_GATEWAY = 26, 1, 4, 5
RTM_GETNEIGH, AF_BRIDGE, NDA_DST, NDA_LLADDR = 30, 7, 1, 2

SETTINGS = (
    *("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"),
    *("net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"),
    *("net.netfilter.nf_conntrack_count", "net.netfilter.nf_conntrack_max"),
    *("net.ipv4.conf.all.rp_filter", "net.ipv4.conf.default.rp_filter"),
)

RULES = (
    ("nft", "list", "ruleset"),
    ("iptables-save", "-c"),
    ("ip6tables-save", "-c"),
)

PLUGINS = "/etc/cni/net.d"
ADDRESSES = "/var/lib/cni/networks"


def first_line(path: str) -> str:
    """Give what a file of the kernel says; "" when there is none."""
    try:
        with open(path, encoding="latin-1") as file:
            return file.readline().strip()
    except OSError:
        return ""


def look_at_settings(_: Probe) -> list[str]:
    """Give "name=value" of every setting, with no value where there is none."""
    files = ((name, name.replace(".", "/")) for name in SETTINGS)
    return [f"{name}={first_line(f'/proc/sys/{file}')}" for name, file in files]


def settings(options: Options) -> int:
    """Write the settings into a file: what a Node says that no stream reaches."""
    with open(options.text("out"), "w", encoding="ascii") as out:
        out.write("\n".join(look_at_settings(Probe({}, "", {}))))
    return 0


def look_at_links(_: Probe) -> list[str]:
    """Describe every network device, and how it is a port of a bridge."""
    found = []
    for _number, name in sorted(socket.if_nameindex()):
        place = f"/sys/class/net/{name}"
        try:
            with open(f"{place}/uevent", encoding="latin-1") as file:
                told = dict(line.strip().partition("=")[::2] for line in file)
        except OSError:
            told = {}
        state = "up" if int(first_line(f"{place}/flags") or "0", 16) & 1 else "down"
        line = f"{name} {told.get('DEVTYPE', 'device')} {state}"
        line += (
            f" mac={first_line(f'{place}/address')} mtu={first_line(f'{place}/mtu')}"
        )
        hairpin = first_line(f"{place}/brport/hairpin_mode")
        found.append(f"{line} hairpin={hairpin}" if hairpin else line)
    return found


def look_at_route(probe: Probe) -> list[str]:
    """Ask the kernel which way leads to an address, as ``ip route get`` does."""
    address = probe.text("address")
    family = family_of(address)
    packed = socket.inet_pton(family, address)
    asked = struct.pack("=8BI", family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    asked += struct.pack("=HH", 4 + len(packed), RTA_DST) + packed
    ((kind, answer),) = netlink(RTM_GETROUTE, ONE, asked, probe.left)
    if kind == NLMSG_ERROR:
        number = -struct.unpack_from("=i", answer)[0]
        return [errno.errorcode.get(number, str(number))]
    told = dict(attributes(answer, 12))
    via = told.get(RTA_GATEWAY)
    way = [f"via {socket.inet_ntop(family, via)}"] if via else []
    if RTA_OIF in told:
        (index,) = struct.unpack("=I", told[RTA_OIF])
        way.append(f"dev {socket.if_indextoname(index)}")
    return [" ".join(way)]


def look_at_forwarding(probe: Probe) -> list[str]:
    """Say where tunnels send the frames for each hardware address."""
    asked = struct.pack("=B3xiHBB", AF_BRIDGE, 0, 0, 0, 0)
    found = []
    for _kind, entry in netlink(RTM_GETNEIGH, DUMP, asked, probe.left):
        (index,) = struct.unpack_from("=i", entry, 4)
        told = dict(attributes(entry, 12))
        to, mac = told.get(NDA_DST), told.get(NDA_LLADDR)
        if to and mac:
            family = socket.AF_INET if len(to) == 4 else socket.AF_INET6
            name = socket.if_indextoname(index)
            found.append(f"{name} {mac.hex(':')} to {socket.inet_ntop(family, to)}")
    return sorted(found)


def look_at_rules(probe: Probe) -> list[str]:
    """Give what the Node's own programs say of its packet filters.

    A program that the Node does not have, or that fails, says nothing.
    """
    said = [run_on_node(probe, argv) for argv in RULES]
    if not any(said):
        raise Stop(NOT_PROBED, "neither nft nor iptables-save runs on the Node")
    return [line for text in said for line in text.splitlines()]


def run_on_node(probe: Probe, argv: tuple[str, ...]) -> str:
    """Run one of the programs that are named in this file, as the Node has it."""

    def enter() -> None:
        os.chroot(HOST)
        os.chdir("/")

    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": PATH, "LC_ALL": "C"},
            preexec_fn=enter,
            timeout=probe.left(),
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout[:MOST_OUTPUT].decode("utf-8", "replace")


def look_at_plugins(_: Probe) -> list[str]:
    """Name the Node's CNI configurations, and count the addresses it has given away."""
    if not os.path.isdir(HOST):
        raise Stop(NOT_PROBED, "the Node's files are not here")
    found = [f"{PLUGINS}: {name}" for name in names_in(HOST + PLUGINS)]
    for network in names_in(HOST + ADDRESSES):
        given = names_in(f"{HOST}{ADDRESSES}/{network}")
        count = sum(name[:1].isdigit() for name in given)
        found.append(f"{ADDRESSES}/{network}: {count} addresses")
    return found


def names_in(folder: str) -> list[str]:
    """List a folder; nothing when there is none."""
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


LOOKS: dict[str, Callable[[Probe], list[str]]] = {
    "settings": look_at_settings,
    "links": look_at_links,
    "route": look_at_route,
    "forwarding": look_at_forwarding,
    "rules": look_at_rules,
    "plugins": look_at_plugins,
}


def op_look(probe: Probe) -> str:
    """Report what there is to see on this network; nothing is changed."""
    probe.reply["values"] = LOOKS[probe.text("what")](probe)
    return ANSWERED
