"""Connections by TLS, to who is verified or to anybody, and the operation."""

from __future__ import annotations

import hashlib
import ssl

from .asking import dial
from .outcomes import ANSWERED_WRONGLY, CONNECTED, NOT_PROBED, Stop
from .web import ask_by_http

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from .probe import Probe, Reply


def verifying(probe: Probe) -> ssl.SSLContext:
    """Trust the authority that a request names, and nobody else."""
    authority: Reply = {"cadata": probe.text("ca", "") or None}
    if not authority["cadata"]:
        authority = {"cafile": probe.text("ca_file")}
    # Not create_default_context: since 3.13 that is strict about extensions which
    # the certificate authorities of many clusters do not have.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(**authority)
    except OSError as error:
        where = probe.text("ca_file", "the authority")
        raise Stop(NOT_PROBED, f"{where}: {error}") from None
    return context


def trusting() -> ssl.SSLContext:
    """Trust whatever certificate is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def certificate(secured: ssl.SSLSocket) -> str:
    """Give the SHA-256 of the certificate that was shown."""
    shown = secured.getpeercert(binary_form=True) or b""
    return hashlib.sha256(shown).hexdigest()


def secure(
    probe: Probe, context: ssl.SSLContext, sock: socket.socket, name: str
) -> ssl.SSLSocket:
    """Shake hands by TLS with whoever serves a name."""
    probe.phase("tls")
    sock.settimeout(probe.left())
    try:
        return context.wrap_socket(sock, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        raise Stop(ANSWERED_WRONGLY, error.verify_message) from None
    except ssl.SSLError as error:
        raise Stop(ANSWERED_WRONGLY, error.reason or str(error)) from None


def op_tls(probe: Probe) -> str:
    """Connect, verify the certificate, and ask for a path."""
    context = verifying(probe)
    address = probe.address()
    name = probe.text("server_name", "") or probe.text("name", address)
    with dial(probe, address) as sock, secure(probe, context, sock, name) as secured:
        probe.reply["who"] = name
        probe.reply["values"] = [ask_by_http(probe, secured, name)]
    return CONNECTED
