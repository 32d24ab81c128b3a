"""Asks the same things again and again, and answers others of its kind.

The one program that runs in the Pods of a watch: one file and the standard library
of Python 3.9. It goes on asking while nobody can reach it, keeps what it saw until
that was fetched, and judges nothing.

    watcher.py serve --name NAME --state DIR [--port 8080]
    watcher.py control --state DIR
    watcher.py alone --name NAME
"""

# Importing pathlib would cost 10 ms of every start.

from __future__ import annotations

import errno
import heapq
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from abc import ABC, abstractmethod
from collections import deque

TYPE_CHECKING = False  # importing typing to learn this would cost 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Handler = Callable[[int], None]

EVERY = 0.2
TIMEOUT = 0.9
"""Seconds for an answer: less than the one after which TCP sends its first packet
again, so that what is lost was lost when it was sent."""

PATIENCE = 10.0
"""Seconds without any answer after which a kept connection counts as broken."""

GAP = 1.0
"""Seconds without a question after which what was seen before is no longer the same."""

LATE = 0.3
"""Seconds by which a question may be late before we say that we were not let run."""

RUNS = 50_000
"""How much is kept for a controller that does not fetch it; the oldest goes first."""

READ = 65536
BACKLOG = 256
STARTING = 10.0
QUESTION = b"?\n"
SOCKET = "watch.sock"

ANSWERED, TIMED_OUT, WRONG = "answered", "timed out", "answered wrongly"
NOT_PROBED, RESET = "not probed", "reset"
OUTCOME_OF_ERRNO = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: RESET,
    errno.ECONNABORTED: RESET,
    errno.EPIPE: RESET,
    errno.ETIMEDOUT: TIMED_OUT,
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTDOWN: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.EACCES: "unreachable",  # a prohibit route
    errno.EINVAL: "unreachable",  # a blackhole route
    errno.EPERM: "unreachable",  # dropped by the sender's own OUTPUT chain
}
IN, OUT = select.EPOLLIN, select.EPOLLOUT
GONE = select.EPOLLERR | select.EPOLLHUP


def outcome_of(error: OSError) -> str:
    """Say what an error means; what we could not even ask was not probed."""
    return OUTCOME_OF_ERRNO.get(error.errno or 0, NOT_PROBED)


def failure(sock: socket.socket) -> OSError:
    """Give the error that ended a connection."""
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return OSError(number or errno.ECONNRESET, "")


class Ask:
    """One question, from when it was due until its outcome is known."""

    __slots__ = ("abandon", "outcome", "path", "sent")

    def __init__(self, path: Path, sent: float) -> None:
        self.path = path
        self.sent = sent
        self.outcome = ""
        self.abandon: Callable[[], None] | None = None


class Log:
    """What was seen and not fetched yet.

    A run is [number of the path, outcome, first sent, last sent, count]: as many
    questions in a row with the same outcome.
    """

    def __init__(self) -> None:
        self.number = 0
        self.kept: list[dict[str, Any]] = []
        self._clear()

    def _clear(self) -> None:
        self.runs: deque[list[Any]] = deque(maxlen=RUNS)
        self.broken: deque[list[Any]] = deque(maxlen=RUNS)
        self.late: deque[list[float]] = deque(maxlen=RUNS)
        self._last: dict[int, list[Any]] = {}

    def note(self, number: int, outcome: str, sent: float) -> None:
        """Add one outcome."""
        last = self._last.get(number)
        if last and last[1] == outcome and sent - last[3] <= GAP:
            last[3] = sent
            last[4] += 1
            return
        run = self._last[number] = [number, outcome, sent, sent, 1]
        self.runs.append(run)

    def fetch(self, after: int) -> list[dict[str, Any]]:
        """Give every batch later than that number: what came before has arrived."""
        self.kept = [batch for batch in self.kept if batch["number"] > after]
        if self.runs or self.broken or self.late:
            self.number += 1
            parts = {"runs": self.runs, "broken": self.broken, "late": self.late}
            lists = {name: list(part) for name, part in parts.items()}
            self.kept.append({"number": self.number, **lists})
            self._clear()
        return self.kept


