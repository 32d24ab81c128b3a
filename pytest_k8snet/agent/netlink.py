"""What is asked of the kernel about its network, by netlink."""

from __future__ import annotations

import socket
import struct

from .sockets import LINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NLMSG_ERROR, NLMSG_DONE = 2, 3
ONE, DUMP = 0x001, 0x301  # NLM_F_REQUEST, and NLM_F_DUMP

NESTED = 0x8000  # NLA_F_NESTED: a mark, no part of an attribute's type

ROUTES, TRACKED = 0, 12  # NETLINK_ROUTE, and NETLINK_NETFILTER


def netlink(
    kind: int,
    flags: int,
    asked: bytes,
    left: Callable[[], float],
    about: int = ROUTES,
) -> Iterator[tuple[int, bytes]]:
    """Ask the kernel about its network; yield each answer's type and what follows.

    It needs no privilege, but for TRACKED. LEFT tells the seconds that there are for
    an answer.
    """
    header = struct.pack("=IHHII", 16 + len(asked), kind, flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, about) as sock:
        sock.send(header + asked)
        while True:
            sock.settimeout(left())
            data, offset = sock.recv(LINE), 0
            while offset + 16 <= len(data):
                length, kind = struct.unpack_from("=IH", data, offset)
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR and flags == DUMP:
                    raise OSError("netlink refused the dump")
                yield kind, data[offset + 16 : offset + length]
                offset += (length + 3) & ~3
            if flags != DUMP:
                return


def attributes(message: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """Yield the (type, value) pairs of a netlink message."""
    while offset + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, offset)
        if length < 4:
            return
        yield kind & ~NESTED, message[offset + 4 : offset + length]
        offset += (length + 3) & ~3
