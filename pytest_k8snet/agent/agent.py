"""Answers for a Pod, and asks for it: the one program that runs in the Pods.

One file and the standard library of Python 3.9, so that it runs in any stock Python
image. It judges nothing: it reports what it saw, in the words of ``model.Outcome``.

    agent.py serve --name NAME --state DIR [--port main/tcp=8080 ...] [--loopback 0]
                   [--first "ADDRESS PORT"]
    agent.py control [--name NAME] [--state DIR] [--container main]
    agent.py facts --out FILE | settings --out FILE
    agent.py probe '{"op": "connect", ...}'
    agent.py tcp|sctp ADDRESS PORT | udp ADDRESS PORT [SIZE | mtu]
    agent.py dns SERVER|- NAME TYPE [tcp] | lookup NAME | fetch ADDRESS PORT HOST/PATH
"""

# Wire formats are full of numbers; importing pathlib would cost 10 ms of every start.
# ruff: noqa: PLR2004, PTH105, PTH108, PTH110, PTH112, PTH115, PTH118, PTH123, PTH208

from __future__ import annotations

import errno
import json
import os
import queue
import signal
import socket
import struct
import sys
import threading
import time

TYPE_CHECKING = False  # importing typing to learn this would cost 5 ms
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from typing import Any

    Reply = dict[str, Any]
    Record = tuple[int, str]

# Python 3.9 is the floor here, whatever the rest of the project asks for, and there
# socket.timeout is no TimeoutError yet.
TimedOut = (socket.timeout, TimeoutError)

WORKERS = 512
LINE = 65536
BLOCK = 65536
NO_PROGRESS = 4.0  # ARP gives up after 3.1 s: below that a dead hop looks like a drop
RESEND = 1.0  # seconds after which a datagram without an answer is sent again
IDLE_CLIENT = 90.0
FIRST = 1.0  # seconds for which a container that was just started keeps dialling
MAX_BULK = 256 << 20
MAX_DATAGRAM = 65507  # what IPv4 can carry, whatever the loopback's MTU says

# Linux's numbers: the socket module names only some of them.
SOL_IP, SOL_IPV6 = 0, 41
IP_PKTINFO, IP_MTU_DISCOVER, IP_RECVERR, IP_MTU = 8, 10, 11, 14
IPV6_MTU_DISCOVER, IPV6_MTU, IPV6_RECVERR = 23, 24, 25
IPV6_RECVPKTINFO, IPV6_PKTINFO, IPV6_DONTFRAG = 49, 50, 62
PMTUDISC_WANT, PMTUDISC_DO = 1, 2

TRANSPORTS = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, 132),
}

CONNECTED, ANSWERED, REFUSED, RESET = "connected", "answered", "refused", "reset"
TIMED_OUT, UNREACHABLE, TOO_BIG = "timed out", "unreachable", "too big"
NAME_NOT_FOUND, ANSWERED_WRONGLY = "name not found", "answered wrongly"
NOT_PROBED, UNSUPPORTED = "not probed", "not supported"

OUTCOME_OF_ERRNO = {
    errno.ECONNREFUSED: REFUSED,
    errno.ECONNRESET: RESET,
    errno.ECONNABORTED: RESET,
    errno.EPIPE: RESET,
    errno.ETIMEDOUT: TIMED_OUT,
    errno.EHOSTUNREACH: UNREACHABLE,
    errno.ENETUNREACH: UNREACHABLE,
    errno.EHOSTDOWN: UNREACHABLE,
    errno.ENETDOWN: UNREACHABLE,
    errno.ENOPROTOOPT: UNREACHABLE,  # ICMP protocol unreachable
    errno.EACCES: UNREACHABLE,  # a prohibit route
    errno.EINVAL: UNREACHABLE,  # a blackhole route
    errno.EPERM: UNREACHABLE,  # dropped by the sender's own OUTPUT chain
    errno.EADDRNOTAVAIL: UNREACHABLE,  # the address family is off in this Pod
    errno.EAFNOSUPPORT: UNREACHABLE,
    errno.EPROTONOSUPPORT: UNREACHABLE,  # the kernel has no such transport
    errno.EMSGSIZE: TOO_BIG,
}


class Stop(Exception):  # noqa: N818 - an answer, not an error
    """Ends a probe with an outcome that is not an operating system error."""

    def __init__(self, outcome: str, detail: str = "") -> None:
        super().__init__(outcome, detail)
        self.outcome = outcome
        self.detail = detail


# --- addresses ----------------------------------------------------------------------


def plain(address: str) -> str:
    """Give an address without its scope and without the IPv4-mapped prefix."""
    address = address.partition("%")[0]
    return address.removeprefix("::ffff:")


def family_of(address: str) -> socket.AddressFamily:
    """Give the family of a literal address; a name is a mistake of the caller."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.inet_pton(family, address.partition("%")[0])
    except OSError:
        raise ValueError(f"not an IP address: {address!r}") from None
    return family


def same_address(one: str, other: str) -> bool:
    """Whether two spellings mean the same address."""
    one, other = plain(one), plain(other)
    family = family_of(one)
    if family != family_of(other):
        return False
    return socket.inet_pton(family, one) == socket.inet_pton(family, other)


def send_at_once(sock: socket.socket) -> None:
    """Have what is short sent without waiting for more, where that can be said."""
    if sock.proto == socket.IPPROTO_TCP:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def report_errors(sock: socket.socket, on: int) -> None:
    """Have ICMP errors queued at the socket, with their type and their sender."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(SOL_IPV6, IPV6_RECVERR, on)
    else:
        sock.setsockopt(SOL_IP, IP_RECVERR, on)


def forbid_fragments(sock: socket.socket, on: bool = True) -> None:
    """Have DF set on what is sent, and EMSGSIZE when it does not fit."""
    how = PMTUDISC_DO if on else PMTUDISC_WANT
    if sock.family == socket.AF_INET6:
        sock.setsockopt(SOL_IPV6, IPV6_MTU_DISCOVER, how)
        sock.setsockopt(SOL_IPV6, IPV6_DONTFRAG, int(on))
    else:
        sock.setsockopt(SOL_IP, IP_MTU_DISCOVER, how)


def icmp_error(sock: socket.socket) -> str:
    """Read the ICMP error behind the last errno: "3/13 from 10.0.0.1", or ""."""
    try:
        sock.setblocking(False)  # after a reset there is nothing, and never will be
        control = sock.recvmsg(512, 512, socket.MSG_ERRQUEUE)[1]
    except OSError:
        return ""
    for level, kind, data in control:
        if (level, kind) not in ((SOL_IP, IP_RECVERR), (SOL_IPV6, IPV6_RECVERR)):
            continue
        if len(data) < 24:
            continue
        origin, icmp_type, code = struct.unpack_from("=4xBBB", data)
        if origin not in (2, 3):  # SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6
            continue
        (family,) = struct.unpack_from("=H", data, 16)
        sender = ""
        if family == socket.AF_INET:
            sender = socket.inet_ntop(socket.AF_INET, data[20:24])
        elif family == socket.AF_INET6 and len(data) >= 40:
            sender = plain(socket.inet_ntop(socket.AF_INET6, data[24:40]))
        return f"{icmp_type}/{code} from {sender}"
    return ""


