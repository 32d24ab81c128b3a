"""The operation that moves megabytes, and verifies them."""

from __future__ import annotations

import json

from .asking import dial
from .outcomes import ANSWERED_WRONGLY, CONNECTED, TIMED_OUT, Stop, TimedOut
from .sockets import read_line
from .transfers import MAX_BULK, content, digest_of, known_digest, receive_exactly

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from .probe import Probe

NO_PROGRESS = 4.0  # ARP gives up after 3.1 s: below that a dead hop looks like a drop


def op_bulk(probe: Probe) -> str:
    """Send megabytes, have them confirmed, and take as many back."""
    size = probe.number("bytes", 4 << 20)
    if not 0 < size <= MAX_BULK:
        raise ValueError(f"bytes out of range: {size}")
    with dial(probe, probe.address(), NO_PROGRESS) as sock:
        moved = 0
        try:
            probe.phase("send")
            sock.sendall(json.dumps({"bulk": size}).encode() + b"\n")
            for part in content("up", size):
                moved += send_part(probe, sock, part)
            probe.phase("receive")
            moved = 0
            moved = take_bulk(probe, sock, size)
        except TimedOut:
            done = f"{moved} of {size} bytes" if moved else "nothing"
            verb = "sent" if probe.reply["phase"] == "send" else "received"
            raise Stop(TIMED_OUT, f"no progress, {done} {verb}") from None
    return CONNECTED


def send_part(probe: Probe, sock: socket.socket, part: bytes) -> int:
    """Send all of it; every step of the way has to make progress."""
    view = memoryview(part)
    while view:
        sock.settimeout(probe.left(NO_PROGRESS))
        view = view[sock.send(view) :]
    return len(part)


def take_bulk(probe: Probe, sock: socket.socket, size: int) -> int:
    """Read the identity, the confirmation and the transfer back."""

    class Patient:
        """The socket, with a fresh time-out for every read."""

        def recv(self, count: int) -> bytes:
            sock.settimeout(probe.left(NO_PROGRESS))
            return sock.recv(count)

    reader: Any = Patient()
    buffer = bytearray()
    identity = read_line(reader, buffer)
    if not identity:
        raise Stop(ANSWERED_WRONGLY, "closed without an answer")
    probe.take_identity(identity)
    confirmed = read_line(reader, buffer).decode("latin-1")
    if known_digest("up", size) not in confirmed:
        raise Stop(ANSWERED_WRONGLY, f"not the bytes that were sent: {confirmed!r}")
    got = digest_of(receive_exactly(reader, buffer, size))
    if got != known_digest("down", size):
        raise Stop(ANSWERED_WRONGLY, "not the bytes that the server sent")
    return size
