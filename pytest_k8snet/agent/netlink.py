"""What is asked of the kernel about its network, by netlink."""

from __future__ import annotations

import socket
import struct

from .sockets import LINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NLMSG_ERROR, NLMSG_DONE = 2, 3
ONE, DUMP = 0x001, 0x301  # NLM_F_REQUEST, and NLM_F_DUMP


def netlink(
    kind: int, flags: int, asked: bytes, left: Callable[[], float]
) -> list[tuple[int, bytes]]:
    """Ask the kernel about its network; give each answer's type and what follows.

    It needs no privilege. LEFT tells the seconds that there are for an answer.
    """
    header = struct.pack("=IHHII", 16 + len(asked), kind, flags, 1, 0)
    found: list[tuple[int, bytes]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.send(header + asked)
        while True:
            sock.settimeout(left())
            data, offset = sock.recv(LINE), 0
            while offset + 16 <= len(data):
                length, kind = struct.unpack_from("=IH", data, offset)
                if kind == NLMSG_DONE:
                    return found
                if kind == NLMSG_ERROR and flags == DUMP:
                    raise OSError("netlink refused the dump")
                found.append((kind, data[offset + 16 : offset + length]))
                offset += (length + 3) & ~3
            if flags != DUMP:
                return found


def attributes(message: bytes, offset: int) -> Any:
    """Yield the (type, value) pairs of a netlink message."""
    while offset + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, offset)
        if length < 4:
            return
        yield kind, message[offset + 4 : offset + length]
        offset += (length + 3) & ~3