def route_to(address: str, port: int) -> tuple[tuple[Any, ...], int]:
    """Give the own socket address and the MTU of the way there. Sends nothing."""
    family = family_of(address)
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((address, port))
        if family == socket.AF_INET6:
            mtu = sock.getsockopt(SOL_IPV6, IPV6_MTU)
        else:
            mtu = sock.getsockopt(SOL_IP, IP_MTU)
        return sock.getsockname(), mtu


def read_line(sock: socket.socket, buffer: bytearray) -> bytes:
    """Read up to a newline; what follows it stays in the buffer. b"" at the end."""
    while b"\n" not in buffer:
        data = sock.recv(LINE)
        if not data:
            return b""
        buffer += data
        if len(buffer) > 2 * LINE:
            raise ValueError("no line end")
    line, _, rest = bytes(buffer).partition(b"\n")
    buffer[:] = rest
    return line


def content(seed: str, size: int) -> Any:
    """Yield the bytes that both ends of a transfer know beforehand."""
    import hashlib  # noqa: PLC0415 - 5 ms that only transfers need

    block = hashlib.shake_256(seed.encode()).digest(BLOCK)
    for number in range((size + BLOCK - 1) // BLOCK):
        # No two blocks are alike: a lost or doubled one changes the digest.
        part = struct.pack("!Q", number) + block[8:]
        yield part[: size - number * BLOCK]


DIGESTS: dict[tuple[str, int], str] = {}


def known_digest(seed: str, size: int) -> str:
    """Give the digest of a content; transfers of one size are many, hashing is dear."""
    if (seed, size) not in DIGESTS:
        DIGESTS[seed, size] = digest_of(content(seed, size))
    return DIGESTS[seed, size]


def digest_of(parts: Any) -> str:
    """Give the SHA-256 of all parts."""
    import hashlib  # noqa: PLC0415

    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


# --- serving ------------------------------------------------------------------------


def bind_socket(
    family: socket.AddressFamily, transport: str, address: str, port: int
) -> socket.socket | None:
    """Bind one socket; None when this family, or transport, is not available here."""
    kind, protocol = TRANSPORTS[transport]
    try:
        sock = socket.socket(family, kind, protocol)
    except OSError:
        return None
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_DGRAM:
            # What comes in one burst waits here for its turn: as much as may be had.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        if kind == socket.SOCK_STREAM and port:
            # A restarted container finds its own port in TIME_WAIT.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(1024)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRNOTAVAIL:
            return None
        raise
    return sock


def bind_families(
    transport: str, addresses: tuple[str, str], port: int
) -> list[socket.socket]:
    """Bind an IPv4 and an IPv6 socket to one port number, chosen by the kernel for 0.

    The number that is free for one family may be taken in the other: then another
    one is tried.
    """
    for attempt in range(20):
        first = bind_socket(socket.AF_INET, transport, addresses[0], port)
        number = first.getsockname()[1] if first else port
        try:
            second = bind_socket(socket.AF_INET6, transport, addresses[1], number)
        except OSError:
            if first:
                first.close()
            if port or attempt == 19:
                raise
            continue
        return [sock for sock in (first, second) if sock]
    return []


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


def receive_exactly(sock: socket.socket, buffer: bytearray, size: int) -> Any:
    """Yield exactly SIZE bytes, those already in the buffer first."""
    ready = bytes(buffer[:size])
    del buffer[:size]
    if ready:
        yield ready
    left = size - len(ready)
    while left:
        data = sock.recv(min(left, BLOCK))
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "closed early")
        left -= len(data)
        yield data


def started(pid: int) -> str:
    """Give the start time of a process: with its id it names one run of it."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as stat:
            return stat.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def write_json(path: str, value: object) -> None:
    """Write a file that is either whole or not there."""
    partial = f"{path}.{os.getpid()}"
    with open(partial, "w", encoding="utf-8") as out:
        json.dump(value, out)
    os.replace(partial, path)


def serve(options: Options) -> int:
    """Be the container's first process: answer until SIGTERM."""
    path = os.path.join(options.text("state", "."), options.text("container", "main"))
    path += ".json"
    # Left by a container that was restarted: its ports are no longer ours.
    if os.path.exists(path):
        os.unlink(path)
    # The first process of a container gets no default action for SIGTERM, and
    # inherits orphans: ignoring SIGCHLD has the kernel reap them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    # One that lingers serves for as long as its Pod may take to terminate.
    end = signal.SIG_IGN if options.has("linger") else lambda *_: os._exit(0)
    signal.signal(signal.SIGTERM, end)
    threading.stack_size(256 * 1024)
    # Datagrams are answered by one thread, which must not wait for all the others.
    sys.setswitchinterval(0.0005)
    if options.has("first"):
        address, _, port = options.text("first").rpartition(" ")
        first = os.path.join(options.text("state", "."), "first.json")
        threading.Thread(
            target=dial_first, args=(address, int(port), first), daemon=True
        ).start()
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


# --- probing ------------------------------------------------------------------------


