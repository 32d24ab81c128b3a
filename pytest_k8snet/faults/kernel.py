"""What a Node's kernel does with the packets that it passes on."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from pytest_k8snet.faults.fault import together
from pytest_k8snet.faults.site import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.faults.fault import Inject
    from pytest_k8snet.faults.site import Site

SETTINGS = "/proc/sys/net"
FORWARDING = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")
BRIDGED = ("bridge/bridge-nf-call-iptables", "bridge/bridge-nf-call-ip6tables")
TOOLS = ("iptables", "ip6tables")
ESTABLISHED = ("FORWARD", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED")

CONNECTIONS = f"{SETTINGS}/netfilter/nf_conntrack"
ENTRY = (
    "-A -p udp -s 198.18.{}.{} -d 198.19.0.1 --sport {} --dport 9 "
    "-t 3600 -u ASSURED,SEEN_REPLY\n"
)
PORTS = 60000
PASSING_STATES = ("SYN_SENT", "SYN_RECV", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK")
OVER = (*PASSING_STATES, "TIME_WAIT", "CLOSE")
"""The states in which a TCP connection is forgotten within minutes."""

FORGET = "\n".join(
    f"conntrack -D -f {family} -p {what} || true"
    for family in ("ipv4", "ipv6")
    for what in ("udp", "icmp", "icmpv6", *(f"tcp --state {state}" for state in OVER))
)


def switched(node: str, settings: tuple[str, ...], value: int) -> Inject:
    """Have settings of a Node's network changed."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        paths = [f"{SETTINGS}/{one}" for one in settings]
        before = [site.run(node, "cat", path) for path in paths]
        try:
            for path in paths:
                site.run(node, "tee", path, text=str(value))
            yield
        finally:
            for path, old in zip(paths, before, strict=True):
                site.run(node, "tee", path, text=old)

    return inject


def said_to_be_on(node: str, settings: tuple[str, ...]) -> Inject:
    """Have what runs on a Node read 1 for settings, whatever they are.

    The bridge plugin switches forwarding on for each Pod, where it does not read that
    it is. What has a file system of its own, as Pods have, still reads the truth.
    """

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        own = site.node(node)
        said = own.write("said-to-be-on", "1\n")
        covered = []
        try:
            for one in settings:
                site.run(node, "mount", "--bind", said, f"{SETTINGS}/{one}")
                covered.append(one)
            yield
        finally:
            for one in covered:
                site.run(node, "umount", f"{SETTINGS}/{one}")
            (own.folder / "said-to-be-on").unlink()

    return inject


def forwarding_off(node: str) -> Inject:
    """Have a Node pass no packet on."""
    return together(switched(node, FORWARDING, 0), said_to_be_on(node, FORWARDING))


def unfiltered_bridge(node: str) -> Inject:
    """Have what a Node's bridge passes on by itself go past the Service rules."""
    return switched(node, BRIDGED, 0)


def forward_policy_drop(node: str) -> Inject:
    """Have a Node pass on no connection that is new, as a hardened one does."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        try:
            for tool in TOOLS:
                site.run(node, tool, "-I", *ESTABLISHED, "-j", "ACCEPT")
                site.run(node, tool, "-P", "FORWARD", "DROP")
            yield
        finally:
            for tool in TOOLS:
                site.run(node, tool, "-P", "FORWARD", "ACCEPT")
                site.run(node, tool, "-D", *ESTABLISHED, "-j", "ACCEPT")

    return inject


def connections_exhausted(node: str) -> Inject:
    """Fill a Node's table of connections, so that it takes no new one."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        own = site.node(node)
        most = int(site.run(node, "cat", f"{CONNECTIONS}_max"))
        entries = (
            ENTRY.format(i // PORTS // 250, i // PORTS % 250 + 1, 1024 + i % PORTS)
            for i in itertools.count()
        )

        def room() -> int:
            return most - int(site.run(node, "cat", f"{CONNECTIONS}_count"))

        def full() -> bool:
            missing = room()
            if missing > 0:
                filling = own.write("filling", "".join(islice(entries, missing)))
                # It fails when others take the last of the room meanwhile.
                filled = 'conntrack -R "$1" || true'
                site.run(node, "sh", "-c", filled, "fill", filling)
            return missing <= 0

        try:
            # What is over would make room while the fault is to last.
            site.run(node, "sh", "-c", FORGET)
            wait_until(full, f"{most} connections on {node}", 30)
            yield
        finally:
            (own.folder / "filling").unlink(missing_ok=True)
            site.run(node, "conntrack", "-D", "-p", "udp", "-d", "198.19.0.1")
            wait_until(lambda: room() > 0, f"room for connections on {node}", 10)

    return inject
