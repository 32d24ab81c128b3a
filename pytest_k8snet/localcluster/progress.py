"""Tells people what a long step is doing, so that nothing ever looks hung."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A reader loses trust after about this many seconds of silence.
HEARTBEAT_SECONDS = 4.0


class Progress(Protocol):
    """What a provider tells about its work."""

    def stage(self, name: str) -> None:
        """Begin a step."""

    def detail(self, text: str) -> None:
        """Say what the step is doing right now; may be called often."""


class Silent:
    """Progress nobody wants to see."""

    def stage(self, name: str) -> None:
        del name

    def detail(self, text: str) -> None:
        del text


class Lines:
    """Progress as plain lines: each stage once, a sign of life while one lasts."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._start = self._last = time.monotonic()
        self._stage = ""
        self._detail = ""
        self._lock = threading.Lock()

    def stage(self, name: str) -> None:
        with self._lock:
            self._stage, self._detail = name, ""
            self._emit(name)

    def detail(self, text: str) -> None:
        with self._lock:
            self._detail = text

    def beat(self) -> None:
        """Repeat the stage with its newest detail when it has been silent."""
        with self._lock:
            if self._stage and time.monotonic() - self._last >= HEARTBEAT_SECONDS:
                text = f": {self._detail}" if self._detail else ""
                self._emit(f"  still {self._stage}{text}")

    def _emit(self, text: str) -> None:
        self._last = time.monotonic()
        self._write(f"[{self._last - self._start:6.1f}s] {text}")

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Give signs of life until the block ends."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(1.0):
                self.beat()

        thread = threading.Thread(target=beat, name="k8snet-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


class Live:
    """Progress for a terminal: finished stages as lines, the current one alive."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - costs 0.1 s at import

        self._console = Console(stderr=True, highlight=False)
        self._status = self._console.status("")
        self._start = self._stage_start = time.monotonic()
        self._stage = ""

    def stage(self, name: str) -> None:
        self._finish()
        self._stage, self._stage_start = name, time.monotonic()
        self._status.update(name)

    def detail(self, text: str) -> None:
        elapsed = time.monotonic() - self._stage_start
        self._status.update(f"{self._stage} [dim]{elapsed:.0f}s {text}[/dim]")

    def _finish(self) -> None:
        if self._stage:
            now = time.monotonic()
            self._console.print(
                f" [green]✓[/green] {self._stage} "
                f"[dim]{now - self._stage_start:.1f}s[/dim]"
            )
            self._stage = ""

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Show the live line until the block ends."""
        with self._status:
            try:
                yield
            except BaseException:
                # The stage that failed must not get its tick.
                self._stage = ""
                raise
            self._finish()


def for_terminal() -> Lines | Live:
    """Return what suits the standard error stream: live, or plain lines."""
    if sys.stderr.isatty():
        return Live()
    return Lines(lambda text: print(text, file=sys.stderr, flush=True))