class Probe:
    """One request while it is worked on.

    What is learnt goes into the reply at once, so that it is there however the probe
    ends.
    """

    def __init__(self, request: dict[str, Any], state_dir: str, state: Reply) -> None:
        self.request = request
        self.state_dir = state_dir
        self.state = state
        self.begin = time.monotonic()
        self.timeout = float(request.get("timeout") or 4.0)
        self.after: Callable[[], None] | None = None
        self.reply: Reply = {
            "id": request.get("id"),
            "outcome": NOT_PROBED,
            "phase": "",
            "detail": "",
            "seconds": 0.0,
            "own": "",
            "who": "",
            "peer": "",
            "local": "",
            "values": [],
        }

    def text(self, key: str, default: str | None = None) -> str:
        """Give a field that must be a string."""
        value = self.request.get(key)
        if value is None or value == "":
            if default is None:
                raise ValueError(f"{key} is missing")
            return default
        if not isinstance(value, str):
            raise TypeError(f"{key} is not a string: {value!r}")
        return value

    def number(self, key: str, default: int | None = None) -> int:
        """Give a field that must be a number."""
        value = self.request.get(key)
        if value is None:
            if default is None:
                raise ValueError(f"{key} is missing")
            return default
        return int(value)

    def phase(self, name: str) -> None:
        """Note how far the probe has come."""
        self.reply["phase"] = name

    def left(self, most: float = 3600.0) -> float:
        """Give the seconds that are left, at most MOST; there is always some."""
        left = self.begin + self.timeout - time.monotonic()
        if left <= 0:
            raise Stop(TIMED_OUT, f"no answer within {self.timeout:g} s")
        return min(left, most)

    def address(self) -> str:
        """Give the address to dial; a name is resolved as a program would."""
        if self.request.get("address"):
            return self.text("address")
        self.phase("resolve")
        return self.resolve(self.text("name"), self.text("family", ""))[0]

    def resolve(self, name: str, family: str) -> list[str]:
        """Ask the C library, which knows no deadline, in a thread of its own."""
        wanted = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}.get(family, 0)
        answers: list[Any] = []
        done = threading.Event()

        def ask() -> None:
            try:
                kind = socket.SOCK_STREAM
                answers.append(socket.getaddrinfo(name, None, wanted, kind))
            except (OSError, UnicodeError) as error:
                answers.append(error)
            done.set()

        threading.Thread(target=ask, daemon=True).start()
        if not done.wait(self.left()):
            raise Stop(TIMED_OUT, f"no answer within {self.timeout:g} s")
        answer = answers[0]
        if isinstance(answer, socket.gaierror):
            raise resolver_stop(answer)
        if isinstance(answer, Exception):
            raise answer
        found = [plain(entry[4][0]) for entry in answer]
        return list(dict.fromkeys(found))

    def take_identity(self, data: bytes) -> Reply:
        """Note who answered; anything but an agent's answer is a wrong one."""
        try:
            seen = json.loads(data)
            self.reply["who"] = str(seen["who"])
            self.reply["peer"] = str(seen["peer"])
            self.reply["local"] = str(seen["local"])
            self.reply["values"] = [str(seen["port"])]
        except (ValueError, KeyError, TypeError):
            shown = data[:80].decode("latin-1").strip()
            raise Stop(ANSWERED_WRONGLY, f"not an agent: {shown!r}") from None
        assert isinstance(seen, dict)
        return seen


def resolver_stop(error: socket.gaierror) -> Stop:
    """Say what the C library's error means."""
    names = {getattr(socket, n): n for n in dir(socket) if n.startswith("EAI_")}
    detail = names.get(error.errno, str(error))
    # glibc's EAI_ADDRFAMILY: the name exists, in the other family only.
    if detail in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY"):
        return Stop(NAME_NOT_FOUND, detail)
    if detail == "EAI_AGAIN":
        return Stop(TIMED_OUT, detail)
    if detail == "EAI_FAIL":
        return Stop(ANSWERED_WRONGLY, detail)
    return Stop(NOT_PROBED, detail)


def dial(probe: Probe, address: str, most: float = 3600.0) -> socket.socket:
    """Connect by TCP or SCTP. The phase is "connect" until the handshake is over."""
    probe.phase("connect")
    probe.reply["address"] = plain(address)
    transport = "sctp" if probe.text("protocol", "tcp") == "sctp" else "tcp"
    sock = socket.socket(family_of(address), *TRANSPORTS[transport])
    try:
        source = probe.number("source_port", 0)
        if source:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("", source))
        report_errors(sock, 1)
        send_at_once(sock)
        sock.settimeout(probe.left(most))
        sock.connect((address, probe.number("port")))
        # Beyond the handshake TCP rides out a stray ICMP error, as any program's does.
        report_errors(sock, 0)
        probe.reply["own"] = plain(sock.getsockname()[0])
    except BaseException as error:
        if isinstance(error, OSError):
            note_failure(probe, sock, error)
        sock.close()
        raise
    return sock


def note_failure(probe: Probe, sock: socket.socket, error: OSError) -> None:
    """Keep what a failed socket still knows."""
    own = plain(sock.getsockname()[0])
    probe.reply["own"] = "" if own in ("0.0.0.0", "::") else own  # noqa: S104
    if not isinstance(error, TimedOut):
        probe.reply["icmp"] = icmp_error(sock)


def exchange(
    probe: Probe,
    address: str,
    payload: bytes,
    accept: Callable[[bytes], Any | None],
    df: bool = False,
) -> Any:
    """Send a datagram and wait for the answer that ACCEPT takes.

    A datagram may get lost without anything being broken: unless the request says
    ``once`` it is sent again, as every resolver does.

    The socket is bound but not connected: an answer from another address, the mark
    of an address translation that was not undone, is then seen, and named.
    """
    port = probe.number("port", 53)
    probe.phase("connect")
    probe.reply["address"] = plain(address)
    own, _ = route_to(address, port)
    probe.reply["own"] = plain(own[0])
    strays: list[str] = []
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as sock:
        sock.bind((own[0], probe.number("source_port", 0), *own[2:]))
        report_errors(sock, 1)
        if df:
            forbid_fragments(sock)
        try:
            probe.phase("send")
            sock.sendto(payload, (address, port))
            probe.phase("receive")
            while True:
                sock.settimeout(probe.left(RESEND))
                try:
                    data, sender = sock.recvfrom(65535)
                except TimedOut:
                    if not probe.request.get("once"):
                        sock.sendto(payload, (address, port))
                    continue
                if sender[1] != port or not same_address(sender[0], address):
                    strays.append(f"{plain(sender[0])} port {sender[1]}")
                    continue
                found = accept(data)
                if found is not None:
                    return found
        except Stop as stop:
            if strays and stop.outcome == TIMED_OUT:
                why = f"an answer came from {strays[0]}"
                raise Stop(TIMED_OUT, why) from None
            raise
        except OSError as error:
            note_failure(probe, sock, error)
            raise


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


def op_ping(probe: Probe) -> str:
    """Send one ICMP echo, as far as the kernel lets those without privileges."""
    address = probe.address()
    family = family_of(address)
    kind, protocol, reply = (
        (128, socket.IPPROTO_ICMPV6, 129) if ":" in address else (8, 1, 0)
    )
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM, protocol)
    except OSError as error:
        # Both net.ipv4.ping_group_range and the kernel's build decide.
        name = errno.errorcode.get(error.errno or 0, str(error))
        raise Stop(UNSUPPORTED, f"no ICMP without privileges: {name}") from None
    nonce = os.urandom(16)
    with sock:
        probe.phase("send")
        # The kernel fills in the checksum and the identifier, and sorts by the latter.
        sock.sendto(struct.pack("!BBHHH", kind, 0, 0, 0, 1) + nonce, (address, 0))
        probe.phase("receive")
        while True:
            sock.settimeout(probe.left())
            data, sender = sock.recvfrom(2048)
            if data[:1] == bytes([reply]) and data[8:] == nonce:
                break
    probe.reply["values"] = [plain(sender[0])]
    return ANSWERED


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
        import hashlib  # noqa: PLC0415
        import ssl  # noqa: PLC0415

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with secure(probe, context, sock, host) as secured:
            shown = secured.getpeercert(binary_form=True) or b""
            fetch(probe, secured, host)
            probe.reply["values"].append(hashlib.sha256(shown).hexdigest())
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


