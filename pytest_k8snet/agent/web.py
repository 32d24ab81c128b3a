"""What is asked by HTTP, and the operation that asks for no more than a status."""

from __future__ import annotations

from .addresses import plain
from .asking import dial
from .outcomes import ANSWERED, ANSWERED_WRONGLY, Stop
from .sockets import read_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from .probe import Probe


def op_http(probe: Probe) -> str:
    """Ask a host for a path, and report the status."""
    address = probe.address()
    host = probe.text("host", plain(address))
    with dial(probe, address) as sock:
        probe.reply["values"] = [ask_by_http(probe, sock, host)]
    return ANSWERED


def request_path(probe: Probe, sock: socket.socket, host: str) -> None:
    """Send one GET."""
    probe.phase("send")
    path = probe.text("path", "/version")
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    sock.sendall(request.encode())
    probe.phase("receive")
    sock.settimeout(probe.left())


def ask_by_http(probe: Probe, sock: socket.socket, host: str) -> str:
    """Give the HTTP status of one GET."""
    request_path(probe, sock, host)
    words = read_line(sock, bytearray()).split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/"):
        raise Stop(ANSWERED_WRONGLY, "not HTTP")
    return words[1].decode("latin-1")
