"""Operations that have the other end say who it is."""

from __future__ import annotations

import json
import os
import threading
import time

from .asking import dial, exchange
from .outcomes import ANSWERED_WRONGLY, CONNECTED, NOT_PROBED, TOO_BIG, Stop
from .sockets import read_line, route_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from .probe import Probe, Reply

MAX_DATAGRAM = 65507  # what IPv4 can carry, whatever the loopback's MTU says

SOURCE_PORTS: dict[tuple[int, bool], threading.Lock] = {}


def op_connect(probe: Probe) -> str:
    """Connect and exchange a line (TCP, SCTP), or exchange one datagram (UDP)."""
    address = probe.address()
    source = probe.number("source_port", 0)
    if not source:
        return greet(probe, address)
    # Probes from one port take turns: two sockets cannot have it at a time.
    with SOURCE_PORTS.setdefault((source, ":" in address), threading.Lock()):
        probe.begin = time.monotonic()
        return greet(probe, address)


def greet(probe: Probe, address: str) -> str:
    """Have the server at an address say who it is."""
    if probe.text("protocol", "tcp") == "udp":
        greet_by_datagram(probe, address, probe.number("size", 0))
        return CONNECTED
    with dial(probe, address) as sock:
        if probe.request.get("handshake"):
            # Somebody else's server: nothing is known of what it would answer.
            return CONNECTED
        idle = probe.number("idle", 0)
        for question in (b'{"more": 1}\n', b"{}\n")[not idle :]:
            ask_who(probe, sock, question)
            time.sleep(idle)
            idle = 0
        if probe.number("source_port", 0):
            await_end(sock)
    return CONNECTED


def ask_who(probe: Probe, sock: socket.socket, question: bytes) -> None:
    """Ask over a connection who is at the other end."""
    probe.phase("send")
    sock.sendall(question)
    probe.phase("receive")
    sock.settimeout(probe.left())
    line = read_line(sock, bytearray())
    if not line:
        raise Stop(ANSWERED_WRONGLY, "closed without an answer")
    probe.take_identity(line)


HELD: dict[tuple[str, int], socket.socket] = {}


def op_hold(probe: Probe) -> str:
    """Connect, and keep the connection for ``resume``, the last one per target."""
    key = probe.text("address"), probe.number("port")
    sock = dial(probe, probe.address())
    try:
        ask_who(probe, sock, b'{"more": 1}\n')
    except BaseException:
        sock.close()
        raise
    before, HELD[key] = HELD.get(key), sock
    if before:
        before.close()
    return CONNECTED


def op_resume(probe: Probe) -> str:
    """Ask again over the connection that was kept."""
    sock = HELD.get((probe.text("address"), probe.number("port")))
    if sock is None:
        raise Stop(NOT_PROBED, "no connection is kept")
    sock.settimeout(probe.left())
    ask_who(probe, sock, b'{"more": 1}\n')
    return CONNECTED


def await_end(sock: socket.socket) -> None:
    """Let the server close first: who does keeps the port pair in TIME_WAIT.

    In the client, that would keep the next probe from this port from being sent.
    """
    sock.settimeout(1)
    try:
        sock.recv(1)
    except OSError:
        return


def greet_by_datagram(probe: Probe, address: str, size: int, df: bool = False) -> Reply:
    """Exchange one datagram with an agent, padded to SIZE."""
    # The nonce tells this answer from a late one to an earlier probe of this port.
    nonce = os.urandom(6).hex()
    question = json.dumps({"n": nonce, **({"df": True} if df else {})}).encode() + b"\n"
    # The answer is never longer than the question, so leave it room.
    payload = question.ljust(max(size, 400 if not df else 0))

    def accept(data: bytes) -> Reply | None:
        line = data.partition(b"\n")[0]
        seen = probe.take_identity(line)
        if seen.get("error"):
            raise Stop(TOO_BIG, f"the way back: {seen['error']}")
        if seen.get("n") != nonce:
            return None
        if len(data) != len(payload) or seen.get("size") != len(payload):
            got = f"{len(data)} bytes for {len(payload)}"
            raise Stop(ANSWERED_WRONGLY, got)
        return seen

    found: Reply = exchange(probe, address, payload, accept, df)
    return found


def op_full_size(probe: Probe) -> str:
    """Exchange a datagram of exactly the path's MTU that no hop may fragment."""
    address = probe.address()
    probe.phase("connect")
    _, mtu = route_to(address, probe.number("port"))
    headers = 48 if ":" in address else 28
    probe.reply["mtu"] = mtu
    greet_by_datagram(probe, address, min(mtu - headers, MAX_DATAGRAM), df=True)
    probe.reply["values"] = [str(mtu)]
    return CONNECTED
