"""One run: the cluster, the lab and the results, owned by the controller process."""

from __future__ import annotations

import pickle
import re
import shutil
import tempfile
import time
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any

import pytest

from pytest_k8snet import manifests
from pytest_k8snet.defaults import DEFAULT_IMAGE
from pytest_k8snet.model import Check, Profile, Word
from pytest_k8snet.plugin.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_k8snet.cluster.api import Api
    from pytest_k8snet.diagnose import Answer, Finding, Question
    from pytest_k8snet.lab import Lab
    from pytest_k8snet.localcluster import Cluster
    from pytest_k8snet.model import ClusterFacts, Feature
    from pytest_k8snet.plan import Limits, Plan
    from pytest_k8snet.plugin.options import Settings
    from pytest_k8snet.report.recording import Recording
    from pytest_k8snet.result import Result
    from pytest_k8snet.stage import Waits
    from pytest_k8snet.workbench import Workbench

LIFETIME = 3600
"""Seconds after which another run may sweep what this one left."""

SEED = "seed"
CHECK_ID = re.compile(r"\[([A-Z0-9-]+(?:-[a-z0-9-]+)*)\]$")


@dataclass
class Run:
    """What the controller knows of this run.

    Attributes:
        settings: what the user said.
        say: writes a line to the terminal.
        folder: where workers find the results, one pickle each.
        id: in the names and labels of everything in the cluster.

    """

    settings: Settings
    say: Callable[[str], None]
    folder: Path = field(
        default_factory=lambda: Path(tempfile.mkdtemp(prefix="k8snet-"))
    )
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:6])
    api: Api | None = None
    facts: ClusterFacts | None = None
    gate: Gate = field(default_factory=Gate)
    lab: Lab | None = None
    recording: Recording | None = None
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    evidence: dict[Question, Answer] = field(default_factory=dict)
    terminating: list[str] = field(default_factory=list)
    unwritten: str = ""
    _local: Cluster | None = None
    _made: bool = False
    _lines: Queue[str] = field(default_factory=Queue)

    # ------------------------------------------------------------------ the cluster

    def open(self) -> None:
        """Make the cluster if one was asked for, connect, and discover.

        Raises:
            pytest.UsageError: when the cluster cannot be used, with why.

        """
        from pytest_k8snet import localcluster  # noqa: PLC0415 - only when asked
        from pytest_k8snet.cluster.api import Api  # noqa: PLC0415
        from pytest_k8snet.cluster.discover import discover  # noqa: PLC0415
        from pytest_k8snet.cluster.errors import ClusterError  # noqa: PLC0415

        if self.settings["report"] and not self.settings["plan"]:
            self._make_report_folder()
        try:
            if self.settings["cluster"]:
                self._make_cluster()
                # What building and starting it took is no time of the suite's.
                self.started = time.monotonic()
            else:
                self._local = localcluster.find(self.settings["context"])
            self.api = Api.connect(
                self.context, self._kubeconfig(), timeout=self.settings["timeout-api"]
            )
            found = discover(
                self.api,
                self.context,
                selector=self.settings["nodes"],
                tolerations=self.settings["tolerations"],
                claimed=self._claimed(),
            )
            ports = self.settings["gateway-ports"] or found.gateway_ports
            self.facts = replace(found, given=self.settings.given, gateway_ports=ports)
            self.gate = Gate.open(self.settings, self.facts)
            if not self.settings["plan"]:
                self._sweep()
        except (ClusterError, localcluster.LocalClusterError) as error:
            raise pytest.UsageError(str(error)) from None

    @property
    def context(self) -> str:
        """Name the kubeconfig context."""
        local = self._local.context if self._local else ""
        return str(self.settings["context"] or local)

    def _kubeconfig(self) -> str | None:
        if self._made and self._local:
            return str(self._local.kubeconfig)
        given: str | None = self.settings["kubeconfig"]
        return given

    def _make_cluster(self) -> None:
        from pytest_k8snet import localcluster  # noqa: PLC0415 - only when asked
        from pytest_k8snet.localcluster.progress import Lines  # noqa: PLC0415

        self._made = True
        which = self.settings["provider"]
        progress = Lines(self.say)
        with progress.alive():
            self._local = localcluster.up(
                Path(self.settings["cluster"]),
                progress=progress,
                install_packages=self.settings["install-packages"],
                provider=None if which == "auto" else which,
            )

    def _make_report_folder(self) -> None:
        folder = Path(self.settings["report"])
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            where = self.settings.origin["report"]
            message = f"{where}: cannot make the folder {folder}: {error.strerror}"
            raise pytest.UsageError(message) from None

    def _claimed(self) -> frozenset[Feature]:
        """Give what the user claims, and what the file of a local cluster does."""
        said: frozenset[Feature] = self.settings["features"]
        return said | self._local.features if self._local else said

    def _sweep(self) -> None:
        from pytest_k8snet.cluster import apply  # noqa: PLC0415

        apply.sweep(self._api(), time.time(), lambda line: self.say(f"k8snet: {line}"))

    def _api(self) -> Api:
        if self.api is None:
            raise RuntimeError("the run is not open")
        return self.api

    # ---------------------------------------------------------------------- the lab

    def plan(self, ids: Iterable[str]) -> Plan:
        """Lay out the checks of these ids."""
        from pytest_k8snet.plan import make_plan  # noqa: PLC0415

        if self.facts is None:
            raise RuntimeError("the run is not open")
        return make_plan(selected(ids), self.facts, self._limits())

    def start(self, ids: Iterable[str], *, threaded_output: bool) -> None:
        """Begin the lab for the selected checks; nothing when there are none."""
        from pytest_k8snet.lab import Lab  # noqa: PLC0415 - only when asked

        plan = self.plan(ids)
        if not plan.checks and not plan.skipped:
            return
        self.lab = Lab(
            self._api(),
            plan,
            self.spec(),
            outside=self._outside(),
            waits=self._waits(),
            progress=self._now if threaded_output else self._lines.put,
            on_result=self._hand_out,
        )
        self.lab.start()

    def require_lab(self) -> Lab:
        """Give the lab of a run that has begun one."""
        if self.lab is None:
            raise RuntimeError("the run has no lab")
        return self.lab

    @property
    def results(self) -> tuple[Result, ...]:
        """Give what became of the checks, known deviations taken for what they are."""
        # A copy: after -x the lab is still at it.
        found = list(self.lab.results.values()) if self.lab else ()
        return tuple(self.gate.amended(one) for one in found)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Say why what fails does."""
        from pytest_k8snet.diagnose import diagnose  # noqa: PLC0415 - only when asked

        lab = self.require_lab()
        return diagnose(lab.plan.facts, self.results, lab.problems, self.evidence)

    def spec(self) -> manifests.LabSpec:
        """Give what all our objects have in common."""
        from pytest_k8snet.cluster.apply import agent_sources  # noqa: PLC0415

        local = self._local.image if self._local else ""
        return manifests.LabSpec(
            run=self.id,
            prefix=self.settings["namespace-prefix"],
            image=self.settings["image"] or local or DEFAULT_IMAGE,
            agent=agent_sources(),
            expires=int(time.time()) + LIFETIME,
            tolerations=self.settings["tolerations"],
            host_port=20000 + int(self.id, 16) % 9000,
        )

    def _limits(self) -> Limits:
        from pytest_k8snet.plan import Limits  # noqa: PLC0415

        return Limits(
            host_network=not self.settings["no-host-network"],
            outside=not self.settings["no-outside"],
        )

    def _waits(self) -> Waits:
        from pytest_k8snet.model import TIMEOUTS  # noqa: PLC0415
        from pytest_k8snet.stage import Waits  # noqa: PLC0415

        return Waits(
            ready=self.settings["timeout-ready"],
            connect=self.settings["timeout-connect"],
            scale=self.settings["timeout-probe"] / TIMEOUTS["dead"],
        )

    def _outside(self) -> tuple[str, ...]:
        # The pytest host itself, unless the cluster came with a place of its own.
        return self._local.outside if self._local else ()

    def _now(self, line: str) -> None:
        self.say(f"k8snet: {line}")

    def _hand_out(self, result: Result) -> None:
        """Leave a result where xdist's workers look for it."""
        if self.ended is not None:
            return
        path = self.folder / result.check.id
        partial = path.with_suffix(".partial")
        partial.write_bytes(pickle.dumps(self.gate.on_the_wire(result)))
        partial.rename(path.with_suffix(".result"))

    def wait_until_ready(self) -> None:
        """Show the set-up's progress until the first results can be expected."""
        while self.lab is not None:
            done = self.lab.ready.wait(0.1)
            self.show_progress()
            if done:
                return

    def show_progress(self) -> None:
        """Write the lines that the lab has said since."""
        while True:
            try:
                self.say(f"k8snet: {self._lines.get_nowait()}")
            except Empty:
                return

    # -------------------------------------------------------------------------- end

    def close(self) -> None:
        """Remove everything, once; safe to call again."""
        from pytest_k8snet import localcluster  # noqa: PLC0415 - only when asked
        from pytest_k8snet.cluster.errors import ClusterError  # noqa: PLC0415

        if self.ended is not None:
            return
        self.ended = time.monotonic()
        keep = self.settings["keep"]
        try:
            interrupted = self.lab is not None and self.lab.stop()
            remove = self.api is not None and not keep and not self._made
            if remove:
                self.terminating = self._remove_all(self._api())
            if self.lab is not None and interrupted and remove:
                self.lab.join()
                # It may have made some more while the others were removed.
                self.terminating = self._remove_all(self._api())
            self.show_progress()
        except ClusterError as error:
            self.say(
                f"k8snet: could not remove the namespaces of run {self.id}: {error}; "
                f"remove them with pytest --k8s-context={self.context} "
                "--k8snet-cleanup"
            )
        finally:
            if self._made and not keep:
                name = self._local.name if self._local else None
                if name:
                    localcluster.down(name)
                    self.say(f"k8snet: cluster {name} is removed")
            if self.api is not None:
                self.api.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _remove_all(self, api: Api) -> list[str]:
        """Remove every namespace of this run, the workers' own included."""
        from pytest_k8snet.cluster import apply  # noqa: PLC0415 - only when asked

        if self.facts is None or self.settings["plan"]:
            return []
        found = [n["metadata"]["name"] for n in apply.namespaces_of(api, self.id)]
        return apply.remove(api, found, wait=self.settings["timeout-cleanup"])

    def workbench(self, worker: str = "main") -> Workbench:
        """Make the workbench of the fixture ``k8snet`` in this process."""
        from pytest_k8snet.workbench import Workbench  # noqa: PLC0415

        if self.facts is None:
            raise RuntimeError("the run is not open")
        key = f"tests-{worker}"
        return Workbench(
            self._api(), self.spec(), self.facts, self._waits(), key, self._outside()
        )

    def worker_input(self) -> dict[str, str]:
        """Give what an xdist worker has to know, in types that execnet carries."""
        seed = (self.id, self.context, self.facts, self._kubeconfig())
        (self.folder / SEED).write_bytes(pickle.dumps(seed))
        return {"folder": str(self.folder)}

    @classmethod
    def in_worker(cls, settings: Settings, folder: Path) -> Run:
        """Open the same run in an xdist worker, which discovers and removes nothing."""
        from pytest_k8snet import localcluster  # noqa: PLC0415 - only when asked
        from pytest_k8snet.cluster.api import Api  # noqa: PLC0415

        seed = pickle.loads((folder / SEED).read_bytes())  # noqa: S301 - our own
        run = cls(settings, say=lambda _: None, folder=folder, id=seed[0])
        _, context, run.facts, kubeconfig = seed
        run._local = localcluster.find(context)
        run.api = Api.connect(context, kubeconfig, timeout=settings["timeout-api"])
        return run

    def kept(self) -> list[str]:
        """Name the namespaces that were left on purpose."""
        from pytest_k8snet import access  # noqa: PLC0415 - imports yaml

        if self.lab is None or not self.settings["keep"]:
            return []
        return access.namespaces(self.lab.plan, self.spec())


