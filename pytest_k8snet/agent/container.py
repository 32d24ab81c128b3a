"""Operations on the container itself: what it sees, what it may bind, its end."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import struct
import time

from .addresses import family_of, plain
from .netlink import DUMP, attributes, netlink
from .outcomes import ANSWERED, NOT_PROBED, Stop
from .processes import FIRST, started, write_json
from .resolver import hosts_of, resolv_conf
from .sockets import route_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .options import Options
    from .probe import Probe

RTM_NEWADDR, RTM_GETADDR = 20, 22


def interface_addresses() -> list[str]:
    """Give every address of every interface but loopback and link-local ones.

    By netlink, which needs no privilege and knows secondary addresses too.
    """
    found = []
    asked = struct.pack("=BBBBI", 0, 0, 0, 0, 0)
    for kind, data in netlink(RTM_GETADDR, DUMP, asked, lambda: 2.0):
        if kind != RTM_NEWADDR:
            continue
        family = data[0]
        values = dict(attributes(data, 8))
        # With a peer address, IFA_ADDRESS is the peer's and IFA_LOCAL is ours.
        packed = values.get(2) or values.get(1)
        if packed and family in (socket.AF_INET, socket.AF_INET6):
            found.append(socket.inet_ntop(family, packed))
    hidden = ("127.", "169.254.", "::1", "fe8", "fe9", "fea", "feb")
    return sorted(a for a in set(found) if a != "::1" and not a.startswith(hidden))


def default_interface() -> str:
    """Give the interface of the default route, else eth0."""
    for path, where, name in (
        ("/proc/net/route", 1, 0),
        ("/proc/net/ipv6_route", 1, 9),
    ):
        try:
            with open(path, encoding="ascii") as lines:
                rows = [line.split() for line in lines]
        except OSError:
            continue
        for row in rows:
            if len(row) <= max(where, name) or row[name] == "lo":
                continue
            if row[where] == "00000000" or (name == 9 and row[1] == "00"):
                return row[name]
    return "eth0"


def interface_mtu(name: str) -> int:
    """Give an interface's MTU."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        wanted = struct.pack("16s16x", name.encode()[:15])
        answer = fcntl.ioctl(sock.fileno(), 0x8921, wanted)  # SIOCGIFMTU
    mtu: int = struct.unpack_from("16xi", answer)[0]
    return mtu


def init_addresses(directory: str) -> list[str]:
    """Give the addresses that the init container saw."""
    with open(os.path.join(directory, "init.json"), encoding="utf-8") as file:
        return [str(address) for address in json.load(file)["addresses"]]


def first_outcome(probe: Probe) -> list[str]:
    """Give what came of the very first connection that this container tried."""
    path = os.path.join(probe.state_dir, FIRST)
    while not os.path.exists(path):
        time.sleep(min(0.05, probe.left()))
    with open(path, encoding="utf-8") as file:
        return [str(json.load(file)["outcome"])]


FACTS: dict[str, Callable[[Probe], list[str]]] = {
    "addresses": lambda _: interface_addresses(),
    "hostname": lambda _: [socket.gethostname()],
    "nameservers": lambda _: resolv_conf("nameserver"),
    "search": lambda _: resolv_conf("search"),
    "options": lambda _: resolv_conf("options"),
    "source": lambda probe: [
        plain(route_to(probe.text("address"), probe.number("port"))[0][0])
    ],
    "first": first_outcome,
    "hosts": lambda probe: hosts_of(probe.text("name")),
    "netns": lambda _: [os.readlink("/proc/self/ns/net")],
    "init-addresses": lambda probe: init_addresses(probe.state_dir),
    "mtu": lambda probe: [
        str(interface_mtu(probe.text("interface", "") or default_interface()))
    ],
    "interfaces": lambda _: sorted(name for _, name in socket.if_nameindex()),
}


def op_fact(probe: Probe) -> str:
    """Report one thing that the container sees of itself."""
    try:
        probe.reply["values"] = FACTS[probe.text("field")](probe)
    except OSError as error:
        # Not seen is not the same as seen to be wrong.
        raise Stop(NOT_PROBED, str(error)) from None
    return ANSWERED


def facts(options: Options) -> int:
    """Write what an init container sees, for the main one to read."""
    seen = {
        "addresses": interface_addresses(),
        "hostname": socket.gethostname(),
        "nameservers": resolv_conf("nameserver"),
        "netns": os.readlink("/proc/self/ns/net"),
    }
    write_json(options.text("out"), seen)
    return 0


def op_bind(probe: Probe) -> str:
    """Try to bind a port, and let it go again."""
    address = probe.text("address", "0.0.0.0")  # noqa: S104
    stream = probe.text("protocol", "tcp") == "tcp"
    family = family_of(address)
    kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
    with socket.socket(family, kind) as sock:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            if stream:
                # A listener still counts, a connection in TIME_WAIT does not.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, probe.number("port")))
            if stream:
                sock.listen(1)
        except OSError as error:
            probe.reply["values"] = [errno.errorcode.get(error.errno or 0, str(error))]
            return ANSWERED
    probe.reply["values"] = ["bound"]
    return ANSWERED


def op_restart(probe: Probe) -> str:
    """End the serve process of this container, after this has been answered."""
    pid = int(probe.state.get("pid") or 0)
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read().split(b"\0")
    if b"serve" not in words or started(pid) != probe.state.get("started"):
        raise Stop(NOT_PROBED, f"process {pid} is not this agent's server")

    def end() -> None:
        # The reply has to get out of the container before everything in it ends.
        time.sleep(0.1)
        os.kill(pid, signal.SIGINT)

    probe.after = end
    return ANSWERED
