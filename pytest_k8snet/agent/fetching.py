"""The operation that has an agent behind a proxy say who it is."""

from __future__ import annotations

import http.client

from .asking import dial
from .outcomes import ANSWERED_WRONGLY, CONNECTED, Stop
from .sockets import LINE
from .tls import certificate, secure, trusting
from .web import request_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from .probe import Probe


def op_fetch(probe: Probe) -> str:
    """Ask a host for what an agent answers, and report its certificate, if any.

    Whose certificate it is, and whether it is good, is for others to say.
    """
    host = probe.text("host")
    with dial(probe, probe.address()) as sock:
        if not probe.request.get("tls"):
            fetch(probe, sock, host)
            return CONNECTED
        with secure(probe, trusting(), sock, host) as secured:
            shown = certificate(secured)
            fetch(probe, secured, host)
            probe.reply["values"].append(shown)
    return CONNECTED


def fetch(probe: Probe, sock: socket.socket, host: str) -> None:
    """Have the agent behind a proxy say who it is."""
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