class Path(ABC):
    """What is asked again and again. Outcomes are noted in the order of asking."""

    def __init__(self, loop: Loop, number: int, wanted: dict[str, Any]) -> None:
        self.loop = loop
        self.number = number
        self.wanted = wanted
        self.where = (wanted["address"], wanted["port"])
        v6 = ":" in wanted["address"]
        self.family = socket.AF_INET6 if v6 else socket.AF_INET
        self.who = wanted["who"].encode()
        self.ended = False
        self._asked: deque[Ask] = deque()

    def ask(self, now: float) -> Ask:
        """Send one question."""
        ask = Ask(self, now)
        self._asked.append(ask)
        try:
            self.send(ask)
        except OSError as error:
            self.settle(ask, outcome_of(error))
        return ask

    @abstractmethod
    def send(self, ask: Ask) -> None:
        """Send it, each kind of path in its way. Raises OSError."""

    def settle(self, ask: Ask, outcome: str) -> None:
        """Take the outcome of a question, the first one that comes."""
        if ask.outcome:
            return
        ask.outcome = outcome
        if ask.abandon:
            ask.abandon()
        while self._asked and self._asked[0].outcome:
            first = self._asked.popleft()
            if not self.ended:
                self.loop.log.note(self.number, first.outcome, first.sent)

    def end(self) -> None:
        """Ask no more."""
        self.ended = True
        for ask in list(self._asked):
            self.settle(ask, NOT_PROBED)

    def outcome(self, line: bytes) -> str:
        """Say whether the one who answered is the one who was asked."""
        return ANSWERED if line.startswith(self.who) else WRONG


