"""Operations over HTTP and TLS."""

from __future__ import annotations

from .addresses import plain
from .asking import dial
from .outcomes import ANSWERED, ANSWERED_WRONGLY, CONNECTED, Stop
from .sockets import LINE, read_line

TYPE_CHECKING = False  # importing typing to learn this would cost 5 ms
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


def op_fetch(probe: Probe) -> str:
    """Ask a host for what an agent answers, and report its certificate, if any.

    Whose certificate it is, and whether it is good, is for others to say.
    """
    host = probe.text("host")
    with dial(probe, probe.address()) as sock:
        if not probe.request.get("tls"):
            fetch(probe, sock, host)
            return CONNECTED
        from .tls import certificate, secure, trusting  # noqa: PLC0415 - 20 ms

        with secure(probe, trusting(), sock, host) as secured:
            shown = certificate(secured)
            fetch(probe, secured, host)
            probe.reply["values"].append(shown)
    return CONNECTED


def fetch(probe: Probe, sock: socket.socket, host: str) -> None:
    """Have the agent behind a proxy say who it is."""
    import http.client  # noqa: PLC0415 - 20 ms that only this needs

    request_path(probe, sock, host)
    response = http.client.HTTPResponse(sock)
    try:
        response.begin()
        body = response.read(LINE)
    except http.client.HTTPException as error:
        raise Stop(ANSWERED_WRONGLY, f"not HTTP: {error!r}") from None
    if response.status != 200:
        raise Stop(ANSWERED_WRONGLY, f"HTTP status {response.status}")
    probe.take_identity(body)


def op_tls(probe: Probe) -> str:
    """Connect, verify the certificate, and ask for a path."""
    from .tls import secure, verifying  # noqa: PLC0415 - 20 ms that others do without

    context = verifying(probe)
    address = probe.address()
    name = probe.text("server_name", "") or probe.text("name", address)
    with dial(probe, address) as sock, secure(probe, context, sock, name) as secured:
        probe.reply["who"] = name
        probe.reply["values"] = [ask_by_http(probe, secured, name)]
    return CONNECTED


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
