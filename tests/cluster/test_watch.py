"""What a watch says of a cluster that is well, and of one that is worked on."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from shipped_suite import StartedRun

from pytest_k8snet.faults.netfilter import REMOVE
from pytest_k8snet.faults.service_proxy import TABLES
from pytest_k8snet.faults.site import wait_until
from pytest_k8snet.report.watch_schema import PathDocument, WatchDocument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shipped_suite import Suite

    from pytest_k8snet.faults.site import Site

pytestmark = pytest.mark.cluster

BEGUN = "watching "
FLUSHED = 5.0
RESOLUTION = 0.5


@dataclass(frozen=True)
class Watched:
    """What is left of a watch."""

    exit_code: int
    output: str
    document: WatchDocument

    @property
    def out(self) -> list[PathDocument]:
        return [path for path in self.document.paths if path.outages]


class Watches:
    """Runs ``k8snet watch`` as users do, each time in a folder of its own."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.folder = folder

    def start(self, *words: str, until: str = BEGUN) -> StartedRun:
        argv = [sys.executable, "-m", "pytest_k8snet.cli", "watch"]
        argv += ["--context", self.site.cluster.context, "--report", "report", *words]
        kubeconfig = {"KUBECONFIG": str(self.site.cluster.kubeconfig)}
        with (self.folder / "output").open("w") as output:
            process = subprocess.Popen(
                argv,
                cwd=self.folder,
                env={**os.environ, **kubeconfig},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started = StartedRun(process, self.folder)
        started.wait_for(until)
        return started

    def finish(self, started: StartedRun) -> Watched:
        done = started.finish(60)
        return Watched(done.exit_code, done.output, self.document())

    def document(self) -> WatchDocument:
        text = (self.folder / "report" / "watch.json").read_text()
        return WatchDocument.model_validate_json(text)


@pytest.fixture
def watches(suite: Suite, tmp_path: Path) -> Iterator[Watches]:
    yield Watches(suite.site, tmp_path)
    wait_until(lambda: not suite.site.namespaces(), "the watch is gone", 20)


def test_a_healthy_cluster_has_no_outage(watches: Watches) -> None:
    watched = watches.finish(watches.start("--duration", "20s", "--profile=strict"))

    assert watched.exit_code == 0, watched.output
    document = watched.document
    assert (document.state, document.result) == ("finished", "pass")
    kinds = {(p.kind, p.kept, p.family) for p in document.paths}
    assert {kind for kind, *_ in kinds} == {"pod", "service", "nodeport", "dns"}
    assert {(kind, kept) for kind, kept, _ in kinds if kept} == {
        ("pod", True),
        ("service", True),
    }
    assert {family for *_, family in kinds} == {"ipv4", "ipv6"}
    pairs = {(p.source, p.target) for p in document.paths if p.kind == "pod"}
    assert len(pairs) == len(watches.site.nodes) ** 2
    assert all(path.asked >= 90 for path in document.paths), watched.output
    assert not watched.out


def flush_for(seconds: float, site: Site, node: str) -> float:
    """Take a Node's Service rules away; give for how long they were gone."""
    site.end(node, "kube-proxy")
    site.nft(node, "".join(map(REMOVE.format, TABLES)))
    begin = time.monotonic()
    time.sleep(seconds)
    site.start_proxy(node)
    address = site.api.get("/api/v1/namespaces/kube-system/services/kube-dns")
    wanted = [f"{ip} . " for ip in address["spec"]["clusterIPs"]]

    def back() -> bool:
        rules = site.run(node, "nft", "list", "ruleset")
        return all(ip in rules for ip in wanted)

    wait_until(back, "kube-proxy's rules", 30)
    return time.monotonic() - begin


def test_rules_that_are_gone_for_a_while_are_an_outage_of_just_that(
    watches: Watches,
) -> None:
    site = watches.site
    started = watches.start()
    time.sleep(3)
    gone = flush_for(FLUSHED, site, "worker")
    time.sleep(3)
    started.interrupt()
    watched = watches.finish(started)

    node = site.full("worker")
    assert watched.exit_code == 1, watched.output
    new = [path for path in watched.out if not path.kept]
    assert {(p.kind, p.source, p.target) for p in new} == {
        ("service", node, "Service watch"),
        ("nodeport", "outside", node),
        *(("dns", node, p.target) for p in new if p.kind == "dns"),
    }, watched.output
    assert all("Service" in p.target for p in new if p.kind == "dns")
    for path in new:
        (outage,) = path.outages
        assert outage.seconds == pytest.approx(gone, abs=RESOLUTION), watched.output


def test_a_kubelet_that_restarts_cuts_the_stream_and_not_the_watch(
    watches: Watches,
) -> None:
    site = watches.site
    started = watches.start("--profile=strict")
    time.sleep(2)
    site.end("worker", "kubelet")
    started.wait_for("lost the stream to ")
    time.sleep(3)
    site.start_kubelet("worker")
    started.wait_for(" is back")
    started.interrupt()
    watched = watches.finish(started)

    assert not any(path.not_measured for path in watched.document.paths)
    assert watched.exit_code == 0, watched.output


def test_the_command_decides_and_gets_the_signal(
    watches: Watches, tmp_path: Path
) -> None:
    failing = watches.finish(watches.start("--", "sh", "-c", "exit 7"))
    script = "trap 'echo stopped; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
    started = watches.start("--", "sh", "-c", script)
    started.wait_for("ready")
    started.terminate()
    stopped = watches.finish(started)

    assert failing.exit_code == 7, failing.output
    assert failing.document.exit_code == 7
    assert "stopped" in stopped.output
    assert stopped.exit_code == 130
    assert stopped.document.state == "interrupted"
    assert "Traceback" not in stopped.output
    assert tmp_path.exists()


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["waiting for its Pods", "waiting until", BEGUN])
def test_a_watch_that_is_interrupted_cleans_up(
    watches: Watches, way: signal.Signals, moment: str
) -> None:
    started = watches.start(until=moment)
    time.sleep(0.5 + random.random())  # noqa: S311 - any moment will do
    assert watches.site.namespaces()
    started.process.send_signal(way)
    done = started.finish(60)

    assert "Traceback" not in done.output
    # Of what had just begun, nothing may have been measured for long enough.
    judged = 1 if "\ninconclusive: " in done.output else 0
    assert done.exit_code == (judged if BEGUN in done.output else 130), done.output
    watches.site.wait_until_clean(20)
    assert started.group == []


def test_what_was_measured_survives_being_killed(
    watches: Watches, suite: Suite
) -> None:
    started = watches.start()
    time.sleep(2 + 3 * random.random())  # noqa: S311 - any moment will do
    os.killpg(started.process.pid, signal.SIGKILL)
    started.process.wait()
    document = watches.document()

    cleaned = suite.run("--k8snet-cleanup")

    assert document.state == "running"
    assert all(path.asked > 0 for path in document.paths)
    assert cleaned.exit_code == 0, cleaned.output
    assert suite.site.namespaces() == []


DOCUMENT = Path(__file__).parents[2] / "docs" / "watch.md"


def test_the_fixture_watches_people_s_own_upgrades(
    suite: Suite, tmp_path: Path
) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    tests = tmp_path / "test_mine.py"
    tests.write_text(example, encoding="utf-8")

    run = suite.run(str(tests))

    assert run.exit_code == 0, run.output
    assert "1 passed" in run.output
