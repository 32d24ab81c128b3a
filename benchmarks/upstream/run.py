"""Runs upstream's tests, and understands what became of each."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from pytest_k8snet.localcluster.commands import environment, run, tail, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_k8snet.localcluster.progress import Progress

FOCUS = r"\[sig-network\].*\[Conformance\]"
PROCESSES = 4

LIMIT = 2400
"""Seconds for one run: 340 when all is well, and up to 600 for a test that fails."""

REPORTING_SECONDS = 60
CLEANING_SECONDS = 300

WORDS = {
    "passed": "pass",
    "failed": "fail",
    "timedout": "fail",
    "panicked": "fail",
}


@dataclass(frozen=True)
class Ran:
    """What became of one test, in the words of ``WORDS``, "skip" and "not run"."""

    word: str
    seconds: float


@dataclass(frozen=True)
class UpstreamRun:
    """One run: the seconds of its process, start included, and each test by name."""

    wall: float
    tests: dict[str, Ran]


@dataclass(frozen=True)
class Upstream:
    """Upstream's programs, and the cluster that they test."""

    programs: Path
    kubeconfig: Path
    folder: Path

    def names(self) -> list[str]:
        """Ask the program which network tests Kubernetes counts as conformance."""
        listed = run([str(self.programs / "e2e.test"), "--list-conformance-tests"])
        names = (test["codename"] for test in yaml.safe_load(listed.stdout))
        return [name for name in names if re.search(FOCUS, name)]

    def serial(self, progress: Progress) -> UpstreamRun:
        """Run the tests one by one."""
        options = [f"--ginkgo.focus={FOCUS}", f"--ginkgo.timeout={LIMIT}s"]
        report = self.folder / "serial.xml"
        options += ["--ginkgo.no-color", f"--ginkgo.junit-report={report}"]
        argv = [str(self.programs / "e2e.test"), *options, *self._options()]
        return self._run(argv, report, progress)

    def parallel(self, progress: Progress) -> UpstreamRun:
        """Run the tests in several processes."""
        options = [f"--procs={PROCESSES}", f"--focus={FOCUS}", f"--timeout={LIMIT}s"]
        report = self.folder / "parallel.xml"
        options += ["--no-color", f"--junit-report={report.name}"]
        argv = [str(self.programs / "ginkgo"), *options, f"--output-dir={self.folder}"]
        argv += [str(self.programs / "e2e.test"), "--", *self._options()]
        return self._run(argv, report, progress)

    def _options(self) -> list[str]:
        return [
            "--provider=local",
            "--disable-log-dump",
            f"--kubeconfig={self.kubeconfig}",
            f"--kubectl-path={self.programs / 'kubectl'}",
            f"--e2e-output-dir={self.folder}",
        ]

    def _run(
        self, argv: Sequence[str], report: Path, progress: Progress
    ) -> UpstreamRun:
        report.unlink(missing_ok=True)
        log = report.with_suffix(".log")
        started = time.perf_counter()
        _watch(argv, log, progress)
        wall = time.perf_counter() - started
        if not report.exists():
            raise SystemExit(f"upstream's tests wrote no report:\n{tail(log)}")
        self._wait_until_clean(progress)
        return UpstreamRun(wall, parse(report.read_text(encoding="utf-8")))

    def _wait_until_clean(self, progress: Progress) -> None:
        """Wait for its namespaces to be gone: the next run wants an idle cluster."""
        kubectl = [str(self.programs / "kubectl"), f"--kubeconfig={self.kubeconfig}"]
        asked = [*kubectl, "get", "namespaces", "-l", "e2e-run", "-o", "name"]
        progress.detail("waiting for its namespaces to be gone")
        wait_for(
            "removal of upstream's namespaces",
            lambda: not run(asked).stdout.strip(),
            timeout=CLEANING_SECONDS,
            every=1,
        )


def _watch(argv: Sequence[str], log: Path, progress: Progress) -> None:
    """Run a command to its end and tell how far it is; nothing of it outlives us."""
    deadline = time.monotonic() + LIMIT + REPORTING_SECONDS
    with (
        log.open("w") as output,
        subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(),
            start_new_session=True,
        ) as process,
    ):
        try:
            while process.poll() is None:
                # Of each test that ended, and was not skipped, there is a bullet.
                progress.detail(
                    f"{log.read_text(errors='replace').count('•')} tests have ended"
                )
                if time.monotonic() > deadline:
                    raise SystemExit(f"upstream's tests do not end:\n{tail(log)}")
                time.sleep(0.5)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def parse(report: str) -> dict[str, Ran]:
    """Read a JUnit report of Ginkgo: each test by the name that Kubernetes gives it."""
    found = {}
    for case in ET.fromstring(report).iter("testcase"):  # noqa: S314 - made by us
        # Ginkgo appends the labels.
        match = re.fullmatch(rf"\[It\] ({FOCUS})(?: \[.*\])?", case.get("name", ""))
        if match:
            found[match[1]] = Ran(_word(case), float(case.get("time", 0)))
    return found


def _word(case: ET.Element) -> str:
    """Say what became of a test; one that nobody started did not skip itself."""
    status = case.get("status", "")
    skipped = case.find("skipped")
    if skipped is not None and " - " in skipped.get("message", ""):
        return "skip"
    return WORDS.get(status, "not run")