# --- DNS ----------------------------------------------------------------------------

TYPES = {"A": 1, "CNAME": 5, "PTR": 12, "TXT": 16, "AAAA": 28, "SRV": 33}
RCODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
EDNS = struct.pack("!BHHIH", 0, 41, 1232, 0, 0)


def encode_question(number: int, name: str, kind: int) -> bytes:
    """Write a recursive question with EDNS0, so that answers of 1232 bytes fit."""
    header = struct.pack("!6H", number, 0x0100, 1, 0, 0, 1)
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".") if label]
    if any(len(label) > 63 for label in labels):
        raise ValueError(f"a label of {name!r} is longer than 63")
    encoded = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return header + encoded + struct.pack("!2H", kind, 1) + EDNS


def decode_name(message: bytes, offset: int) -> tuple[str, int]:
    """Read a name, and say where the next field begins.

    Pointers only ever lead backwards, so that no message makes this loop.
    """
    labels: list[str] = []
    end, limit = -1, offset
    while True:
        length = message[offset]
        if length >= 0xC0:
            target = struct.unpack_from("!H", message, offset)[0] & 0x3FFF
            end = offset + 2 if end < 0 else end
            if target >= limit:
                raise ValueError("a DNS name points forward")
            offset = limit = target
        elif length > 63:
            raise ValueError("a DNS label of an unknown kind")
        elif length == 0:
            return ".".join(labels).lower(), end if end >= 0 else offset + 1
        else:
            label = message[offset + 1 : offset + 1 + length]
            if len(label) < length:
                raise ValueError("a DNS name ends early")
            labels.append(label.decode("latin-1"))
            offset += 1 + length


def decode_record(message: bytes, offset: int) -> tuple[Record, int]:
    """Read one record: its type and its value as text."""
    _, offset = decode_name(message, offset)
    kind, _, _, length = struct.unpack_from("!HHIH", message, offset)
    offset += 10
    data = message[offset : offset + length]
    if len(data) < length:
        raise ValueError("a DNS record ends early")
    value = ""
    if kind == TYPES["A"]:
        value = socket.inet_ntop(socket.AF_INET, data)
    elif kind == TYPES["AAAA"]:
        value = socket.inet_ntop(socket.AF_INET6, data)
    elif kind in (TYPES["CNAME"], TYPES["PTR"]):
        value = decode_name(message, offset)[0]
    elif kind == TYPES["SRV"]:
        numbers = struct.unpack_from("!3H", data)
        target = decode_name(message, offset + 6)[0]
        value = "{} {} {} {}".format(*numbers, target)
    elif kind == TYPES["TXT"]:
        value = decode_text(data)
    return (kind, value), offset + length


def decode_text(data: bytes) -> str:
    """Join the strings of a TXT record."""
    parts, offset = [], 0
    while offset < len(data):
        parts.append(data[offset + 1 : offset + 1 + data[offset]])
        offset += 1 + data[offset]
    return b"".join(parts).decode("utf-8", "replace")


def decode_answer(message: bytes) -> tuple[int, bool, list[Record]]:
    """Read an answer: its rcode, whether it was cut, and its records."""
    _, flags, questions, answers, _, _ = struct.unpack_from("!6H", message)
    offset = 12
    for _ in range(questions):
        offset = decode_name(message, offset)[1] + 4
    records: list[Record] = []
    truncated = bool(flags & 0x0200)
    for _ in range(answers):
        try:
            record, offset = decode_record(message, offset)
        except (ValueError, IndexError, struct.error):
            if truncated:
                break  # cut in the middle of a record: what is whole is kept
            raise
        records.append(record)
    return flags & 15, truncated, records


def reverse_name(address: str) -> str:
    """Give the name under which the PTR record of an address is found."""
    packed = socket.inet_pton(family_of(address), address)
    if len(packed) == 4:
        return ".".join(str(byte) for byte in reversed(packed)) + ".in-addr.arpa"
    return ".".join(reversed(packed.hex())) + ".ip6.arpa"


def ask_by_stream(probe: Probe, server: str, question: bytes) -> bytes:
    """Ask by TCP, where a length comes before every message."""
    probe.request.setdefault("port", 53)
    with dial(probe, server) as sock:
        probe.phase("send")
        sock.sendall(struct.pack("!H", len(question)) + question)
        probe.phase("receive")
        answer = b""
        while len(answer) < 2 or len(answer) < 2 + struct.unpack("!H", answer[:2])[0]:
            sock.settimeout(probe.left())
            data = sock.recv(65535)
            if not data:
                raise Stop(ANSWERED_WRONGLY, "closed without an answer")
            answer += data
    return answer[2:]


def op_dns(probe: Probe) -> str:
    """Ask one name server one question."""
    name, kind = probe.text("name"), TYPES[probe.text("type", "A").upper()]
    if probe.request.get("reverse"):
        name = reverse_name(name)
    server = probe.text("server", "-")
    if server == "-":
        server = next(iter(resolv_conf("nameserver")), "")
    number = struct.unpack("!H", os.urandom(2))[0]
    question = encode_question(number, name, kind)
    echo = question[12 : -len(EDNS)].lower()

    def accept(data: bytes) -> bytes | None:
        ours = data[:2] == question[:2] and len(data) >= 12 and data[2] & 0x80
        return data if ours else None

    if probe.text("transport", "udp") == "tcp":
        answer = ask_by_stream(probe, server, question)
        if accept(answer) is None:
            raise Stop(ANSWERED_WRONGLY, "not an answer to this question")
    else:
        answer = exchange(probe, server, question, accept)
    asked = answer[12 : 12 + len(echo)].lower()
    # A server that cannot read the question may leave it out of its FORMERR.
    if struct.unpack_from("!H", answer, 4)[0] and asked != echo:
        raise Stop(ANSWERED_WRONGLY, "the answer repeats another question")
    if answer[2] & 2 and probe.request.get("whole"):
        # Cut, as it says itself: resolvers then ask by TCP, on their own.
        answer = ask_by_stream(probe, server, question)
    return judge_answer(probe, kind, answer)


