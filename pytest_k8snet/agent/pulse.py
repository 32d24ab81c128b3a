"""Whether this machine lets an agent run: while it does not, time-outs say nothing."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

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
    A server that was never heard is not waited for: loopback may not work.

    Args:
        ports: those of the server in this container, by NAME/PROTOCOL; maybe none.
        report: takes seconds, each of them once.

    """
    port = next((port for name, port in ports.items() if name.endswith("/udp")), 0)
    server = _dial(port)
    heard = waiting = owed = False
    while True:
        due = time.monotonic()
        if not waiting:
            due += PULSE
            time.sleep(PULSE)
        sent = time.monotonic()
        answered = server is not None and _answers(server)
        if owed and answered and server:
            # What it answers to the other questions is not news.
            server.close()
            server = _dial(port)
        owed = not answered
        heard |= answered
        waiting = heard and not answered
        late = (time.monotonic() if heard else sent) - due
        if late > LATE:
            report(late)


def _dial(port: int) -> socket.socket | None:
    """Make a socket that is connected to a port of loopback; None without a port."""
    if not port:
        return None
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(PULSE)
    with suppress(OSError):  # then nothing can be sent, either
        sock.connect(("127.0.0.1", port))
    return sock


def _answers(server: socket.socket) -> bool:
    """Ask, and give whether an answer, to whichever question, comes within a pulse."""
    try:
        server.send(QUESTION)
        server.recv(len(QUESTION))
    except TimedOut:
        return False
    except OSError:
        time.sleep(PULSE)
        return False
    return True
