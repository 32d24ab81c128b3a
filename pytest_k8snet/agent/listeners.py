"""Sockets that listen, in every IP family that there is."""

from __future__ import annotations

import errno
import socket

from .sockets import TRANSPORTS


def bind_socket(
    family: socket.AddressFamily, transport: str, address: str, port: int
) -> socket.socket | None:
    """Bind one socket; None when this family, or transport, is not available here."""
    kind, protocol = TRANSPORTS[transport]
    try:
        sock = socket.socket(family, kind, protocol)
    except OSError:
        return None
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_DGRAM:
            # What comes in one burst waits here for its turn: as much as may be had.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        if kind == socket.SOCK_STREAM and port:
            # A restarted container finds its own port in TIME_WAIT.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(1024)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRNOTAVAIL:
            return None
        raise
    return sock


def bind_families(
    transport: str, addresses: tuple[str, str], port: int
) -> list[socket.socket]:
    """Bind an IPv4 and an IPv6 socket to one port number, chosen by the kernel for 0.

    The number that is free for one family may be taken in the other: then another
    one is tried.
    """
    for attempt in range(20):
        first = bind_socket(socket.AF_INET, transport, addresses[0], port)
        number = first.getsockname()[1] if first else port
        try:
            second = bind_socket(socket.AF_INET6, transport, addresses[1], number)
        except OSError:
            if first:
                first.close()
            if port or attempt == 19:
                raise
            continue
        return [sock for sock in (first, second) if sock]
    return []