def judge_answer(probe: Probe, kind: int, message: bytes) -> str:
    """Put a DNS answer into the reply."""
    try:
        rcode, truncated, records = decode_answer(message)
    except (ValueError, IndexError, struct.error, OSError) as error:
        raise Stop(ANSWERED_WRONGLY, f"not DNS: {error}") from None
    if rcode == 3:
        raise Stop(NAME_NOT_FOUND, "NXDOMAIN")
    if rcode:
        raise Stop(ANSWERED_WRONGLY, RCODES.get(rcode, f"rcode {rcode}"))
    notes = ["TC"] if truncated else []
    if kind != TYPES["CNAME"]:
        notes += [f"CNAME {value}" for k, value in records if k == TYPES["CNAME"]]
    probe.reply["detail"] = ", ".join(notes)
    probe.reply["values"] = sorted({value for k, value in records if k == kind})
    return ANSWERED


def op_lookup(probe: Probe) -> str:
    """Resolve a name as programs do, search path included."""
    probe.phase("resolve")
    found = probe.resolve(probe.text("name"), probe.text("family", ""))
    probe.reply["values"] = sorted(found)
    return ANSWERED


# --- what the container sees of itself ----------------------------------------------


def resolv_conf(keyword: str) -> list[str]:
    """Give the words after a keyword of /etc/resolv.conf; the last search line wins."""
    found: list[str] = []
    with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            words = line.partition("#")[0].split()
            if not words or words[0] != keyword:
                continue
            found = words[1:] if keyword == "search" else found + words[1:]
    return found


