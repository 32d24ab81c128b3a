"""``k8snet watch``: probe every path while something goes on, and say what broke."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pytest_k8snet import localcluster, manifests
from pytest_k8snet.cluster import apply
from pytest_k8snet.cluster.api import Api
from pytest_k8snet.cluster.discover import discover
from pytest_k8snet.cluster.errors import ClusterError
from pytest_k8snet.defaults import DEFAULT_IMAGE
from pytest_k8snet.model import Word
from pytest_k8snet.outages import PROFILES
from pytest_k8snet.report.terminal import header
from pytest_k8snet.report.watch_schema import watch_document
from pytest_k8snet.report.watch_text import progress_line, tables
from pytest_k8snet.stage import Waits
from pytest_k8snet.watched import Watched, measured_nothing
from pytest_k8snet.watching import LIFETIME, Watch

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_k8snet.model import ClusterFacts
    from pytest_k8snet.outages import Way

FAILED, USAGE, INTERRUPTED, NOTHING = 1, 4, 130, 5
PREFIX = "k8snet"
LINES = 5.0
"""Seconds between two lines of progress."""

LOOK = 1.0
"""Seconds between two times that the results are written."""

GRACE = 20.0
"""Seconds for a command to end that was told to, before it is killed."""


def run(options: argparse.Namespace) -> int:
    """Watch, and give the exit status."""
    budgets = {**PROFILES[options.profile], **dict(options.budget)}
    try:
        check(options.command)
        if options.report:
            options.report.mkdir(parents=True, exist_ok=True)
        with opened(options) as (watch, facts):
            return _Session(options, budgets, watch, facts).run()
    except ClusterError as error:
        print(f"k8snet: error: {error}", file=sys.stderr)
        return USAGE


def check(command: Sequence[str]) -> None:
    """Raise ClusterError, before anything is made, when there is no such program."""
    if command and shutil.which(command[0]) is None:
        raise ClusterError(f"there is no program {command[0]!r} to run")


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[tuple[Watch, ClusterFacts]]:
    """Have a watch that is ready to begin; whatever happens, nothing of it stays."""
    local = localcluster.find(options.context)
    api = Api.connect(options.context, options.kubeconfig)
    try:
        facts = discover(api, options.context, selector=options.nodes)
        print("\n".join(header(facts)), file=sys.stderr, flush=True)
        apply.sweep(api, time.time(), say)
        image = options.image or (local and local.image)
        spec = manifests.LabSpec(
            run=uuid.uuid4().hex[:6],
            prefix=PREFIX,
            image=image or DEFAULT_IMAGE,
            agent=apply.agent_sources(),
            expires=int(time.time()) + LIFETIME,
        )
        # This machine itself, unless the cluster came with a place of its own.
        outside = local.outside if local else ()
        watch = Watch(api, spec, facts, Waits(), outside=outside, progress=say)
        try:
            watch.open()
            yield watch, facts
        finally:
            close(watch, options.context)
    finally:
        api.close()


def close(watch: Watch, context: str) -> None:
    """Remove what a watch made, or say how to: its results count all the same."""
    try:
        watch.close()
    except ClusterError as error:
        say(
            f"could not remove the namespace {watch.namespace}: {error}; remove it "
            f"with pytest --k8s-context={context} --k8snet-cleanup"
        )


def say(line: str) -> None:
    """Tell how it goes, beside what the command writes."""
    print(f"k8snet: {line}", file=sys.stderr, flush=True)


class _Session:
    """One watch from its beginning to its results."""

    def __init__(
        self,
        options: argparse.Namespace,
        budgets: Mapping[Way, float],
        watch: Watch,
        facts: ClusterFacts,
    ) -> None:
        self.options = options
        self.budgets = budgets
        self.watch = watch
        self.facts = facts
        self.state = "running"
        self.exit_code: int | None = None
        self.started = time.time()
        self.process: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Watch until the command ends, the time is over, or somebody stops it."""
        self.watch.begin()
        self.started = time.time()
        say(f"watching {len(self._save().records)} paths")
        command = self.options.command
        try:
            if command:
                self._start(command)
            self._go_on()
            self.state = "finished"
        except KeyboardInterrupt as interrupt:
            self.state = "interrupted"
            self._stop(told=str(interrupt) != "SIGTERM")
        except BaseException:
            self._stop(told=False)
            raise
        self.watch.end()
        watched = self._save()
        terminal = sys.stdout.isatty()
        width = os.get_terminal_size().columns if terminal else 120
        print(tables(watched, width=width, colour=terminal), end="", flush=True)
        return self._status(watched)

    def _status(self, watched: Watched) -> int:
        if self.state == "interrupted" and self.options.command:
            return INTERRUPTED
        if self.exit_code:
            return self.exit_code if self.exit_code > 0 else 128 - self.exit_code
        if measured_nothing(watched.records):
            return NOTHING
        return 0 if watched.word is Word.PASS else FAILED

    def _start(self, command: Sequence[str]) -> None:
        # At a terminal Ctrl-C reaches the whole group, and the command may ask things;
        # elsewhere it is us who pass a signal on.
        group = None if sys.stdin.isatty() else 0
        try:
            self.process = subprocess.Popen(command, process_group=group)
        except OSError as error:
            raise ClusterError(f"cannot run {command[0]!r}: {error.strerror}") from None

    def _go_on(self) -> None:
        said = time.monotonic()
        given = self.options.duration
        end = said + (float("inf") if given is None else given)
        while (left := end - time.monotonic()) > 0:
            if self._ends_within(min(LOOK, left)):
                end = min(end, time.monotonic() + self.options.linger)
            watched = self._save()
            if time.monotonic() - said >= LINES:
                said = time.monotonic()
                say(progress_line(watched.records, watched.seconds))
        if self.exit_code is None:
            self._stop(told=False)
            self.exit_code = None  # it is we who ended it

    def _ends_within(self, wait: float) -> bool:
        """Whether the command ends in this time, or while it is waited for."""
        if self.process is None or self.exit_code is not None:
            time.sleep(wait)
            return False
        with suppress(subprocess.TimeoutExpired):
            self.exit_code = self.process.wait(wait)
        return self.exit_code is not None

    def _stop(self, *, told: bool) -> None:
        """End the command; TOLD is whether the terminal has told it already."""
        process = self.process
        if process is None or process.poll() is not None:
            return
        own_group = not sys.stdin.isatty()
        send = os.killpg if own_group else os.kill
        if own_group or not told:
            number = signal.SIGINT if told else signal.SIGTERM
            with suppress(ProcessLookupError):
                send(process.pid, number)
        try:
            self.exit_code = process.wait(GRACE)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                send(process.pid, signal.SIGKILL)
            self.exit_code = process.wait()

    def _save(self) -> Watched:
        """Write down what is known by now; whoever kills us finds it."""
        watched = Watched(
            records=tuple(self.watch.records(self.budgets)),
            budgets=self.budgets,
            started=self.started,
            seconds=self.watch.seconds,
            state=self.state,
            command=tuple(self.options.command),
            exit_code=self.exit_code,
            problems=self.watch.problems,
        )
        if folder := self.options.report:
            text = watch_document(self.facts, watched).model_dump_json(indent=1)
            partial = folder / ".watch.json"
            partial.write_text(text + "\n", encoding="utf-8")
            partial.replace(folder / "watch.json")
        return watched
