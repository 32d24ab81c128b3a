"""Whether this machine lets an agent run: while it does not, time-outs say nothing."""

from __future__ import annotations

import socket
import time

from .outcomes import TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PULSE = 0.25
LATE = 0.1
"""Seconds between two pulses, and by how much one may be late without a word."""

QUESTION = b"{}\n"


def beat(ports: Mapping[str, int], report: Callable[[float], None]) -> None:
    """Report for how long this process, or the server beside it, was not let run.

    A pulse is a datagram over loopback to that server: it is late while either of
    the two waits for a processor, and while the server has more to do than it can.
    An answer that never came says nothing: it may have been lost.

    Args:
        ports: those of the server in this container, by NAME/PROTOCOL; maybe none.
        report: takes seconds, each of them once.

    """
    own = _dial([port for name, port in ports.items() if name.endswith("/udp")][:1])
    heard = waiting = False
    while True:
        before = time.monotonic()
        if not waiting:
            time.sleep(PULSE)
        due = before if waiting else before + PULSE
        asked = time.monotonic()
        try:
            if own and not waiting:
                own.send(QUESTION)
            waiting = own is not None and not _answered(own)
        except OSError:
            own, waiting = None, False
        heard |= own is not None and not waiting
        late = (time.monotonic() if heard else asked) - due
        if late > LATE:
            report(late)


def _dial(ports: list[int]) -> socket.socket | None:
    if not ports:
        return None
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(PULSE)
    try:
        sock.connect(("127.0.0.1", ports[0]))
    except OSError:
        sock.close()
        return None
    return sock


def _answered(own: socket.socket) -> bool:
    try:
        own.recv(len(QUESTION))
    except TimedOut:
        return False
    return True
