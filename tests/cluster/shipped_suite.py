"""Runs the shipped suite as users do: pytest, in a process and folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from pytest_k8snet.faults.site import wait_until
from pytest_k8snet.report.recording import read

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_k8snet.faults.site import Site
    from pytest_k8snet.report.recording import Recording
    from pytest_k8snet.report.schema import Report

ATTEMPTS = 3
STARVED = ("an agent was not let run", "no reply from")
LIMIT = 300.0
"""Seconds after which a run hangs: many times what a broken cluster takes."""
CLEANUP = 20.0
"""Seconds for an interrupted run to remove what it made."""


@dataclass(frozen=True)
class SuiteRun:
    """What is left of a run; ``document`` is its report.json."""

    exit_code: int
    output: str
    seconds: float
    recording: Recording | None
    document: str = ""
    starved_before: tuple[SuiteRun, ...] = ()

    @property
    def report(self) -> Report | None:
        return self.recording.report if self.recording else None

    @property
    def words(self) -> dict[str, str]:
        """Give each check's result word."""
        assert self.report, self.output
        return {check.id: check.result for check in self.report.checks}

    @property
    def starved(self) -> bool:
        """Whether the machine did not let the agents of a cell run."""
        cells = chain(*self.recording.cells.values()) if self.recording else ()
        details = [c.shown.detail for c in cells if c.conforms is None]
        return any(sign in detail for detail in details for sign in STARVED)

    def count(self, word: str) -> int:
        return list(self.words.values()).count(word)

    @property
    def green(self) -> bool:
        """Whether all that applied passed; a starved attempt may not be red, either."""
        alarmed = any(run.count("fail") for run in self.starved_before)
        words = set(self.words.values())
        return (
            self.exit_code == 0 and words <= {"pass", "not-applicable"} and not alarmed
        )


class Suite:
    """The suite, for one cluster. Each run has an empty folder of its own."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.folder = folder
        self._runs = 0

    def run(self, *args: str, again: bool = False, **env: str) -> SuiteRun:
        """Run to the end, on a machine that lets it run.

        A cell that the suite does not judge because the machine was too busy to run
        the agents shows nothing of the suite: it is run again, a few times.

        Args:
            args: further arguments.
            again: in the folder of the run before, where its cache is.
            env: further environment variables.

        """
        before: list[SuiteRun] = []
        for _ in range(ATTEMPTS):
            done = self.start(*args, again=again, **env).finish()
            if not done.starved:
                break
            before.append(done)
        return replace(done, starved_before=tuple(r for r in before if r is not done))

    def start(self, *args: str, again: bool = False, **env: str) -> StartedRun:
        """Start a run, as a terminal would: in a process group of its own."""
        self._runs += not again
        folder = self.folder / str(self._runs)
        folder.mkdir(exist_ok=True)
        argv = [sys.executable, "-m", "pytest", "-W", "error"]
        if not any(a.startswith("--k8s-context") for a in args):
            argv.append(f"--k8s-context={self.site.cluster.context}")
        argv += ["--k8snet-report=report", *args]
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("PYTEST_", "K8SNET_", "COV_"))
            # As on other machines: what is imported once is compiled once.
            and key != "PYTHONDONTWRITEBYTECODE"
        }
        kubeconfig = {"KUBECONFIG": str(self.site.cluster.kubeconfig)}
        (folder / "report" / "report.json").unlink(missing_ok=True)
        with (folder / "output").open("w") as output:
            process = subprocess.Popen(
                argv,
                cwd=folder,
                # What is said must be there to be waited for.
                env={**kept, **kubeconfig, "PYTHONUNBUFFERED": "1", **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return StartedRun(process, folder)


class StartedRun:
    """A run under way."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self._folder = folder
        self._started = time.monotonic()

    @property
    def output(self) -> str:
        """What it has said so far."""
        return (self._folder / "output").read_text()

    def wait_for(self, text: str, seconds: float = 90.0) -> None:
        """Wait until the run says something."""

        def said() -> bool:
            assert text in self.output or self.process.poll() is None, self.output
            return text in self.output

        try:
            wait_until(said, f"the run says {text!r}", seconds)
        except BaseException:
            self.kill()
            raise

    def finish(self, limit: float = LIMIT) -> SuiteRun:
        """Wait for the end."""
        try:
            self.process.wait(limit)
        except BaseException:
            # It hangs, or we were interrupted: let it clean up, then leave nothing.
            self.interrupt()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(CLEANUP)
            self.kill()
            raise
        file = self._folder / "report" / "report.json"
        text = file.read_text() if file.exists() else ""
        return SuiteRun(
            exit_code=self.process.returncode,
            output=self.output,
            seconds=time.monotonic() - self._started,
            recording=read(text) if text else None,
            document=text,
        )

    def interrupt(self) -> None:
        """Do what Ctrl-C does: every process of the group is told."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        """Do what cannot be caught, to the run and to its workers."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> None:
        """Do what a CI system does: the run itself is told."""
        self.process.send_signal(signal.SIGTERM)

    @property
    def group(self) -> list[int]:
        """The processes of the run's group that still run."""
        argv = ["pgrep", "-g", str(self.process.pid)]
        found = subprocess.run(argv, capture_output=True, text=True, check=False)
        return [int(pid) for pid in found.stdout.split()]