def selected(ids: Iterable[str]) -> list[Check]:
    """Give the checks that test ids stand for; other tests are left alone."""
    found = [m[1] for m in map(CHECK_ID.search, ids) if m]
    if not found:
        return []
    from pytest_k8snet.plan import checks  # noqa: PLC0415
    from pytest_k8snet.rules import RULES  # noqa: PLC0415

    known = {check.id: check for check in checks(RULES)}
    return [known[one] for one in found if one in known]


def left_out(item: pytest.Item, profile: str) -> bool:
    """Whether an item is a check of ours that a profile leaves out."""
    from pytest_k8snet.plan import in_profile  # noqa: PLC0415

    called = getattr(item, "callspec", None)
    check = called.params.get("check") if called is not None else None
    return isinstance(check, Check) and not in_profile(check.rule, Profile(profile))


def wait_for_result(folder: Path, check_id: str, timeout: float) -> dict[str, Any]:
    """Wait, in an xdist worker, for what the controller hands out."""
    path = folder / f"{check_id}.result"
    deadline = time.monotonic() + timeout
    while not path.exists():
        if time.monotonic() > deadline or not folder.exists():
            text = "the controller handed out no result"
            return {"id": check_id, "word": str(Word.INCONCLUSIVE), "text": text}
        time.sleep(0.02)
    found: dict[str, Any] = pickle.loads(path.read_bytes())  # noqa: S301 - our own
    return found
