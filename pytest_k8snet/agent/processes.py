"""How the processes of one container know of each other: by files in a folder."""

from __future__ import annotations

import json
import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .probe import Reply

FIRST = "first.json"
"""What came of the first connection that a container tried."""


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


def become_first(linger: bool = False) -> None:
    """Behave as the first process of a container has to.

    It gets no default action for SIGTERM, and inherits orphans: ignoring SIGCHLD has
    the kernel reap them. One that lingers serves for as long as its Pod may take to
    terminate.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    end = signal.SIG_IGN if linger else lambda *_: os._exit(0)
    signal.signal(signal.SIGTERM, end)
