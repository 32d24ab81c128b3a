"""Makes the clusters, breaks them, and runs the suite on each fault."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from faults.expected import Expected, surprises
from shipped_suite import Suite

from benchmarks import TESTS
from benchmarks.faults.scoring import Score, alarms, blame_of, says, score
from pytest_k8snet import localcluster
from pytest_k8snet.cluster.errors import ClusterError
from pytest_k8snet.diagnose import diagnose
from pytest_k8snet.diagnose.evidence import PRIVILEGED
from pytest_k8snet.faults.catalogue.nodes import FIRST
from pytest_k8snet.faults.fault import together
from pytest_k8snet.faults.site import Site
from pytest_k8snet.localcluster import LocalClusterError
from pytest_k8snet.report.recording import evidence, facts, read

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from faults.controls import Control
    from shipped_suite import SuiteRun

    from benchmarks.faults.scoring import Awaited
    from pytest_k8snet.diagnose import Finding
    from pytest_k8snet.diagnose.evidence import Look
    from pytest_k8snet.report.recording import Recording

FILES = Path(__file__).parents[2] / "clusters"
INSPECT = "--k8snet-inspect-nodes"


@dataclass(frozen=True)
class Healthy:
    """A run on a cluster that is well, or has nothing but a control done to it."""

    cluster: str
    control: str
    seconds: float
    alarms: list[str]


@dataclass(frozen=True)
class AtOnce:
    """A run under several faults; ``unsaid`` are those that no finding blames."""

    faults: tuple[str, ...]
    seconds: float
    unsaid: tuple[str, ...]


@dataclass
class Results:
    """All that was run.

    Attributes:
        problems: faults that could not be made or healed, each with why.

    """

    scores: list[Score] = field(default_factory=list)
    at_once: list[AtOnce] = field(default_factory=list)
    healthy: list[Healthy] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """What to run, and where reports go.

    Attributes:
        faults: those to be made.
        at_once: those to be made together, each of one cluster's.
        controls: what is done beside them, and must harm nothing.
        healthy: how often the suite is run on each cluster with nothing done to it.
        clusters: kinds that are brought up even without a fault or a control.
        inspect: whether the suite may look into Nodes.
        out: the folder of the reports.

    """

    faults: Sequence[Awaited]
    at_once: Sequence[Sequence[Awaited]]
    controls: Sequence[Control]
    healthy: int
    clusters: Sequence[str]
    inspect: bool
    out: Path

    def run(self, results: Results) -> None:
        """Bring up the clusters that are needed, each once, and note what is seen."""
        faults, controls = defaultdict(list), defaultdict(list)
        at_once = defaultdict(list)
        for one in self.faults:
            faults[one.fault.cluster].append(one)
        for several in self.at_once:
            at_once[several[0].fault.cluster].append(several)
        for control in self.controls:
            controls[control.made.cluster].append(control)
        for kind in dict.fromkeys((*faults, *at_once, *controls, *self.clusters)):
            try:
                with suite_on(kind) as suite:
                    for one in faults[kind]:
                        self._fault(one, suite, results)
                    for several in at_once[kind]:
                        self._at_once(several, suite, results)
                    for control in controls[kind]:
                        self._control(control, suite, results)
                    for number in range(self.healthy):
                        ran = self._suite(suite, (), f"healthy-{kind}-{number + 1}")
                        self._heard(kind, "", ran, (), results)
            except (LocalClusterError, ClusterError) as error:
                results.problems[f"cluster {kind}"] = str(error)
                _say(f"cluster {kind}: {error}")

    def replay(self, results: Results) -> None:
        """Judge the reports again that runs have left, as they are diagnosed today."""
        for one in self.faults:
            file = self.out / f"{one.fault.id}.json"
            if file.exists():
                recording = read(file.read_text(encoding="utf-8"))
                found = findings(recording)
                unaided = findings(recording, without=PRIVILEGED)
                results.scores.append(score(one, recording.report, found, unaided))

    def _fault(self, one: Awaited, suite: Suite, results: Results) -> None:
        try:
            with one.fault.inject(suite.site):
                ran = self._suite(suite, one.args, one.fault.id)
            suite.site.wait_until_clean()
        except (LocalClusterError, ClusterError) as error:
            results.problems[one.fault.id] = str(error)
            _say(f"{one.fault}: {error}")
            return
        if ran.recording is None:
            results.problems[one.fault.id] = f"no report: {ran.output[-2000:]}"
            return
        report = ran.recording.report
        cells = (
            surprises((one,), ran.recording, suite.site)
            if isinstance(one, Expected)
            else []
        )
        unaided = findings(ran.recording, without=PRIVILEGED)
        found = score(one, report, report.findings, unaided, cells)
        results.scores.append(found)
        _say(f"{one.fault}: {found.said or 'no finding'}, {found.seconds:.0f} s")

    def _at_once(
        self, several: Sequence[Awaited], suite: Suite, results: Results
    ) -> None:
        names = tuple(one.fault.id for one in several)
        args = [word for one in several for word in one.args]
        with together(*(one.fault.inject for one in several))(suite.site):
            ran = self._suite(suite, args, "+".join(names))
        report = ran.report
        if report is None:
            results.problems["+".join(names)] = f"no report: {ran.output[-2000:]}"
            return
        unsaid = tuple(
            one.fault.id
            for one in several
            if not any(says(f, blame_of(one), report) for f in report.findings)
        )
        results.at_once.append(AtOnce(names, report.figures.total, unsaid))
        _say(f"{' and '.join(names)}: not named: {', '.join(unsaid) or 'none'}")

    def _control(self, control: Control, suite: Suite, results: Results) -> None:
        with control.made.inject(suite.site):
            ran = self._suite(suite, control.args, f"control-{control}")
        self._heard(control.made.cluster, str(control), ran, control.may, results)

    def _heard(
        self,
        kind: str,
        control: str,
        ran: SuiteRun,
        may: Sequence[str] | frozenset[str],
        results: Results,
    ) -> None:
        heard = alarms(ran.report, may) if ran.report else [ran.output[-2000:]]
        seconds = ran.report.figures.total if ran.report else ran.seconds
        results.healthy.append(Healthy(kind, control, seconds, heard))
        _say(f"{kind} {control or 'healthy'}: {'; '.join(heard) or 'no alarm'}")

    def _suite(self, suite: Suite, args: Sequence[str], name: str) -> SuiteRun:
        suite.site.wait_until_clean()
        more = [INSPECT] if self.inspect else []
        # Some faults are a plugin of the suite's own.
        ran = suite.run(*args, *more, PYTHONPATH=str(TESTS / "cluster"))
        if ran.document:
            self.out.mkdir(parents=True, exist_ok=True)
            (self.out / f"{name}.json").write_text(ran.document, encoding="utf-8")
            (self.out / f"{name}.log").write_text(ran.output, encoding="utf-8")
        return ran


def findings(
    recording: Recording, without: Collection[Look] = ()
) -> tuple[Finding, ...]:
    """Diagnose a recorded run, perhaps without some of what was looked at."""
    report = recording.report
    seen = {q: a for q, a in evidence(report).items() if q.look not in without}
    known = facts(report.environment)
    return diagnose(known, recording.results, report.not_running, seen)


@contextmanager
def suite_on(kind: str) -> Iterator[Suite]:
    """Have the suite for a new cluster of that file."""
    folder = Path(tempfile.mkdtemp(prefix="k8snet-faults-"))
    name = f"faults-{kind}"
    localcluster.down(name)
    _say(f"cluster {kind}")
    try:
        cluster = localcluster.up(
            FILES / f"{kind}.yaml",
            name=name,
            provider="netns",
            kubeconfig=folder / "kubeconfig",
        )
        site = Site.of(cluster)
        try:
            # What happens to a worker then leaves name resolution alone.
            site.gather_dns(FIRST)
            yield Suite(site, folder)
        finally:
            site.api.close()
    finally:
        localcluster.down(name)
        shutil.rmtree(folder)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
