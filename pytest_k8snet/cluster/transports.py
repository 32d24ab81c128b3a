"""What carries a control channel: the API server's exec, or a child's pipes."""

from __future__ import annotations

import os
import select
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from pytest_k8snet.cluster.errors import StreamLost

if TYPE_CHECKING:
    from collections.abc import Sequence

STALL = 10.0  # an agent reads at once: who does not is gone
READ = 65536


class Transport(Protocol):
    """A byte stream to an agent, used by one thread."""

    def fileno(self) -> int:
        """Give the descriptor to poll for reading."""

    def pending(self) -> bool:
        """Whether there is something to read that poll cannot see."""

    def read(self) -> bytes:
        """Read what is there; b"" for nothing. Raises StreamLost."""

    def write(self, data: bytes) -> None:
        """Write everything. Raises StreamLost."""

    def close(self) -> None:
        """Close, and leave nothing behind."""


class ExecTransport:
    """An agent's stdin and stdout, through the API server's exec."""

    def __init__(self, socket: Any) -> None:
        from pytest_k8snet.cluster.streams import Stream  # noqa: PLC0415

        self._stream = Stream(socket)
        self._stderr = b""

    def fileno(self) -> int:
        """Give the descriptor to poll for reading."""
        return self._stream.fileno()

    def pending(self) -> bool:
        """Whether there is something to read that poll cannot see."""
        return self._stream.pending()

    def read(self) -> bytes:
        """Read one message; only those from stdout count."""
        from pytest_k8snet.cluster import streams  # noqa: PLC0415

        try:
            channel, data = self._stream.read()
        except StreamLost as error:
            raise StreamLost(self._reason(str(error))) from error
        if channel == streams.STDERR:
            self._stderr = (self._stderr + data)[-2000:]
        if channel == streams.ERROR:
            raise StreamLost(self._reason("the agent ended"))
        return data if channel == streams.STDOUT else b""

    def write(self, data: bytes) -> None:
        """Write to the agent's stdin."""
        self._stream.write(0, data)

    def close(self) -> None:
        """Close the stream; the agent ends when its stdin does."""
        self._stream.close()

    def _reason(self, why: str) -> str:
        from pytest_k8snet.cluster import streams  # noqa: PLC0415

        code, message = streams.exit_of(self._stream.status)
        if code is not None:
            message = f"ended with {code}"
        return last_words(message or why, self._stderr)


class ChildTransport:
    """An agent that is a child process, for the vantage point outside."""

    def __init__(self, argv: Sequence[str]) -> None:
        # A session of its own: Ctrl-C is for the run to handle, and the end of stdin,
        # which also comes when the run is killed, ends the agent.
        try:
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise StreamLost(f"{argv[0]}: {error.strerror or error}") from error
        self._stdin, self._stdout, self._errors = (
            pipe.fileno() if pipe else -1
            for pipe in (
                self._process.stdin,
                self._process.stdout,
                self._process.stderr,
            )
        )
        for pipe in (self._stdin, self._stdout, self._errors):
            os.set_blocking(pipe, False)
        self._stderr = b""

    def fileno(self) -> int:
        """Give the descriptor to poll for reading."""
        return self._stdout

    def pending(self) -> bool:
        """Nothing is ever hidden from poll."""
        return False

    def read(self) -> bytes:
        """Read what is there."""
        self._listen()
        try:
            data = os.read(self._stdout, READ)
        except BlockingIOError:
            return b""
        if not data:
            raise StreamLost(self._reason())
        return data

    def write(self, data: bytes) -> None:
        """Write everything, as long as the agent reads."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._stdin, select.POLLOUT)
                if not poll.poll(STALL * 1000):
                    raise StreamLost("the agent does not read") from None
            except OSError:
                raise StreamLost(self._reason()) from None

    def close(self) -> None:
        """End the agent, and reap it."""
        process = self._process
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()

    def _listen(self) -> None:
        """Keep what the agent says last on stderr; a full pipe would stop it."""
        with suppress(BlockingIOError):
            self._stderr = (self._stderr + os.read(self._errors, READ))[-2000:]

    def _reason(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        self._listen()
        return last_words(f"ended with {self._process.returncode}", self._stderr)


def last_words(why: str, stderr: bytes) -> str:
    """Add the last line of stderr to a reason."""
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return f"{why}: {lines[-1].strip()}" if lines else why
