"""Control channels: one long-lived stream to each agent, many probes at a time.

A channel never invents evidence. What it cannot learn (stream lost, agent silent) is
"not probed", and says why.
"""

from __future__ import annotations

import json
import math
import os
import select
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pytest_k8snet.cluster.errors import StreamLost
from pytest_k8snet.cluster.requests import Pending, messages
from pytest_k8snet.cluster.transports import READ, ChildTransport, ExecTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_k8snet.cluster.api import Api
    from pytest_k8snet.cluster.transports import Transport

GRACE = 10.0  # beyond a request's own time-out, for the way there and back
AGENT_WORKERS = 512  # as many requests an agent runs at a time; the others queue
KEEP_ALIVE = 30.0  # load balancers cut streams that are idle for minutes
RECONNECT_PAUSE = 0.25


class Channel:
    """One agent's control stream. Any thread may submit.

    Attributes:
        name: the agent's identity, as in its answers.
        ports: the ports it listens on, by name.
        lost: the stream was lost and will not be opened again.

    """

    def __init__(
        self,
        label: str,
        connect: Callable[[float], Transport],
        *,
        timeout: float,
        grace: float = GRACE,
    ) -> None:
        self.name = label
        self.ports: Mapping[str, int] = {}
        self.lost = False
        self._label = label
        self._connect = connect
        self._timeout = timeout
        self._grace = grace
        self._lock = threading.Lock()
        self._submitted: deque[Pending] = deque()
        self._pending: dict[int, Pending] = {}
        self._last_id = 0
        self._reconnects = 1
        self._why = ""
        self._closing = False
        self._buffer = bytearray()
        self._last_write = 0.0
        self._last_read = 0.0
        self._late: deque[tuple[float, float]] = deque(maxlen=1000)
        self._transport: Transport | None = self._open(timeout)
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._thread = threading.Thread(
            target=self._run, name=f"k8snet {label}", daemon=True
        )
        self._thread.start()

    def submit(
        self, requests: Sequence[Mapping[str, object]]
    ) -> list[Future[Mapping[str, Any]]]:
        """Have requests run, all at the same time; ids are given here."""
        added = [Pending(request, Future()) for request in requests]
        for each in added:
            each.future.set_running_or_notify_cancel()
        with self._lock:
            refused = self.lost or self._closing
            if not refused:
                self._submitted.extend(added)
                self._wake()
        if refused:
            self._give_up(added, self._why or "closed")
        return [each.future for each in added]

    def open_once(self) -> None:
        """Have a stream that is lost stay lost: another channel takes its place."""
        self._reconnects = 0

    def late(self, since: float) -> list[tuple[float, float]]:
        """Give when the agent had not been let run: (when it was again, seconds).

        Args:
            since: on the monotonic clock.

        """
        late = list(self._late)
        return [(when, min(each, when - since)) for when, each in late if when > since]

    def close(self) -> None:
        """End the stream. What is still pending becomes not probed."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._wake()
        self._thread.join()

    # Everything below runs on the channel's own thread: one thread reads and writes,
    # because a TLS connection must not be used by two at a time.

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._wake_write, b".")

    def _run(self) -> None:
        try:
            while not self._closing:
                self._step()
        except Exception as error:  # noqa: BLE001 - nobody may wait for ever
            self._lose(repr(error))
        self._finish()

    def _finish(self) -> None:
        with self._lock:
            self._closing = True
            waiting = [*self._pending.values(), *self._submitted]
            self._submitted.clear()
            self._pending.clear()
            os.close(self._wake_read)
            os.close(self._wake_write)
        self._give_up(waiting, self._why or "closed")
        if self._transport:
            self._transport.close()

    def _step(self) -> None:
        """Wait for something to do, and do it."""
        try:
            self._wait()
            self._expire()
            self._hand_over()
        except StreamLost as error:
            self._lose(str(error))

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        transport = self._transport
        if transport:
            poll.register(transport.fileno(), select.POLLIN)
        quick = transport is not None and transport.pending()
        ready = {fd for fd, _ in poll.poll(0 if quick else self._patience() * 1000)}
        if self._wake_read in ready:
            with suppress(BlockingIOError):
                os.read(self._wake_read, READ)
        if transport and (quick or transport.fileno() in ready):
            self._take(transport.read())

    def _patience(self) -> float:
        now = time.monotonic()
        ends = [each.deadline for each in self._pending.values()]
        ends.append(self._last_write + KEEP_ALIVE if self._transport else now + 3600)
        return max(0.0, min(ends) - now) + 0.001

    def _take(self, data: bytes) -> None:
        """Hand out the replies that have come in whole."""
        self._last_read = time.monotonic()
        self._buffer += data
        if b"\n" not in data:
            return
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer[:] = rest
        for line in lines:
            with suppress(ValueError):
                self._resolve(json.loads(line))

    def _resolve(self, reply: object) -> None:
        if not isinstance(reply, dict):
            return
        if "late" in reply:
            self._late.append((time.monotonic(), float(reply["late"])))
            return
        waiting = self._pending.pop(reply.get("id", -1), None)
        if waiting is None:
            return  # it was given up, or answered before
        if waiting.ends_something and reply["outcome"] == "answered":
            # The stream is about to end, and it is we who ended it.
            self._reconnects += 1
        waiting.future.set_result(reply)

    def _expire(self) -> None:
        """Repeat, once, what got no reply.

        It, or its reply, may have got lost in a stream that stalled: where nothing at
        all came meanwhile, everything that it owes goes over a new one.
        """
        now = time.monotonic()
        again = []
        for number, each in list(self._pending.items()):
            if each.deadline > now:
                continue
            if each.repeated or each.ends_something:
                del self._pending[number]
                allowed = f"{now - each.handed_over:.0f} s"
                self._refuse(each, f"no reply from {self._label} within {allowed}")
            else:
                again.append(each)
        if again and self._reconnects > 0 and now - self._last_read > self._grace:
            again = self._renew()
        for each in again:
            each.repeated = True
            each.deadline = time.monotonic() + each.timeout + self._grace
        for message in messages(each.request for each in again):
            self._write(message)

    def _renew(self) -> list[Pending]:
        """Open a new stream in place of one that stalled; give what that one owed."""
        owed = [e for e in self._pending.values() if not e.ends_something]
        if self._transport:
            self._transport.close()
            self._transport = None
        self._why = "it stalled"
        self._reconnect(owed)
        return owed

    def _hand_over(self) -> None:
        """Send what was submitted, over a new stream if the old one was lost."""
        with self._lock:
            added = list(self._submitted)
            self._submitted.clear()
        if added and self._transport is None:
            self._reconnect(added)
        if self._transport is None:
            self._give_up(added, self._why)
            return
        for each in added:
            self._last_id += 1
            self._pending[self._last_id] = each
            queued = len(self._pending) // AGENT_WORKERS
            patience = each.timeout * (1 + queued) + self._grace
            each.handed_over = time.monotonic()
            each.deadline = each.handed_over + patience
            each.request = {**each.request, "id": self._last_id}
        for message in messages(each.request for each in added):
            self._write(message)
        if time.monotonic() - self._last_write >= KEEP_ALIVE:
            self._write(b"\n")

    def _write(self, data: bytes) -> None:
        if self._transport:
            self._transport.write(data)
            self._last_write = time.monotonic()

    def _reconnect(self, waiting: Sequence[Pending]) -> None:
        """Open the stream once more. A container that starts again needs a while."""
        end = time.monotonic() + self._timeout
        while self._reconnects > 0 and not self._closing:
            try:
                self._transport = self._open(end - time.monotonic())
            except Exception as error:  # noqa: BLE001 - nobody may wait for ever
                self._why = str(error) or repr(error)
                if time.monotonic() + RECONNECT_PAUSE >= end:
                    break
                time.sleep(RECONNECT_PAUSE)
            else:
                self._reconnects -= 1
                return
        self._abandon()
        self._give_up(waiting, self._why)

    def _lose(self, why: str) -> None:
        """Note that the stream is gone: what it still owed is not probed."""
        self._why = why
        if self._transport:
            self._transport.close()
            self._transport = None
        self._buffer.clear()
        waiting = list(self._pending.values())
        self._pending.clear()
        if self._reconnects <= 0:
            self._abandon()
        self._give_up(waiting, why)

    def _abandon(self) -> None:
        with self._lock:
            self.lost = True

    def _give_up(self, waiting: Iterable[Pending], why: str) -> None:
        for each in waiting:
            self._refuse(each, f"control stream of {self._label} lost: {why}")

    def _refuse(self, waiting: Pending, why: str) -> None:
        if not waiting.future.done():
            waiting.future.set_result(not_probed(why))

    def _open(self, timeout: float) -> Transport:
        """Connect, and read the line with which an agent introduces itself."""
        end = time.monotonic() + timeout
        transport = self._connect(timeout)
        try:
            hello, rest = read_hello(transport, end)
        except BaseException:
            transport.close()
            raise
        self.name = str(hello.get("name") or self._label)
        self.ports = {str(k): int(v) for k, v in hello.get("ports", {}).items()}
        self._buffer[:] = rest
        self._last_write = self._last_read = time.monotonic()
        return transport


def not_probed(why: str) -> Mapping[str, Any]:
    """Give the reply that stands for no reply."""
    words: dict[str, Any] = dict.fromkeys(("own", "who", "peer", "local"), "")
    words |= {"outcome": "not probed", "phase": "", "detail": why}
    return {**words, "seconds": 0.0, "values": []}


def read_hello(transport: Transport, end: float) -> tuple[dict[str, Any], bytes]:
    """Read the first line of an agent, and what came with it."""
    data = b""
    while b"\n" not in data:
        left = end - time.monotonic()
        poll = select.poll()
        poll.register(transport.fileno(), select.POLLIN)
        if left <= 0 or not (transport.pending() or poll.poll(left * 1000)):
            raise StreamLost("the agent does not say hello")
        data += transport.read()
    line, _, rest = data.partition(b"\n")
    try:
        hello = json.loads(line)
    except ValueError:
        hello = None
    if not isinstance(hello, dict) or "hello" not in hello:
        shown = line[:80].decode("utf-8", "replace")
        raise StreamLost(f"not an agent: it says {shown!r}")
    return hello, rest


def exec_channel(
    api: Api,
    namespace: str,
    pod: str,
    container: str,
    command: Sequence[str],
    *,
    timeout: float,
    begin: float = math.inf,
) -> Channel:
    """Open a channel to an agent in a container.

    Args:
        api: the client.
        namespace: of the Pod.
        pod: its name.
        container: its container.
        command: what to run there, the agent.
        timeout: seconds until the agent has to say hello.
        begin: seconds until the stream to it has to begin.

    Raises:
        ClusterError: NoStream, when it does not begin.

    """

    def connect(left: float) -> Transport:
        seconds = min(left, begin)
        socket = api.open_exec(namespace, pod, container, command, timeout=seconds)
        return ExecTransport(socket)

    label = f"{namespace}/{pod}/{container}"
    return Channel(label, connect, timeout=timeout)


def child_channel(
    argv: Sequence[str], *, label: str = "outside", timeout: float = 15.0
) -> Channel:
    """Open a channel to an agent that runs as our child. Raises ClusterError."""
    return Channel(label, lambda _: ChildTransport(argv), timeout=timeout)