class Fresh(Path):
    """A new connection for every question."""

    def send(self, ask: Ask) -> None:
        sock = socket.socket(self.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        # Closed by a reset: five times a second, nothing stays in TIME_WAIT or, on
        # the Nodes, for minutes in the table of connections.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.exchange(ask, sock, QUESTION, self.outcome)

    def exchange(
        self,
        ask: Ask,
        sock: socket.socket,
        question: bytes,
        judge: Callable[[bytes], str],
    ) -> None:
        """Connect a socket, send a question when that is possible, and read."""
        loop, unsent = self.loop, [question]

        def ready(events: int) -> None:
            try:
                if events & IN:
                    data = sock.recv(READ)
                    self.settle(ask, judge(data) if data else RESET)
                elif events & GONE:
                    self.settle(ask, outcome_of(failure(sock)))
                elif unsent:
                    sock.send(unsent.pop())
            except BlockingIOError:
                return
            except OSError as error:
                self.settle(ask, outcome_of(error))

        def abandon() -> None:
            loop.forget(sock.fileno())
            sock.close()

        ask.abandon = abandon
        # Edge-triggered: one registration serves writing, and then reading.
        loop.on(sock.fileno(), IN | OUT | select.EPOLLET, ready)
        number = sock.connect_ex(self.where)
        if number not in (0, errno.EINPROGRESS):
            raise OSError(number, "")


class Dns(Fresh):
    """A DNS question by UDP, each from a port of its own, as resolvers do it."""

    def __init__(self, loop: Loop, number: int, wanted: dict[str, Any]) -> None:
        super().__init__(loop, number, wanted)
        labels = wanted["name"].rstrip(".").split(".")
        name = b"".join(bytes([len(one)]) + one.encode() for one in labels) + b"\0"
        kind = 28 if wanted["type"] == "AAAA" else 1
        self._asks = struct.pack("!5H", 0x0100, 1, 0, 0, 0) + name
        self._asks += struct.pack("!2H", kind, 1)

    def send(self, ask: Ask) -> None:
        sock = socket.socket(self.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        number = os.urandom(2)

        def judge(data: bytes) -> str:
            # An answer, to this question, without an error, and with a record.
            flags = data[2:4]
            good = len(flags) > 1 and flags[0] & 0x80 and not flags[1] & 0x0F
            good = good and data[:2] == number and data[6:8] > b"\0\0"
            return ANSWERED if good else WRONG

        self.exchange(ask, sock, number + self._asks, judge)


class Kept(Path):
    """One connection for all questions, for as long as it lasts."""

    def __init__(self, loop: Loop, number: int, wanted: dict[str, Any]) -> None:
        super().__init__(loop, number, wanted)
        self._sock: socket.socket | None = None
        self._up = False  # connected
        self._held = False  # it carried an answer
        self._open: deque[Ask] = deque()
        self._buffer = b""

    def send(self, ask: Ask) -> None:
        self._give_up_waiting(ask.sent)
        self._open.append(ask)
        if self._sock is None:
            self._connect()
        elif self._up:
            self._write(1)

    def end(self) -> None:
        self._close()
        super().end()

    def _connect(self) -> None:
        sock = socket.socket(self.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self.loop.on(sock.fileno(), IN | OUT | select.EPOLLET, self._ready)
        number = sock.connect_ex(self.where)
        if number not in (0, errno.EINPROGRESS):
            self._break(OSError(number, ""))

    def _write(self, questions: int) -> None:
        try:
            if self._sock is not None:
                self._sock.send(QUESTION * questions)
        except BlockingIOError:
            return  # nothing gets away: that is what the time-out will say
        except OSError as error:
            self._break(error)

    def _ready(self, events: int) -> None:
        sock = self._sock
        if sock is None:
            return
        if events & GONE:
            self._break(failure(sock))
            return
        if not self._up:
            self._up = True
            self._write(len(self._open))
        if events & IN:
            self._read(sock)

    def _read(self, sock: socket.socket) -> None:
        try:
            self._take(sock.recv(READ))
        except BlockingIOError:
            return
        except OSError as error:
            self._break(error)

    def _take(self, data: bytes) -> None:
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "closed")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            if self._open:
                self._held = True
                self.settle(self._open.popleft(), self.outcome(line))

    def _give_up_waiting(self, now: float) -> None:
        """Begin anew once nothing can be expected of the connection any more."""
        waited = now - self._open[0].sent if self._open else 0.0
        if waited > (PATIENCE if self._held else TIMEOUT):
            self._break(OSError(errno.ETIMEDOUT, ""))

    def _break(self, error: OSError) -> None:
        outcome = outcome_of(error)
        if self._held:
            self.loop.log.broken.append([self.number, self.loop.now(), outcome])
        waiting = list(self._open)
        self._close()
        for ask in waiting:
            self.settle(ask, outcome)

    def _close(self) -> None:
        if self._sock is not None:
            self.loop.forget(self._sock.fileno())
            self._sock.close()
        self._sock, self._up, self._held, self._buffer = None, False, False, b""
        self._open.clear()


HOW: dict[str, Callable[[Loop, int, dict[str, Any]], Path]] = {
    "new": Fresh,
    "kept": Kept,
    "dns": Dns,
}


class Loop:
    """Everything that goes on in this process, one thing after the other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.log = Log()
        self.incarnation = os.urandom(8).hex()
        self.paths: dict[int, Path] = {}
        self._poll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._due: list[tuple[float, int, Path]] = []
        self._waiting: deque[Ask] = deque()
        self._hang_up: Callable[[], None] = lambda: None

    @staticmethod
    def now() -> float:
        return round(time.monotonic(), 3)

    def on(self, fd: int, events: int, handler: Handler) -> None:
        """Call a handler for these events of a descriptor."""
        self._handlers[fd] = handler
        self._poll.register(fd, events)

    def wait_for(self, fd: int, events: int) -> None:
        """Wait for other events of a descriptor."""
        self._poll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Call nobody for a descriptor any more; before it is closed."""
        if self._handlers.pop(fd, None):
            self._poll.unregister(fd)

    def watch(self, wanted: dict[int, dict[str, Any]]) -> None:
        """Ask along these paths from now on, and along no others."""
        for number, path in list(self.paths.items()):
            if wanted.get(number) != path.wanted:
                self.paths.pop(number).end()
        new = [number for number in wanted if number not in self.paths]
        now = self.now()
        for place, number in enumerate(new):
            path = HOW[wanted[number]["how"]](self, number, wanted[number])
            self.paths[number] = path
            # Spread over the time between two questions.
            due = round(now + EVERY * place / len(new), 3)
            heapq.heappush(self._due, (due, number, path))

    def run(self) -> None:
        """Go on for ever."""
        while True:
            ends = [self._due[0][0]] if self._due else []
            ends += [self._waiting[0].sent + TIMEOUT] if self._waiting else []
            left = max(0.0, min(ends) - time.monotonic()) if ends else None
            for fd, events in self._poll.poll(left):
                handler = self._handlers.get(fd)
                if handler:
                    handler(events)
            # Only now: an answer that is there was in time, however late we are.
            now = self.now()
            self._expire(now)
            self._ask(now)

    def _expire(self, now: float) -> None:
        waiting = self._waiting
        while waiting and (waiting[0].outcome or waiting[0].sent + TIMEOUT <= now):
            ask = waiting.popleft()
            ask.path.settle(ask, TIMED_OUT)

    def _ask(self, now: float) -> None:
        if self._due and now - self._due[0][0] > LATE:
            self.log.late.append([self._due[0][0], now])
        while self._due and self._due[0][0] <= now:
            due, number, path = heapq.heappop(self._due)
            if path.ended:
                continue
            self._waiting.append(path.ask(now))
            # What was missed is not made up for: it was not asked.
            due = round(due + EVERY * (1 + (now - due) // EVERY), 3)
            heapq.heappush(self._due, (due, number, path))

    # ---------------------------------------------------------------------- answering

    def listen(self, listener: socket.socket, greet: Callable[[Any], None]) -> None:
        """Greet everyone who connects."""
        listener.setblocking(False)
        listener.listen(BACKLOG)

        def ready(_: int) -> None:
            while True:
                try:
                    client, _address = listener.accept()
                except OSError:
                    return  # all are greeted, or there is no room for another
                client.setblocking(False)
                greet(client)

        self.on(listener.fileno(), IN, ready)

    def answer(self, client: socket.socket) -> None:
        """Say our name to a client, once for each line."""
        name = self.name.encode() + b"\n"

        def ready(_: int) -> None:
            try:
                data = client.recv(READ)
                if data:
                    client.send(name * data.count(b"\n"))
                    return
            except BlockingIOError:
                return
            except OSError:
                pass
            self.forget(client.fileno())
            client.close()

        self.on(client.fileno(), IN, ready)

    # ------------------------------------------------------------------ the controller

    def converse(self, client: socket.socket) -> None:
        """Do what a controller says that came by the Unix socket.

        There is one: a stream that a container runtime lost may never end by itself.
        """
        incoming, outgoing = Lines(), bytearray()
        self._hang_up()

        def hang_up() -> None:
            self.forget(client.fileno())
            client.close()
            self._hang_up = lambda: None

        self._hang_up = hang_up

        def flush() -> None:
            try:
                sent = client.send(outgoing)
            except BlockingIOError:
                sent = 0
            del outgoing[:sent]
            self.wait_for(client.fileno(), IN | OUT if outgoing else IN)

        def ready(events: int) -> None:
            try:
                if events & IN:
                    data = client.recv(READ)
                    if not data:
                        raise ConnectionResetError
                    for line in incoming.add(data):
                        outgoing.extend(self.obey(line))
                flush()
            except BlockingIOError:
                return
            except OSError:
                hang_up()

        self.on(client.fileno(), IN, ready)
        outgoing.extend(self.hello())
        flush()

    def alone(self) -> None:
        """Do what comes on stdin, until it ends."""
        incoming = Lines()

        def ready(_: int) -> None:
            data = os.read(0, READ)
            if not data:
                os._exit(0)
            for line in incoming.add(data):
                write(1, self.obey(line))

        self.on(0, IN, ready)
        write(1, self.hello())

    def hello(self) -> bytes:
        return encode({"hello": 1, "name": self.name, "ports": {}})

    def obey(self, line: bytes) -> bytes:
        """Do what one message asks for; blank lines keep a stream alive."""
        if not line.strip():
            return b""
        replies = []
        for request in json.loads(line)["requests"]:
            reply = {"id": request["id"], "outcome": ANSWERED}
            try:
                reply.update(self.work(request))
            except (LookupError, TypeError, ValueError) as error:
                reply.update({"outcome": NOT_PROBED, "detail": repr(error)})
            replies.append(encode(reply))
        return b"".join(replies)

    def work(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do one thing."""
        if request["op"] == "watch":
            self.watch({int(n): path for n, path in request["paths"].items()})
            return {"incarnation": self.incarnation}
        if request["op"] == "fetch":
            same = request["incarnation"] == self.incarnation
            batches = self.log.fetch(request["after"] if same else 0)
            found = {"incarnation": self.incarnation, "batches": batches}
            return {**found, "now": time.monotonic()}
        raise ValueError(f"no operation: {request['op']}")


class Lines:
    """Bytes as they come, cut into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def add(self, data: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines


def encode(value: object) -> bytes:
    """Write a message."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def write(fd: int, data: bytes) -> None:
    """Write everything; without a reader there is nothing left to do."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except OSError:
            os._exit(0)


def serve(options: dict[str, str]) -> int:
    """Be the container's first process, until SIGTERM."""
    # It gets no default action for SIGTERM, and inherits orphans: ignoring SIGCHLD
    # has the kernel reap them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    loop = Loop(options["name"])
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            listener = socket.socket(family, socket.SOCK_STREAM)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("", int(options.get("port", "8080"))))
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
            continue
        loop.listen(listener, loop.answer)
    path = os.path.join(options["state"], SOCKET)
    if os.path.exists(path):
        os.unlink(path)
    controllers = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    controllers.bind(path)
    loop.listen(controllers, loop.converse)
    print(f"k8snet watcher serving {loop.name}", flush=True)
    loop.run()
    return 0


def control(options: dict[str, str]) -> int:
    """Pass on what a controller and the first process say to each other."""
    path = os.path.join(options["state"], SOCKET)
    end = time.monotonic() + STARTING
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    while True:
        try:
            sock.connect(path)
            break
        except OSError as error:
            if time.monotonic() > end:
                raise SystemExit(f"{path}: {error}") from None
            time.sleep(0.05)
    poll = select.poll()
    for fd in (0, sock.fileno()):
        poll.register(fd, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            data = os.read(fd, READ)
            if not data:
                return 0
            write(1 if fd else sock.fileno(), data)


def alone(options: dict[str, str]) -> int:
    """Ask, without answering, for as long as stdin stays open."""
    loop = Loop(options["name"])
    loop.alone()
    loop.run()
    return 0


def main(arguments: list[str]) -> int:
    """Run a command."""
    commands = {"serve": serve, "control": control, "alone": alone}
    command, *rest = arguments or [""]
    if command not in commands:
        raise SystemExit(__doc__)
    names = (name[2:] for name in rest[::2])
    return commands[command](dict(zip(names, rest[1::2])))  # noqa: B905 - since 3.10


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
