"""The two ways to ask somebody: over a connection, and by a datagram."""

from __future__ import annotations

import socket

from .addresses import family_of, plain, same_address
from .outcomes import TIMED_OUT, Stop, TimedOut
from .sockets import (
    TRANSPORTS,
    forbid_fragments,
    icmp_error,
    report_errors,
    route_to,
    send_at_once,
    take_own_port,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .probe import Probe

RESEND = 1.0  # seconds after which a datagram without an answer is sent again


def dial(probe: Probe, address: str, most: float = 3600.0) -> socket.socket:
    """Connect by TCP or SCTP. The phase is "connect" until the handshake is over."""
    probe.phase("connect")
    probe.reply["address"] = plain(address)
    transport = "sctp" if probe.text("protocol", "tcp") == "sctp" else "tcp"
    sock = socket.socket(family_of(address), *TRANSPORTS[transport])
    try:
        source = probe.number("source_port", 0)
        if source:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("", source))
        else:
            take_own_port(sock)
        report_errors(sock, 1)
        send_at_once(sock)
        sock.settimeout(probe.left(most))
        sock.connect((address, probe.number("port")))
        # Beyond the handshake TCP rides out a stray ICMP error, as any program's does.
        report_errors(sock, 0)
        probe.reply["own"] = plain(sock.getsockname()[0])
    except BaseException as error:
        if isinstance(error, OSError):
            note_failure(probe, sock, error)
        sock.close()
        raise
    return sock


def note_failure(probe: Probe, sock: socket.socket, error: OSError) -> None:
    """Keep what a failed socket still knows."""
    own = plain(sock.getsockname()[0])
    probe.reply["own"] = "" if own in ("0.0.0.0", "::") else own  # noqa: S104
    if not isinstance(error, TimedOut):
        probe.reply["icmp"] = icmp_error(sock)


def exchange(
    probe: Probe,
    address: str,
    payload: bytes,
    accept: Callable[[bytes], Any | None],
    df: bool = False,
) -> Any:
    """Send a datagram and wait for the answer that ACCEPT takes.

    A datagram may get lost without anything being broken: unless the request says
    ``once`` it is sent again, as every resolver does.

    The socket is bound but not connected: an answer from another address, the mark
    of an address translation that was not undone, is then seen, and named.
    """
    port = probe.number("port", 53)
    probe.phase("connect")
    probe.reply["address"] = plain(address)
    own, _ = route_to(address, port)
    probe.reply["own"] = plain(own[0])
    strays: list[str] = []
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as sock:
        sock.bind((own[0], probe.number("source_port", 0), *own[2:]))
        report_errors(sock, 1)
        if df:
            forbid_fragments(sock)
        try:
            probe.phase("send")
            sock.sendto(payload, (address, port))
            probe.phase("receive")
            while True:
                sock.settimeout(probe.left(RESEND))
                try:
                    data, sender = sock.recvfrom(65535)
                except TimedOut:
                    if not probe.request.get("once"):
                        sock.sendto(payload, (address, port))
                    continue
                if sender[1] != port or not same_address(sender[0], address):
                    strays.append(f"{plain(sender[0])} port {sender[1]}")
                    continue
                found = accept(data)
                if found is not None:
                    return found
        except Stop as stop:
            if strays and stop.outcome == TIMED_OUT:
                why = f"an answer came from {strays[0]}"
                raise Stop(TIMED_OUT, why) from None
            raise
        except OSError as error:
            note_failure(probe, sock, error)
            raise
