"""The control channel: requests come in on stdin, replies go out on stdout."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading

from .operations import load, run
from .processes import await_state
from .pulse import beat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .options import Options
    from .probe import Reply

WORKERS = 512


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

    def late(self, seconds: float) -> None:
        """Say for how long nothing here was let run."""
        self.write({"late": round(seconds, 3)})

    def submit(self, request: object) -> None:
        """Have a request run; a worker is added while all of them are busy."""
        load(request)
        with self.lock:
            self.unfinished += 1
            grow = self.workers < min(self.unfinished, WORKERS)
            self.workers += grow
        self.waiting.put(request)
        if grow:
            try:
                threading.Thread(target=self.work, daemon=True).start()
            except RuntimeError:  # no more of them here: those there are take it
                with self.lock:
                    self.workers -= 1

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


def control(options: Options) -> int:
    """Be the controller's hands here until it closes stdin."""
    threading.stack_size(256 * 1024)
    directory = options.text("state", "")
    state: Reply = {}
    if directory:
        state = await_state(directory, options.text("container", "main"))
    worker = Control(directory, state)
    name = options.text("name", "") or state.get("name", "")
    ports = state.get("ports", {})
    worker.write({"hello": 1, "name": name, "ports": ports})
    threading.Thread(target=beat, args=(ports, worker.late), daemon=True).start()
    worker.read()
    # Workers that still wait for a dead peer must not keep the process alive.
    os._exit(0)