def hosts_of(name: str) -> list[str]:
    """Give the addresses that /etc/hosts has for a name."""
    found = []
    with open("/etc/hosts", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            words = line.partition("#")[0].lower().split()
            if name.lower() in words[1:]:
                found.append(words[0])
    return found


def interface_addresses() -> list[str]:
    """Give every address of every interface but loopback and link-local ones.

    By netlink, which needs no privilege and knows secondary addresses too.
    """
    found = []
    for kind, data in netlink_dump(22, struct.pack("=BBBBI", 0, 0, 0, 0, 0)):
        if kind != 20:  # RTM_NEWADDR
            continue
        family = data[0]
        values = dict(attributes(data[8:]))
        # With a peer address, IFA_ADDRESS is the peer's and IFA_LOCAL is ours.
        packed = values.get(2) or values.get(1)
        if packed and family in (socket.AF_INET, socket.AF_INET6):
            found.append(socket.inet_ntop(family, packed))
    hidden = ("127.", "169.254.", "::1", "fe8", "fe9", "fea", "feb")
    return sorted(a for a in set(found) if a != "::1" and not a.startswith(hidden))


def netlink_dump(kind: int, body: bytes) -> Any:
    """Yield (type, payload) of every message of a route netlink dump."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.settimeout(2)
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, 0x301, 1, 0) + body)
        while True:
            data = sock.recv(1 << 18)
            while len(data) >= 16:
                length, found = struct.unpack_from("=IH", data)
                if found == 3:  # NLMSG_DONE
                    return
                if found == 2 or length < 16:  # NLMSG_ERROR
                    raise OSError("netlink refused the dump")
                yield found, data[16:length]
                data = data[(length + 3) & ~3 :]


def attributes(data: bytes) -> Any:
    """Yield (type, value) of netlink attributes."""
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            return
        yield kind, data[4:length]
        data = data[(length + 3) & ~3 :]


def default_interface() -> str:
    """Give the interface of the default route, else eth0."""
    for path, where, name in (
        ("/proc/net/route", 1, 0),
        ("/proc/net/ipv6_route", 1, 9),
    ):
        try:
            with open(path, encoding="ascii") as lines:
                rows = [line.split() for line in lines]
        except OSError:
            continue
        for row in rows:
            if len(row) <= max(where, name) or row[name] == "lo":
                continue
            if row[where] == "00000000" or (name == 9 and row[1] == "00"):
                return row[name]
    return "eth0"


def interface_mtu(name: str) -> int:
    """Give an interface's MTU."""
    import fcntl  # noqa: PLC0415

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        wanted = struct.pack("16s16x", name.encode()[:15])
        answer = fcntl.ioctl(sock.fileno(), 0x8921, wanted)  # SIOCGIFMTU
    mtu: int = struct.unpack_from("16xi", answer)[0]
    return mtu


def init_addresses(directory: str) -> list[str]:
    """Give the addresses that the init container saw."""
    with open(os.path.join(directory, "init.json"), encoding="utf-8") as file:
        return [str(address) for address in json.load(file)["addresses"]]


def dial_first(address: str, port: int, path: str) -> None:
    """Dial before anything else is done here, and write down what came of it."""
    end = time.monotonic() + FIRST
    request = {"op": "connect", "address": address, "port": port, "timeout": FIRST / 10}
    while True:
        reply = run(request).reply
        if reply["outcome"] == CONNECTED or time.monotonic() > end:
            break
        time.sleep(0.01)
    write_json(path, {"outcome": reply["outcome"]})


def first_outcome(probe: Probe) -> list[str]:
    """Give what came of the very first connection that this container tried."""
    path = os.path.join(probe.state_dir, "first.json")
    while not os.path.exists(path):
        time.sleep(min(0.05, probe.left()))
    with open(path, encoding="utf-8") as file:
        return [str(json.load(file)["outcome"])]


FACTS: dict[str, Callable[[Probe], list[str]]] = {
    "addresses": lambda _: interface_addresses(),
    "hostname": lambda _: [socket.gethostname()],
    "nameservers": lambda _: resolv_conf("nameserver"),
    "search": lambda _: resolv_conf("search"),
    "options": lambda _: resolv_conf("options"),
    "source": lambda probe: [
        plain(route_to(probe.text("address"), probe.number("port"))[0][0])
    ],
    "first": first_outcome,
    "hosts": lambda probe: hosts_of(probe.text("name")),
    "netns": lambda _: [os.readlink("/proc/self/ns/net")],
    "init-addresses": lambda probe: init_addresses(probe.state_dir),
    "mtu": lambda probe: [
        str(interface_mtu(probe.text("interface", "") or default_interface()))
    ],
    "interfaces": lambda _: sorted(name for _, name in socket.if_nameindex()),
}


def op_fact(probe: Probe) -> str:
    """Report one thing that the container sees of itself."""
    try:
        probe.reply["values"] = FACTS[probe.text("field")](probe)
    except OSError as error:
        # Not seen is not the same as seen to be wrong.
        raise Stop(NOT_PROBED, str(error)) from None
    return ANSWERED


def write_facts(options: Options) -> int:
    """Write what an init container sees, for the main one to read."""
    seen = {
        "addresses": interface_addresses(),
        "hostname": socket.gethostname(),
        "nameservers": resolv_conf("nameserver"),
        "netns": os.readlink("/proc/self/ns/net"),
    }
    write_json(options.text("out"), seen)
    return 0


# --- the remaining operations -------------------------------------------------------


def op_bind(probe: Probe) -> str:
    """Try to bind a port, and let it go again."""
    address = probe.text("address", "0.0.0.0")  # noqa: S104
    stream = probe.text("protocol", "tcp") == "tcp"
    family = family_of(address)
    kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
    with socket.socket(family, kind) as sock:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            if stream:
                # A listener still counts, a connection in TIME_WAIT does not.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, probe.number("port")))
            if stream:
                sock.listen(1)
        except OSError as error:
            probe.reply["values"] = [errno.errorcode.get(error.errno or 0, str(error))]
            return ANSWERED
    probe.reply["values"] = ["bound"]
    return ANSWERED


def op_tls(probe: Probe) -> str:
    """Connect, verify the certificate, and ask for a path."""
    import ssl  # noqa: PLC0415 - 20 ms that only this needs

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
    address = probe.address()
    name = probe.text("server_name", "") or probe.text("name", address)
    with dial(probe, address) as sock, secure(probe, context, sock, name) as secured:
        probe.reply["who"] = name
        probe.reply["values"] = [ask_by_http(probe, secured, name)]
    return CONNECTED


def secure(
    probe: Probe, context: ssl.SSLContext, sock: socket.socket, name: str
) -> ssl.SSLSocket:
    """Shake hands by TLS with whoever serves a name."""
    import ssl  # noqa: PLC0415

    probe.phase("tls")
    sock.settimeout(probe.left())
    try:
        return context.wrap_socket(sock, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        raise Stop(ANSWERED_WRONGLY, error.verify_message) from None
    except ssl.SSLError as error:
        raise Stop(ANSWERED_WRONGLY, error.reason or str(error)) from None


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


def op_restart(probe: Probe) -> str:
    """End the serve process of this container, after this has been answered."""
    pid = int(probe.state.get("pid") or 0)
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read().split(b"\0")
    if b"serve" not in words or started(pid) != probe.state.get("started"):
        raise Stop(NOT_PROBED, f"process {pid} is not this agent's server")

    def end() -> None:
        # The reply has to get out of the container before everything in it ends.
        time.sleep(0.1)
        os.kill(pid, signal.SIGINT)

    probe.after = end
    return ANSWERED


# --- looking at the Node -------------------------------------------------------------

HOST = "/host"
"""Where a privileged Pod has the Node's file system, and others have nothing."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MOST_OUTPUT = 8 << 20
IP_TTL, IPV6_UNICAST_HOPS = 2, 16
NLMSG_ERROR, NLMSG_DONE, NLM_F_REQUEST, NLM_F_DUMP = 2, 3, 0x1, 0x300
RTM_GETROUTE, RTA_DST, RTA_OIF, RTA_GATEWAY = 26, 1, 4, 5
RTM_GETNEIGH, AF_BRIDGE, NDA_DST, NDA_LLADDR = 30, 7, 1, 2
TRACED = 33434  # traceroute's own: nobody listens there

SETTINGS = (
    *("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"),
    *("net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"),
    *("net.netfilter.nf_conntrack_count", "net.netfilter.nf_conntrack_max"),
    *("net.ipv4.conf.all.rp_filter", "net.ipv4.conf.default.rp_filter"),
)
RULES = (
    ("nft", "list", "ruleset"),
    ("iptables-save", "-c"),
    ("ip6tables-save", "-c"),
)
PLUGINS = "/etc/cni/net.d"
ADDRESSES = "/var/lib/cni/networks"


def first_line(path: str) -> str:
    """Give what a file of the kernel says; "" when there is none."""
    try:
        with open(path, encoding="latin-1") as file:
            return file.readline().strip()
    except OSError:
        return ""


def look_at_settings(_: Probe) -> list[str]:
    """Give "name=value" of every setting, with no value where there is none."""
    files = ((name, name.replace(".", "/")) for name in SETTINGS)
    return [f"{name}={first_line(f'/proc/sys/{file}')}" for name, file in files]


def write_settings(options: Options) -> int:
    """Write the settings into a file: what a Node says that no stream reaches."""
    with open(options.text("out"), "w", encoding="ascii") as out:
        out.write("\n".join(look_at_settings(Probe({}, "", {}))))
    return 0


def look_at_links(_: Probe) -> list[str]:
    """Describe every network device, and how it is a port of a bridge."""
    found = []
    for _number, name in sorted(socket.if_nameindex()):
        place = f"/sys/class/net/{name}"
        try:
            with open(f"{place}/uevent", encoding="latin-1") as file:
                told = dict(line.strip().partition("=")[::2] for line in file)
        except OSError:
            told = {}
        state = "up" if int(first_line(f"{place}/flags") or "0", 16) & 1 else "down"
        line = f"{name} {told.get('DEVTYPE', 'device')} {state}"
        line += (
            f" mac={first_line(f'{place}/address')} mtu={first_line(f'{place}/mtu')}"
        )
        hairpin = first_line(f"{place}/brport/hairpin_mode")
        found.append(f"{line} hairpin={hairpin}" if hairpin else line)
    return found


def look_at_route(probe: Probe) -> list[str]:
    """Ask the kernel which way leads to an address, as ``ip route get`` does."""
    address = probe.text("address")
    family = family_of(address)
    packed = socket.inet_pton(family, address)
    asked = struct.pack("=8BI", family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    asked += struct.pack("=HH", 4 + len(packed), RTA_DST) + packed
    ((kind, answer),) = netlink(probe, RTM_GETROUTE, NLM_F_REQUEST, asked)
    if kind == NLMSG_ERROR:
        number = -struct.unpack_from("=i", answer)[0]
        return [errno.errorcode.get(number, str(number))]
    attributes = dict(netlink_attributes(answer, 12))
    via = attributes.get(RTA_GATEWAY)
    way = [f"via {socket.inet_ntop(family, via)}"] if via else []
    if RTA_OIF in attributes:
        (index,) = struct.unpack("=I", attributes[RTA_OIF])
        way.append(f"dev {socket.if_indextoname(index)}")
    return [" ".join(way)]


def look_at_forwarding(probe: Probe) -> list[str]:
    """Say where tunnels send the frames for each hardware address."""
    asked = struct.pack("=B3xiHBB", AF_BRIDGE, 0, 0, 0, 0)
    flags = NLM_F_REQUEST | NLM_F_DUMP
    found = []
    for _kind, entry in netlink(probe, RTM_GETNEIGH, flags, asked):
        (index,) = struct.unpack_from("=i", entry, 4)
        attributes = dict(netlink_attributes(entry, 12))
        to, mac = attributes.get(NDA_DST), attributes.get(NDA_LLADDR)
        if to and mac:
            family = socket.AF_INET if len(to) == 4 else socket.AF_INET6
            name = socket.if_indextoname(index)
            found.append(f"{name} {mac.hex(':')} to {socket.inet_ntop(family, to)}")
    return sorted(found)


def netlink(
    probe: Probe, kind: int, flags: int, asked: bytes
) -> list[tuple[int, bytes]]:
    """Ask the kernel about its network; give each answer's type and what follows."""
    header = struct.pack("=IHHII", 16 + len(asked), kind, flags, 1, 0)
    found: list[tuple[int, bytes]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.send(header + asked)
        while True:
            sock.settimeout(probe.left())
            data, offset = sock.recv(LINE), 0
            while offset + 16 <= len(data):
                length, kind = struct.unpack_from("=IH", data, offset)
                if kind == NLMSG_DONE:
                    return found
                found.append((kind, data[offset + 16 : offset + length]))
                offset += (length + 3) & ~3
            if not flags & NLM_F_DUMP:
                return found


def netlink_attributes(message: bytes, offset: int) -> Any:
    """Yield the (type, value) pairs of a netlink message."""
    while offset + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, offset)
        if length < 4:
            return
        yield kind, message[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def look_at_rules(probe: Probe) -> list[str]:
    """Give what the Node's own programs say of its packet filters.

    A program that the Node does not have, or that fails, says nothing.
    """
    said = [run_on_node(probe, argv) for argv in RULES]
    if not any(said):
        raise Stop(NOT_PROBED, "neither nft nor iptables-save runs on the Node")
    return [line for text in said for line in text.splitlines()]


def run_on_node(probe: Probe, argv: tuple[str, ...]) -> str:
    """Run one of the programs that are named in this file, as the Node has it."""
    import subprocess  # noqa: PLC0415 - 10 ms that only this needs

    def enter() -> None:
        os.chroot(HOST)
        os.chdir("/")

    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": PATH, "LC_ALL": "C"},
            preexec_fn=enter,
            timeout=probe.left(),
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout[:MOST_OUTPUT].decode("utf-8", "replace")


def look_at_plugins(_: Probe) -> list[str]:
    """Name the Node's CNI configurations, and count the addresses it has given away."""
    if not os.path.isdir(HOST):
        raise Stop(NOT_PROBED, "the Node's files are not here")
    found = [f"{PLUGINS}: {name}" for name in names_in(HOST + PLUGINS)]
    for network in names_in(HOST + ADDRESSES):
        given = names_in(f"{HOST}{ADDRESSES}/{network}")
        count = sum(name[:1].isdigit() for name in given)
        found.append(f"{ADDRESSES}/{network}: {count} addresses")
    return found


def names_in(folder: str) -> list[str]:
    """List a folder; nothing when there is none."""
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


LOOKS: dict[str, Callable[[Probe], list[str]]] = {
    "settings": look_at_settings,
    "links": look_at_links,
    "route": look_at_route,
    "forwarding": look_at_forwarding,
    "rules": look_at_rules,
    "plugins": look_at_plugins,
}


def op_look(probe: Probe) -> str:
    """Report what there is to see on this network; nothing is changed."""
    probe.reply["values"] = LOOKS[probe.text("what")](probe)
    return ANSWERED


def op_trace(probe: Probe) -> str:
    """Report who answers at each hop on the way to an address, "*" for nobody.

    All hops are asked at the same time; no privileges are needed.
    """
    import select  # noqa: PLC0415

    address = probe.text("address")
    family = family_of(address)
    level, option = (
        (SOL_IPV6, IPV6_UNICAST_HOPS) if ":" in address else (SOL_IP, IP_TTL)
    )
    waiting: dict[int, tuple[int, socket.socket]] = {}
    hops = ["*"] * probe.number("hops", 8)
    poll = select.poll()
    try:
        for hop in range(len(hops)):
            sock = socket.socket(family, socket.SOCK_DGRAM)
            waiting[sock.fileno()] = hop, sock
            report_errors(sock, 1)
            sock.setsockopt(level, option, hop + 1)
            sock.sendto(b"k8snet", (address, TRACED + hop))
            poll.register(sock, select.POLLERR)
        end, reached = time.monotonic() + probe.left(), len(hops)
        while (
            any(hop < reached for hop, _ in waiting.values()) and time.monotonic() < end
        ):
            for number, _ in poll.poll(100):
                hop, sock = waiting.pop(number)
                poll.unregister(number)
                with sock:
                    hops[hop] = icmp_error(sock).rpartition(" ")[2] or "*"
                if hops[hop] == address:
                    reached = min(reached, hop + 1)
    finally:
        for _, sock in waiting.values():
            sock.close()
    probe.reply["values"] = hops[:reached]
    return ANSWERED


OPS: dict[str, Callable[[Probe], str]] = {
    "connect": op_connect,
    "hold": op_hold,
    "resume": op_resume,
    "bulk": op_bulk,
    "full-size": op_full_size,
    "ping": op_ping,
    "http": op_http,
    "fetch": op_fetch,
    "dns": op_dns,
    "lookup": op_lookup,
    "fact": op_fact,
    "bind": op_bind,
    "tls": op_tls,
    "restart": op_restart,
    "look": op_look,
    "trace": op_trace,
}


def attempt(probe: Probe) -> None:
    """Run a probe and put its outcome into the reply."""
    try:
        time.sleep(probe.number("wait", 0))
        outcome, detail = OPS[probe.text("op")](probe), probe.reply["detail"]
        probe.phase("")
    except Stop as stop:
        outcome, detail = stop.outcome, stop.detail
    except TimedOut:
        outcome, detail = TIMED_OUT, f"no answer within {probe.timeout:g} s"
    except OSError as error:
        number = error.errno or 0
        outcome = OUTCOME_OF_ERRNO.get(number, NOT_PROBED)
        detail = errno.errorcode.get(number, repr(error))
        if number == errno.EADDRNOTAVAIL and probe.request.get("source_port"):
            # The port pair is still in TIME_WAIT: that says nothing of the network.
            outcome = NOT_PROBED
    except Exception as error:  # noqa: BLE001 - our bug is never evidence
        outcome, detail = NOT_PROBED, repr(error)
    probe.reply["outcome"], probe.reply["detail"] = outcome, detail
    probe.reply["seconds"] = round(time.monotonic() - probe.begin, 6)


def run(request: Any, state_dir: str = "", state: Reply | None = None) -> Probe:
    """Work on one request. Whatever it is, there is a reply."""
    try:
        probe = Probe(request, state_dir, state or {})
    except (TypeError, ValueError, AttributeError) as error:
        number = request.get("id") if isinstance(request, dict) else None
        probe = Probe({"id": number}, state_dir, {})
        probe.reply["detail"] = repr(error)
        return probe
    attempt(probe)
    return probe


# --- the control channel ------------------------------------------------------------


PULSE = 0.25
LATE = 0.5
"""Seconds between two pulses, and by how much one may be late without a word."""


class Control:
    """Runs what comes in on stdin, many at a time, and writes replies to stdout."""

    def __init__(self, state_dir: str, state: Reply) -> None:
        self.state_dir = state_dir
        self.state = state
        self.waiting: queue.SimpleQueue[object] = queue.SimpleQueue()
        # Two locks: while replies wait for the controller to read, requests still
        # have to be taken, or both ends would wait for each other.
        self.lock = threading.Lock()
        self.output = threading.Lock()
        self.workers = 0
        self.unfinished = 0

    def write(self, value: object) -> None:
        """Write one line; without a reader there is nothing left to do."""
        line = json.dumps(value) + "\n"
        with self.output:
            try:
                sys.stdout.write(line)
                sys.stdout.flush()
            except OSError:
                os._exit(0)

    def pulse(self) -> None:
        """Say when this machine did not let us run: a time-out then tells nothing."""
        while True:
            before = time.monotonic()
            time.sleep(PULSE)
            late = time.monotonic() - before - PULSE
            if late > LATE:
                self.write({"late": round(late, 3)})

    def submit(self, request: object) -> None:
        """Have a request run; a worker is added while all of them are busy."""
        with self.lock:
            self.unfinished += 1
            grow = self.workers < min(self.unfinished, WORKERS)
            self.workers += grow
        self.waiting.put(request)
        if grow:
            threading.Thread(target=self.work, daemon=True).start()

    def work(self) -> None:
        """Take one request after the other."""
        while True:
            probe = run(self.waiting.get(), self.state_dir, self.state)
            self.write(probe.reply)
            with self.lock:
                self.unfinished -= 1
            if probe.after:
                probe.after()

    def read(self) -> None:
        """Take requests from stdin until it ends. Blank lines keep the stream alive."""
        for line in sys.stdin.buffer:
            if not line.strip():
                continue
            try:
                requests = json.loads(line)["requests"]
                for request in requests:
                    self.submit(request)
            except (ValueError, KeyError, TypeError) as error:
                self.write({"error": f"not a message: {error!r}"})


def await_state(directory: str, container: str) -> Reply:
    """Wait for the server of this container to say that it listens."""
    path = os.path.join(directory, container + ".json")
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            with open(path, encoding="utf-8") as file:
                state: Reply = json.load(file)
            # A file may be left from before the container was restarted.
            if state["started"] == started(state["pid"]):
                return state
        except (OSError, ValueError, KeyError):
            pass
        time.sleep(0.02)
    raise SystemExit(f"no server said in {path} that it listens")


def control(options: Options) -> int:
    """Be the controller's hands here until it closes stdin."""
    threading.stack_size(256 * 1024)
    directory = options.text("state", "")
    state: Reply = {}
    if directory:
        state = await_state(directory, options.text("container", "main"))
    worker = Control(directory, state)
    name = options.text("name", "") or state.get("name", "")
    worker.write({"hello": 1, "name": name, "ports": state.get("ports", {})})
    threading.Thread(target=worker.pulse, daemon=True).start()
    worker.read()
    # Workers that still wait for a dead peer must not keep the process alive.
    os._exit(0)


# --- the command line ---------------------------------------------------------------


class Options:
    """The ``--name value`` pairs and the words; argparse would cost 10 ms a start."""

    def __init__(self, arguments: list[str]) -> None:
        self.words: list[str] = []
        self.pairs: list[tuple[str, str]] = []
        rest = iter(arguments)
        for argument in rest:
            if argument.startswith("--"):
                name, equals, value = argument[2:].partition("=")
                self.pairs.append((name, value if equals else next(rest, "")))
            else:
                self.words.append(argument)

    def many(self, name: str) -> list[str]:
        """Give every value of an option."""
        return [value for key, value in self.pairs if key == name]

    def has(self, name: str) -> bool:
        """Whether an option was given."""
        return bool(self.many(name))

    def text(self, name: str, default: str | None = None) -> str:
        """Give the last value of an option."""
        found = self.many(name)
        if not found and default is None:
            raise SystemExit(f"--{name} is missing")
        return found[-1] if found else default or ""


def by_hand(command: str, words: list[str]) -> Reply:
    """Make the request that a person spelled as words."""
    if command == "dns":
        server, name, kind, *transport = words
        tcp = "tcp" if transport else "udp"
        return {"op": "dns", "server": server, "name": name, "type": kind} | {
            "transport": tcp
        }
    if command == "lookup":
        return {"op": "lookup", "name": words[0], "timeout": 25}
    address, port, *size = words
    if command == "fetch":
        host, _, path = size[0].partition("/")
        where = {"address": address, "port": int(port), "host": host}
        return {"op": "fetch", **where, "path": f"/{path}", "tls": port == "443"}
    request = {"protocol": command, "address": address, "port": int(port)}
    if size == ["mtu"]:
        return {"op": "full-size", **request}
    return {"op": "connect", "size": int(size[0]) if size else 0, **request}


def sentence(reply: Reply) -> str:
    """Say in one line what a probe saw."""
    said = f"{reply['outcome']} ({reply['seconds'] * 1000:.1f} ms)"
    if reply["phase"]:
        said += f" in phase {reply['phase']}"
    if reply["detail"]:
        said += f": {reply['detail']}"
    if reply.get("icmp"):
        said += f" (ICMP {reply['icmp']})"
    if reply["outcome"] == CONNECTED:
        if reply.get("mtu"):
            said += f" at MTU {reply['mtu']}"
        return f"{said}: {reply['who']} at {reply['local']} saw {reply['peer']}"
    return " ".join([said, *reply["values"]])


def probe_by_hand(command: str, words: list[str]) -> int:
    """Run one probe for a person."""
    try:
        request = json.loads(words[0]) if command == "probe" else None
        request = request or by_hand(command, words)
    except (ValueError, IndexError):
        raise SystemExit(__doc__) from None
    reply = run(request).reply
    print(json.dumps(reply) if command == "probe" else sentence(reply), flush=True)
    return 0 if reply["outcome"] in (CONNECTED, ANSWERED) else 1


def main(arguments: list[str]) -> int:
    """Run a command."""
    command, options = (arguments or [""])[0], Options(arguments[1:])
    commands = {"serve": serve, "control": control, "facts": write_facts}
    commands["settings"] = write_settings
    if command in commands:
        return commands[command](options)
    if command in ("probe", *TRANSPORTS, "dns", "lookup", "fetch"):
        return probe_by_hand(command, options.words)
    raise SystemExit(__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
