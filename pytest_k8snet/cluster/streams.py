"""Websockets to streaming subresources: exec and port-forward.

Not ``kubernetes.stream``: its client has no time-out while it connects, gives partial
output without an error when one runs out later, and cannot be told to stop. The
protocol is small: the first byte of every message names a channel.
"""

from __future__ import annotations

import json
import select
import ssl
import time
from typing import TYPE_CHECKING, Any

import websocket

from pytest_k8snet.cluster.errors import StreamLost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STDIN, STDOUT, STDERR, ERROR, CLOSE = 0, 1, 2, 3, 255
STALL = 10.0  # a message that has begun has to get through, in either direction
DATA_OPCODES = (websocket.ABNF.OPCODE_BINARY, websocket.ABNF.OPCODE_TEXT)


class Refused(Exception):  # noqa: N818 - the API server's answer
    """The API server answered the request for a stream with an error."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body


def connect(
    configuration: Any,
    url: str,
    headers: Mapping[str, str],
    protocols: Sequence[str],
    timeout: float,
) -> websocket.WebSocket:
    """Open a websocket with the credentials and proxies of a client configuration."""
    from kubernetes.stream import ws_client  # noqa: PLC0415

    # Any, because the library is typed in half.
    socket: Any = websocket.WebSocket(
        sslopt=_tls_options(configuration), skip_utf8_validation=True
    )
    sent = {k: v for k, v in headers.items() if k.lower() == "authorization"}
    options: dict[str, Any] = {
        "header": [f"{name}: {value}" for name, value in sent.items()],
        "subprotocols": list(protocols),
        "timeout": timeout,
        "suppress_origin": True,
    }
    if configuration.proxy or configuration.proxy_headers:
        add_proxy: Any = ws_client.websocket_proxycare
        options = add_proxy(options, configuration, url, headers)
    try:
        socket.connect("ws" + url.removeprefix("http"), **options)
    except websocket.WebSocketBadStatusException as error:
        socket.shutdown()
        body = (error.resp_body or b"").decode("utf-8", "replace")
        raise Refused(error.status_code, body) from None
    except (OSError, websocket.WebSocketException) as error:
        socket.shutdown()
        raise StreamLost(str(error) or type(error).__name__) from error
    socket.settimeout(STALL)
    opened: websocket.WebSocket = socket
    return opened


def _tls_options(configuration: Any) -> dict[str, Any]:
    """Give the TLS options that the REST side of the client uses."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = configuration.assert_hostname is not False
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif configuration.ssl_ca_cert:
        context.load_verify_locations(configuration.ssl_ca_cert)
    else:
        context.load_default_certs()
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    options: dict[str, Any] = {"context": context}
    if configuration.tls_server_name:
        options["server_hostname"] = configuration.tls_server_name
    return options


class Stream:
    """A websocket seen as channels. To be used by one thread at a time.

    Attributes:
        status: what the API server said of the command's end; None before.

    """

    def __init__(self, socket: websocket.WebSocket) -> None:
        self._socket: Any = socket
        self.status: str | None = None

    def fileno(self) -> int:
        """Give the descriptor to poll."""
        return int(self._socket.sock.fileno())

    def pending(self) -> bool:
        """Whether there is something to read that poll cannot see."""
        raw = self._socket.sock
        # TLS decrypts whole records: the next frame may already be in memory.
        return isinstance(raw, ssl.SSLSocket) and raw.pending() > 0

    def ready(self, seconds: float) -> bool:
        """Wait until there is something to read."""
        if self.pending():
            return True
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def read(self) -> tuple[int, bytes]:
        """Read one message: its channel and its data; (CLOSE, b"") for none of ours."""
        try:
            opcode, frame = self._socket.recv_data_frame(True)
        except (OSError, websocket.WebSocketException) as error:
            raise StreamLost(str(error) or type(error).__name__) from error
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise StreamLost("closed by the API server")
        if opcode not in DATA_OPCODES or not frame.data:
            return CLOSE, b""
        data = bytes(frame.data)
        if data[0] == ERROR:
            self.status = (self.status or "") + data[1:].decode("utf-8", "replace")
        return data[0], data[1:]

    def write(self, channel: int, data: bytes) -> None:
        """Write to a channel."""
        try:
            self._socket.send_binary(bytes([channel]) + data)
        except (OSError, websocket.WebSocketException) as error:
            raise StreamLost(str(error) or type(error).__name__) from error

    def close(self) -> None:
        """Close without waiting for a farewell."""
        self._socket.shutdown()


def exit_of(status: str | None) -> tuple[int | None, str]:
    """Read the Status that ends an exec: its exit code, None if unknown, and why."""
    try:
        said = json.loads(status or "")
        if said.get("status") == "Success":
            return 0, ""
        message = str(said.get("message", ""))
        causes = (said.get("details") or {}).get("causes") or []
        codes = [c.get("message") for c in causes if c.get("reason") == "ExitCode"]
        return (int(codes[0]) if codes else None), message
    except (ValueError, AttributeError, TypeError):
        return None, (status or "").strip()


def run_to_end(socket: websocket.WebSocket, timeout: float) -> tuple[int, bytes, bytes]:
    """Read an exec to its end: exit code, stdout, stderr. Partial is an error."""
    stream = Stream(socket)
    out = {STDOUT: bytearray(), STDERR: bytearray()}
    end = time.monotonic() + timeout
    try:
        while True:
            left = end - time.monotonic()
            if left <= 0 or not stream.ready(left):
                raise StreamLost(f"did not end within {timeout:.0f} s")
            channel, data = stream.read()
            if channel in out:
                out[channel] += data
            # The API server sends the status last, but may leave the stream open.
            code, message = exit_of(stream.status)
            if code is not None:
                return code, bytes(out[STDOUT]), bytes(out[STDERR])
            if message:
                raise StreamLost(message)
    finally:
        stream.close()


def exchange(socket: websocket.WebSocket, payload: bytes, timeout: float) -> bytes:
    """Send over a port-forward, and read up to a newline or the peer's end."""
    stream = Stream(socket)
    answer = bytearray()
    # Each channel opens with a message that repeats the port.
    opened: set[int] = set()
    end = time.monotonic() + timeout
    try:
        stream.write(0, payload)
        while b"\n" not in answer:
            left = end - time.monotonic()
            if left <= 0 or not stream.ready(left):
                raise StreamLost(f"no answer within {timeout:.0f} s")
            try:
                channel, data = stream.read()
            except StreamLost:
                if answer:
                    break
                raise
            if channel not in opened:
                opened.add(channel)
            elif channel == 1:
                raise StreamLost(data.decode("utf-8", "replace").strip())
            elif channel == 0:
                answer += data
        return bytes(answer)
    finally:
        stream.close()
