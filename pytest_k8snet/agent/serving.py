"""The answering half of an agent."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import struct
import sys
import threading
import time

from .addresses import plain
from .listeners import bind_families
from .processes import become_first, started, write_json
from .sockets import (
    IP_PKTINFO,
    IPV6_PKTINFO,
    IPV6_RECVPKTINFO,
    SOL_IP,
    SOL_IPV6,
    forbid_fragments,
    read_line,
    send_at_once,
)
from .transfers import MAX_BULK, content, digest_of, receive_exactly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .options import Options

IDLE_CLIENT = 90.0


class Server:
    """The answering half of an agent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ports: dict[str, int] = {}
        self.sockets: list[tuple[socket.socket, Callable[[socket.socket], None]]] = []

    def open(self, name: str, port: int) -> None:
        """Open the port called NAME/PROTOCOL in every IP family."""
        label, _, transport = name.partition("/")
        addresses = ("127.0.0.1", "::1") if label == "loopback" else ("0.0.0.0", "::")  # noqa: S104
        loop = self.answer_datagrams if transport == "udp" else self.accept
        sockets = bind_families(transport, addresses, port)
        if not sockets and transport != "sctp":
            raise OSError(errno.EADDRNOTAVAIL, "no IP family is available")
        # Where the kernel has no SCTP, whoever dials the port is to see that.
        self.ports[name] = sockets[0].getsockname()[1] if sockets else port
        self.sockets += [(sock, loop) for sock in sockets]

    def start(self) -> None:
        """Answer on every open port, each in a thread."""
        for sock, loop in self.sockets:
            threading.Thread(target=loop, args=(sock,), daemon=True).start()

    def accept(self, listener: socket.socket) -> None:
        """Greet every client in a thread of its own."""
        while True:
            try:
                client, peer = listener.accept()
                threading.Thread(
                    target=self.greet, args=(client, peer), daemon=True
                ).start()
            except (OSError, RuntimeError):
                # Out of descriptors or threads: those who wait get their turn later.
                time.sleep(0.05)

    def greet(self, client: socket.socket, peer: tuple[Any, ...]) -> None:
        """Hold one conversation. Whatever a client does, it only hurts itself."""
        with client:
            try:
                client.settimeout(IDLE_CLIENT)
                send_at_once(client)
                self.converse(client, peer)
            except (OSError, ValueError):
                return

    def converse(self, client: socket.socket, peer: tuple[Any, ...]) -> None:
        buffer = bytearray()
        line = read_line(client, buffer)
        if not line:
            return  # a readinessProbe of the kubelet, for one
        local = client.getsockname()
        identity = self.identity(peer, local[0], local[1]) + b"\n"
        if line.startswith(b"GET "):
            while read_line(client, buffer).strip():
                pass
            client.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + identity)
            return
        request = json.loads(line)
        client.sendall(identity)
        # Whoever says that there is more is asked again, and again.
        while isinstance(request, dict) and request.get("more"):
            request = json.loads(read_line(client, buffer) or b"{}")
            client.sendall(identity)
        size = request.get("bulk", 0) if isinstance(request, dict) else 0
        if not isinstance(size, int) or not 0 < size <= MAX_BULK:
            return
        received = digest_of(receive_exactly(client, buffer, size))
        client.sendall(json.dumps({"sha256": received}).encode() + b"\n")
        for part in content("down", size):
            client.sendall(part)

    def identity(
        self, peer: tuple[Any, ...], local: str, port: int, **more: Any
    ) -> bytes:
        """Say who answers, and whom it saw."""
        seen = {"who": self.name, "peer": plain(peer[0]), "local": plain(local)}
        return json.dumps({**seen, "port": port, **more}).encode()

    def answer_datagrams(self, sock: socket.socket) -> None:
        """Answer one datagram after the other, from the address that was dialled."""
        if sock.family == socket.AF_INET6:
            sock.setsockopt(SOL_IPV6, IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(SOL_IP, IP_PKTINFO, 1)
        port = sock.getsockname()[1]
        while True:
            try:
                data, control, _, peer = sock.recvmsg(65535, 256)
                self.answer_datagram(sock, port, data, control, peer)
            except (OSError, ValueError, struct.error):
                continue

    def answer_datagram(
        self,
        sock: socket.socket,
        port: int,
        data: bytes,
        control: list[tuple[int, int, bytes]],
        peer: tuple[Any, ...],
    ) -> None:
        request = json.loads(data.partition(b"\n")[0])
        if not isinstance(request, dict):
            return
        local, source = dialled(control)
        answer = self.identity(
            peer, local, port, size=len(data), n=str(request.get("n", ""))[:32]
        )
        forbid_fragments(sock, bool(request.get("df")))
        # Never longer than the question: nothing here amplifies.
        full = (answer + b"\n").ljust(len(data))[: max(len(data), 1)]
        try:
            sock.sendmsg([full], source, 0, peer)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            # The way back is narrower: say so, in something that does fit.
            note = self.identity(peer, local, port, error="EMSGSIZE", size=len(data))
            sock.sendmsg([note + b"\n"], source, 0, peer)


def dialled(
    control: list[tuple[int, int, bytes]],
) -> tuple[str, list[tuple[int, int, bytes]]]:
    """Give the address a datagram came to, and the control data to answer from it."""
    for level, kind, data in control:
        if (level, kind) == (SOL_IP, IP_PKTINFO):
            own, header = data[4:8], data[8:12]
            source = struct.pack("=I4s4s", 0, own, b"\0" * 4)
            return socket.inet_ntop(socket.AF_INET, header), [(level, kind, source)]
        if (level, kind) == (SOL_IPV6, IPV6_PKTINFO):
            own = data[:16]
            local = socket.inet_ntop(socket.AF_INET6, own)
            # Only a link-local address needs its interface named.
            link = data[16:20] if local.startswith("fe80") else b"\0" * 4
            return local, [(level, kind, own + link)]
    return "", []


def serve(options: Options) -> int:
    """Be the container's first process: answer until SIGTERM."""
    path = os.path.join(options.text("state", "."), options.text("container", "main"))
    path += ".json"
    # Left by a container that was restarted: its ports are no longer ours.
    if os.path.exists(path):
        os.unlink(path)
    become_first(linger=options.has("linger"))
    threading.stack_size(256 * 1024)
    # Datagrams are answered by one thread, which must not wait for all the others.
    sys.setswitchinterval(0.0005)
    if options.has("first"):
        from .first import dial_first  # noqa: PLC0415 - most only answer

        address, _, port = options.text("first").rpartition(" ")
        dial_first(address, int(port), options.text("state", "."))
    server = Server(options.text("name", ""))
    for given in options.many("port"):
        name, _, port = given.partition("=")
        server.open(name, int(port or 0))
    if options.has("loopback"):
        server.open("loopback/tcp", int(options.text("loopback", "0")))
    server.start()
    state = {"name": server.name, "ports": server.ports, "pid": os.getpid()}
    write_json(path, {**state, "started": started(os.getpid())})
    print(f"k8snet agent serving {server.name}", flush=True)
    while True:
        signal.pause()
