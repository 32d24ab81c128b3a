"""Operations on what ICMP tells: echoes, and the hops of a way."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time

from .addresses import family_of, plain
from .outcomes import ANSWERED, UNSUPPORTED, Stop
from .sockets import SOL_IP, SOL_IPV6, icmp_error, report_errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .probe import Probe

IP_TTL, IPV6_UNICAST_HOPS = 2, 16
TRACED = 33434  # traceroute's own: nobody listens there


def op_ping(probe: Probe) -> str:
    """Send one ICMP echo, as far as the kernel lets those without privileges."""
    address = probe.address()
    family = family_of(address)
    kind, protocol, reply = (
        (128, socket.IPPROTO_ICMPV6, 129) if ":" in address else (8, 1, 0)
    )
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM, protocol)
    except OSError as error:
        # Both net.ipv4.ping_group_range and the kernel's build decide.
        name = errno.errorcode.get(error.errno or 0, str(error))
        raise Stop(UNSUPPORTED, f"no ICMP without privileges: {name}") from None
    nonce = os.urandom(16)
    with sock:
        probe.phase("send")
        # The kernel fills in the checksum and the identifier, and sorts by the latter.
        sock.sendto(struct.pack("!BBHHH", kind, 0, 0, 0, 1) + nonce, (address, 0))
        probe.phase("receive")
        while True:
            sock.settimeout(probe.left())
            data, sender = sock.recvfrom(2048)
            if data[:1] == bytes([reply]) and data[8:] == nonce:
                break
    probe.reply["values"] = [plain(sender[0])]
    return ANSWERED


def op_trace(probe: Probe) -> str:
    """Report who answers at each hop on the way to an address, "*" for nobody.

    All hops are asked at the same time; no privileges are needed.
    """
    address = probe.text("address")
    family = family_of(address)
    level, option = (
        (SOL_IPV6, IPV6_UNICAST_HOPS) if ":" in address else (SOL_IP, IP_TTL)
    )
    waiting: dict[int, tuple[int, socket.socket]] = {}
    hops = ["*"] * probe.number("hops", 8)
    poll = select.poll()
    try:
        for hop in range(len(hops)):
            sock = socket.socket(family, socket.SOCK_DGRAM)
            waiting[sock.fileno()] = hop, sock
            report_errors(sock, 1)
            sock.setsockopt(level, option, hop + 1)
            sock.sendto(b"k8snet", (address, TRACED + hop))
            poll.register(sock, select.POLLERR)
        end, reached = time.monotonic() + probe.left(), len(hops)
        while (
            any(hop < reached for hop, _ in waiting.values()) and time.monotonic() < end
        ):
            for number, _ in poll.poll(100):
                hop, sock = waiting.pop(number)
                poll.unregister(number)
                with sock:
                    hops[hop] = icmp_error(sock).rpartition(" ")[2] or "*"
                if hops[hop] == address:
                    reached = min(reached, hop + 1)
    finally:
        for _, sock in waiting.values():
            sock.close()
    probe.reply["values"] = hops[:reached]
    return ANSWERED
