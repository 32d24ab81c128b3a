"""What Linux lets a program say to a socket, and ask of it."""

from __future__ import annotations

import socket
import struct

from .addresses import family_of, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LINE = 65536

# Linux's numbers: the socket module names only some of them.
SOL_IP, SOL_IPV6 = 0, 41
IP_PKTINFO, IP_MTU_DISCOVER, IP_RECVERR, IP_MTU = 8, 10, 11, 14
IPV6_MTU_DISCOVER, IPV6_MTU, IPV6_RECVERR = 23, 24, 25
IPV6_RECVPKTINFO, IPV6_PKTINFO, IPV6_DONTFRAG = 49, 50, 62
PMTUDISC_WANT, PMTUDISC_DO = 1, 2

TRANSPORTS = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, 132),
}


def send_at_once(sock: socket.socket) -> None:
    """Have what is short sent without waiting for more, where that can be said."""
    if sock.proto == socket.IPPROTO_TCP:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def take_own_port(sock: socket.socket) -> None:
    """Bind a connection to a port that no other socket of the Pod has.

    Left to itself Linux gives one port to connections to several destinations. Where
    two of these are one backend, by its own address and by a Service's, and the
    network translates the address alone, each breaks the other: cilium/cilium#37566.
    """
    sock.bind(("", 0))


def report_errors(sock: socket.socket, on: int) -> None:
    """Have ICMP errors queued at the socket, with their type and their sender."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(SOL_IPV6, IPV6_RECVERR, on)
    else:
        sock.setsockopt(SOL_IP, IP_RECVERR, on)


def forbid_fragments(sock: socket.socket, on: bool = True) -> None:
    """Have DF set on what is sent, and EMSGSIZE when it does not fit."""
    how = PMTUDISC_DO if on else PMTUDISC_WANT
    if sock.family == socket.AF_INET6:
        sock.setsockopt(SOL_IPV6, IPV6_MTU_DISCOVER, how)
        sock.setsockopt(SOL_IPV6, IPV6_DONTFRAG, int(on))
    else:
        sock.setsockopt(SOL_IP, IP_MTU_DISCOVER, how)


def icmp_error(sock: socket.socket) -> str:
    """Read the ICMP error behind the last errno: "3/13 from 10.0.0.1", or ""."""
    try:
        sock.setblocking(False)  # after a reset there is nothing, and never will be
        control = sock.recvmsg(512, 512, socket.MSG_ERRQUEUE)[1]
    except OSError:
        return ""
    for level, kind, data in control:
        if (level, kind) not in ((SOL_IP, IP_RECVERR), (SOL_IPV6, IPV6_RECVERR)):
            continue
        if len(data) < 24:
            continue
        origin, icmp_type, code = struct.unpack_from("=4xBBB", data)
        if origin not in (2, 3):  # SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6
            continue
        (family,) = struct.unpack_from("=H", data, 16)
        sender = ""
        if family == socket.AF_INET:
            sender = socket.inet_ntop(socket.AF_INET, data[20:24])
        elif family == socket.AF_INET6 and len(data) >= 40:
            sender = plain(socket.inet_ntop(socket.AF_INET6, data[24:40]))
        return f"{icmp_type}/{code} from {sender}"
    return ""


def route_to(address: str, port: int) -> tuple[tuple[Any, ...], int]:
    """Give the own socket address and the MTU of the way there. Sends nothing."""
    family = family_of(address)
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((address, port))
        if family == socket.AF_INET6:
            mtu = sock.getsockopt(SOL_IPV6, IPV6_MTU)
        else:
            mtu = sock.getsockopt(SOL_IP, IP_MTU)
        return sock.getsockname(), mtu


def read_line(sock: socket.socket, buffer: bytearray) -> bytes:
    """Read up to a newline; what follows it stays in the buffer. b"" at the end."""
    while b"\n" not in buffer:
        data = sock.recv(LINE)
        if not data:
            return b""
        buffer += data
        if len(buffer) > 2 * LINE:
            raise ValueError("no line end")
    line, _, rest = bytes(buffer).partition(b"\n")
    buffer[:] = rest
    return line
