"""The paths of a watch: each is asked along again and again, in its way."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from abc import ABC, abstractmethod
from collections import deque

from .addresses import family_of
from .dns_messages import TYPES, encode_name
from .events import GONE, IN, OUT, now
from .outcomes import ANSWERED, ANSWERED_WRONGLY, NOT_PROBED, OUTCOME_OF_ERRNO, RESET
from .sockets import LINE, take_own_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .events import Events
    from .watch_log import Log

TIMEOUT = 0.9
"""Seconds for an answer: less than the one after which TCP sends its first packet
again, so that what is lost was lost when it was sent."""

PATIENCE = 10.0
"""Seconds without any answer after which a kept connection counts as broken."""

QUESTION = b"?\n"


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


class Path(ABC):
    """What is asked again and again. Outcomes are noted in the order of asking."""

    def __init__(
        self, events: Events, log: Log, number: int, wanted: dict[str, Any]
    ) -> None:
        self.events = events
        self.log = log
        self.number = number
        self.wanted = wanted
        self.where = (wanted["address"], wanted["port"])
        self.family = family_of(wanted["address"])
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
                self.log.note(self.number, first.outcome, first.sent)

    def end(self) -> None:
        """Ask no more."""
        self.ended = True
        for ask in list(self._asked):
            self.settle(ask, NOT_PROBED)

    def outcome(self, line: bytes) -> str:
        """Say whether the one who answered is the one who was asked."""
        return ANSWERED if line.startswith(self.who) else ANSWERED_WRONGLY


class Fresh(Path):
    """A new connection for every question."""

    def send(self, ask: Ask) -> None:
        sock = socket.socket(self.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        # Closed by a reset: five times a second, nothing stays in TIME_WAIT or, on
        # the Nodes, for minutes in the table of connections.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        take_own_port(sock)
        self.exchange(ask, sock, QUESTION, self.outcome)

    def exchange(
        self,
        ask: Ask,
        sock: socket.socket,
        question: bytes,
        judge: Callable[[bytes], str],
    ) -> None:
        """Connect a socket, send a question when that is possible, and read."""
        unsent = [question]

        def ready(events: int) -> None:
            try:
                if events & IN:
                    data = sock.recv(LINE)
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
            self.events.forget(sock.fileno())
            sock.close()

        ask.abandon = abandon
        # Edge-triggered: one registration serves writing, and then reading.
        self.events.on(sock.fileno(), IN | OUT | select.EPOLLET, ready)
        number = sock.connect_ex(self.where)
        if number not in (0, errno.EINPROGRESS):
            raise OSError(number, "")


class Dns(Fresh):
    """A DNS question by UDP, each from a port of its own, as resolvers do it."""

    def __init__(
        self, events: Events, log: Log, number: int, wanted: dict[str, Any]
    ) -> None:
        super().__init__(events, log, number, wanted)
        self._asks = struct.pack("!5H", 0x0100, 1, 0, 0, 0)
        self._asks += encode_name(wanted["name"])
        self._asks += struct.pack("!2H", TYPES[wanted["type"]], 1)

    def send(self, ask: Ask) -> None:
        sock = socket.socket(self.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        number = os.urandom(2)

        def judge(data: bytes) -> str:
            # An answer, to this question, without an error, and with a record.
            flags = data[2:4]
            good = len(flags) > 1 and flags[0] & 0x80 and not flags[1] & 0x0F
            good = good and data[:2] == number and data[6:8] > b"\0\0"
            return ANSWERED if good else ANSWERED_WRONGLY

        self.exchange(ask, sock, number + self._asks, judge)


class Kept(Path):
    """One connection for all questions, for as long as it lasts."""

    def __init__(
        self, events: Events, log: Log, number: int, wanted: dict[str, Any]
    ) -> None:
        super().__init__(events, log, number, wanted)
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
        take_own_port(sock)
        self._sock = sock
        self.events.on(sock.fileno(), IN | OUT | select.EPOLLET, self._ready)
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
            self._take(sock.recv(LINE))
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
            self.log.broken.append([self.number, now(), outcome])
        waiting = list(self._open)
        self._close()
        for ask in waiting:
            self.settle(ask, outcome)

    def _close(self) -> None:
        if self._sock is not None:
            self.events.forget(self._sock.fileno())
            self._sock.close()
        self._sock, self._up, self._held, self._buffer = None, False, False, b""
        self._open.clear()


HOW: dict[str, Callable[[Events, Log, int, dict[str, Any]], Path]] = {
    "new": Fresh,
    "kept": Kept,
    "dns": Dns,
}
