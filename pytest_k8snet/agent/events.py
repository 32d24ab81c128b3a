"""Descriptors that something may be done with, and what is then to be done."""

from __future__ import annotations

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    Handler = Callable[[int], None]

IN, OUT = select.EPOLLIN, select.EPOLLOUT
GONE = select.EPOLLERR | select.EPOLLHUP
BACKLOG = 256


def now() -> float:
    """Read the clock of this machine, to the millisecond."""
    return round(time.monotonic(), 3)


class Events:
    """Who is called for which descriptor, one after the other."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._handlers: dict[int, Handler] = {}

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

    def handle(self, seconds: float | None) -> None:
        """Wait for something to happen, at most so long, and call who is to be."""
        for fd, events in self._poll.poll(seconds):
            handler = self._handlers.get(fd)
            if handler:
                handler(events)

    def listen(
        self, listener: socket.socket, greet: Callable[[socket.socket], None]
    ) -> None:
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
