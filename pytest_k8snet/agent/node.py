"""The operation that looks at a Node's network; nothing is changed."""

from __future__ import annotations

import errno
import http.client
import os
import socket
import struct
import subprocess

from .addresses import family_of, spelled
from .flows import flows
from .netlink import DUMP, NLMSG_ERROR, ONE, attributes, netlink
from .outcomes import (
    ANSWERED,
    ANSWERED_WRONGLY,
    NOT_PROBED,
    OUTCOME_OF_ERRNO,
    REFUSED,
    TIMED_OUT,
    Stop,
    TimedOut,
)
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

STATES = {
    0x01: "INCOMPLETE",
    0x02: "REACHABLE",
    0x04: "STALE",
    0x08: "DELAY",
    0x10: "PROBE",
    0x20: "FAILED",
    0x40: "NOARP",
    0x80: "PERMANENT",
}
"""Of neighbours, as ``ip neigh`` names them."""

LOOPBACK, KUBELET, KUBE_PROXY = "127.0.0.1", 10248, 10256
"""Where the kubelet says whether it is well, and the port of kube-proxy."""

HEALTH_SECONDS, LOOPBACK_SECONDS = 2.0, 1.0

FEW = 200  # bytes: the first words of an answer

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


def look(options: Options) -> int:
    """Write into a file, as "look value", what a Node says that no stream reaches."""
    probe = Probe({}, "", {})
    lines = [f"settings {value}" for value in look_at_settings(probe)]
    lines += [f"kubelet {value}" for value in look_at_kubelet(probe)]
    with open(options.text("out"), "w", encoding="ascii", errors="replace") as out:
        out.write("\n".join(lines))
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


def way_to(probe: Probe) -> tuple[str, dict[int, bytes]]:
    """Ask the kernel for the route to an address: its attributes, or the errno."""
    address = probe.text("address")
    family = family_of(address)
    packed = socket.inet_pton(family, address)
    asked = struct.pack("=8BI", family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    asked += struct.pack("=HH", 4 + len(packed), RTA_DST) + packed
    ((kind, answer),) = netlink(RTM_GETROUTE, ONE, asked, probe.left)
    if kind == NLMSG_ERROR:
        number = -struct.unpack_from("=i", answer)[0]
        return errno.errorcode.get(number, str(number)), {}
    return "", dict(attributes(answer, 12))


def device(told: dict[int, bytes]) -> int:
    """Give the number of the device that a route leads to; 0 for none."""
    return int(struct.unpack("=I", told.get(RTA_OIF, bytes(4)))[0])


def look_at_route(probe: Probe) -> list[str]:
    """Ask the kernel which way leads to an address, as ``ip route get`` does."""
    problem, told = way_to(probe)
    if problem:
        return [problem]
    via, index = told.get(RTA_GATEWAY), device(told)
    way = [f"via {spelled(via)}"] if via else []
    if index:
        way.append(f"dev {socket.if_indextoname(index)}")
    return [" ".join(way)]


def look_at_neighbour(probe: Probe) -> list[str]:
    """Say what is known of the next hop on the way to an address.

    It is what ``ip neigh`` knows: "ADDRESS dev NAME STATE MAC", with NONE for a state
    when it knows nothing; or the errno when there is no way.
    """
    problem, told = way_to(probe)
    if problem:
        return [problem]
    hop = told.get(RTA_GATEWAY) or told[RTA_DST]
    index = device(told)
    family = socket.AF_INET if len(hop) == 4 else socket.AF_INET6
    known = "NONE"
    asked = struct.pack("=B3xiHBB", family, 0, 0, 0, 0)
    for _kind, entry in netlink(RTM_GETNEIGH, DUMP, asked, probe.left):
        at, state = struct.unpack_from("=iH", entry, 4)
        said = dict(attributes(entry, 12))
        if (at, said.get(NDA_DST)) == (index, hop):
            mac = said.get(NDA_LLADDR, b"").hex(":")
            known = f"{STATES.get(state, 'NONE')} {mac}".rstrip()
    return [f"{spelled(hop)} dev {socket.if_indextoname(index)} {known}"]


def look_at_forwarding(probe: Probe) -> list[str]:
    """Say where tunnels send the frames for each hardware address."""
    asked = struct.pack("=B3xiHBB", AF_BRIDGE, 0, 0, 0, 0)
    found = []
    for _kind, entry in netlink(RTM_GETNEIGH, DUMP, asked, probe.left):
        (index,) = struct.unpack_from("=i", entry, 4)
        told = dict(attributes(entry, 12))
        to, mac = told.get(NDA_DST), told.get(NDA_LLADDR)
        if to and mac:
            name = socket.if_indextoname(index)
            found.append(f"{name} {mac.hex(':')} to {spelled(to)}")
    return sorted(found)


def look_at_flows(probe: Probe) -> list[str]:
    """Give the UDP flows that are tracked to some addresses, and who answers them.

    Only who may administer the network is told: what ``conntrack -L -p udp`` shows.
    """
    addresses = probe.request["addresses"]
    return sorted(flows([str(one) for one in addresses], probe.left))


def look_at_kubelet(probe: Probe) -> list[str]:
    """Ask the kubelet whether it is well."""
    return well(LOOPBACK, KUBELET, probe.left(LOOPBACK_SECONDS))


def look_at_proxy(probe: Probe) -> list[str]:
    """Ask kube-proxy whether it is well: some are told to say so on loopback only."""
    said = well(probe.text("address"), KUBE_PROXY, probe.left(HEALTH_SECONDS))
    if said == [REFUSED]:
        return well(LOOPBACK, KUBE_PROXY, probe.left(LOOPBACK_SECONDS))
    return said


def well(address: str, port: int, seconds: float) -> list[str]:
    """Give the HTTP status, and how the answer begins; or why there is none."""
    asked = http.client.HTTPConnection(address, port, timeout=seconds)
    try:
        asked.request("GET", "/healthz")
        answer = asked.getresponse()
        words = answer.read(FEW).decode("latin-1").split()
    except TimedOut:
        return [TIMED_OUT]
    except OSError as error:
        return [OUTCOME_OF_ERRNO.get(error.errno or 0, ANSWERED_WRONGLY)]
    except http.client.HTTPException:
        return [ANSWERED_WRONGLY]
    finally:
        asked.close()
    return [str(answer.status), " ".join(words)]


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
    "neighbour": look_at_neighbour,
    "forwarding": look_at_forwarding,
    "kubelet": look_at_kubelet,
    "health": look_at_proxy,
    "flows": look_at_flows,
    "rules": look_at_rules,
    "plugins": look_at_plugins,
}


def op_look(probe: Probe) -> str:
    """Report what there is to see on this network; nothing is changed."""
    probe.reply["values"] = LOOKS[probe.text("what")](probe)
    return ANSWERED
