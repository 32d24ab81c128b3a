"""Asks the same things again and again, and answers others of its kind.

The one program that runs in the Pods of a watch. It goes on asking while nobody can
reach it, keeps what it saw until that was fetched, and judges nothing.

    python3 -m agent.watcher serve --name NAME --state DIR [--port 8080]
    python3 -m agent.watcher control --state DIR
    python3 -m agent.watcher alone --name NAME
"""

from __future__ import annotations

import heapq
import json
import os
import select
import socket
import sys
import time
from collections import deque

from .events import IN, OUT, Events, now
from .listeners import bind_families
from .options import Options
from .outcomes import ANSWERED, NOT_PROBED, TIMED_OUT
from .processes import become_first
from .sockets import LINE
from .watch_log import Log
from .watch_paths import HOW, TIMEOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .watch_paths import Ask, Path

EVERY = 0.2
LATE = 0.3
"""Seconds by which a question may be late before we say that we were not let run."""

STARTING = 10.0
SOCKET = "watch.sock"


class Loop:
    """Everything that goes on in this process, one thing after the other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.events = Events()
        self.log = Log()
        self.incarnation = os.urandom(8).hex()
        self.paths: dict[int, Path] = {}
        self._due: list[tuple[float, int, Path]] = []
        self._waiting: deque[Ask] = deque()
        self._hang_up: Callable[[], None] = lambda: None

    def watch(self, wanted: dict[int, dict[str, Any]]) -> None:
        """Ask along these paths from now on, and along no others."""
        for number, path in list(self.paths.items()):
            if wanted.get(number) != path.wanted:
                self.paths.pop(number).end()
        new = [number for number in wanted if number not in self.paths]
        at = now()
        for place, number in enumerate(new):
            make = HOW[wanted[number]["how"]]
            path = make(self.events, self.log, number, wanted[number])
            self.paths[number] = path
            # Spread over the time between two questions.
            due = round(at + EVERY * place / len(new), 3)
            heapq.heappush(self._due, (due, number, path))

    def run(self) -> None:
        """Go on for ever."""
        while True:
            ends = [self._due[0][0]] if self._due else []
            ends += [self._waiting[0].sent + TIMEOUT] if self._waiting else []
            left = max(0.0, min(ends) - time.monotonic()) if ends else None
            self.events.handle(left)
            # Only now: an answer that is there was in time, however late we are.
            at = now()
            self._expire(at)
            self._ask(at)

    def _expire(self, at: float) -> None:
        waiting = self._waiting
        while waiting and (waiting[0].outcome or waiting[0].sent + TIMEOUT <= at):
            ask = waiting.popleft()
            ask.path.settle(ask, TIMED_OUT)

    def _ask(self, at: float) -> None:
        if self._due and at - self._due[0][0] > LATE:
            self.log.late.append([self._due[0][0], at])
        while self._due and self._due[0][0] <= at:
            due, number, path = heapq.heappop(self._due)
            if path.ended:
                continue
            self._waiting.append(path.ask(at))
            # What was missed is not made up for: it was not asked.
            due = round(due + EVERY * (1 + (at - due) // EVERY), 3)
            heapq.heappush(self._due, (due, number, path))

    # ---------------------------------------------------------------------- answering

    def answer(self, client: socket.socket) -> None:
        """Say our name to a client, once for each line."""
        name = self.name.encode() + b"\n"

        def ready(_: int) -> None:
            try:
                data = client.recv(LINE)
                if data:
                    client.send(name * data.count(b"\n"))
                    return
            except BlockingIOError:
                return
            except OSError:
                pass
            self.events.forget(client.fileno())
            client.close()

        self.events.on(client.fileno(), IN, ready)

    # ------------------------------------------------------------------ the controller

    def converse(self, client: socket.socket) -> None:
        """Do what a controller says that came by the Unix socket.

        There is one: a stream that a container runtime lost may never end by itself.
        """
        incoming, outgoing = Lines(), bytearray()
        self._hang_up()

        def hang_up() -> None:
            self.events.forget(client.fileno())
            client.close()
            self._hang_up = lambda: None

        self._hang_up = hang_up

        def flush() -> None:
            try:
                sent = client.send(outgoing)
            except BlockingIOError:
                sent = 0
            del outgoing[:sent]
            self.events.wait_for(client.fileno(), IN | OUT if outgoing else IN)

        def ready(events: int) -> None:
            try:
                if events & IN:
                    data = client.recv(LINE)
                    if not data:
                        raise ConnectionResetError
                    for line in incoming.add(data):
                        outgoing.extend(self.obey(line))
                flush()
            except BlockingIOError:
                return
            except OSError:
                hang_up()

        self.events.on(client.fileno(), IN, ready)
        outgoing.extend(self.hello())
        flush()

    def alone(self) -> None:
        """Do what comes on stdin, until it ends."""
        incoming = Lines()

        def ready(_: int) -> None:
            data = os.read(0, LINE)
            if not data:
                os._exit(0)
            for line in incoming.add(data):
                write(1, self.obey(line))

        self.events.on(0, IN, ready)
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


def serve(options: Options) -> int:
    """Be the container's first process, until SIGTERM."""
    become_first()
    loop = Loop(options.text("name"))
    port = int(options.text("port", "8080"))
    for listener in bind_families("tcp", ("0.0.0.0", "::"), port):  # noqa: S104
        loop.events.listen(listener, loop.answer)
    path = os.path.join(options.text("state"), SOCKET)
    if os.path.exists(path):  # left by a container that was restarted
        os.unlink(path)
    controllers = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    controllers.bind(path)
    loop.events.listen(controllers, loop.converse)
    print(f"k8snet watcher serving {loop.name}", flush=True)
    loop.run()
    return 0


def control(options: Options) -> int:
    """Pass on what a controller and the first process say to each other."""
    path = os.path.join(options.text("state"), SOCKET)
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
            data = os.read(fd, LINE)
            if not data:
                return 0
            write(1 if fd else sock.fileno(), data)


def alone(options: Options) -> int:
    """Ask, without answering, for as long as stdin stays open."""
    loop = Loop(options.text("name"))
    loop.alone()
    loop.run()
    return 0


def main(arguments: list[str]) -> int:
    """Run a command."""
    commands = {"serve": serve, "control": control, "alone": alone}
    command, *rest = arguments or [""]
    if command not in commands:
        raise SystemExit(__doc__)
    return commands[command](Options(rest))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
