"""Kubernetes' own network conformance tests and ours, on one cluster in one run.

    uv run python -m benchmarks.upstream clusters/three-node.yaml

Makes the cluster, runs our suite several times, whole and what covers upstream's tests,
then upstream's e2e.test serially and in four processes, prints a table and JSON, and
removes the cluster. The folder that ``--out`` names has the reports of upstream, and
comparison.json after every step.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import suite
from pytest_k8snet import localcluster
from pytest_k8snet.localcluster import LocalClusterError
from pytest_k8snet.localcluster.component import KUBERNETES_VERSION
from pytest_k8snet.localcluster.progress import for_terminal

from . import comparison, coverage, programs
from .run import PROCESSES, Upstream

if TYPE_CHECKING:
    from types import FrameType

    from pytest_k8snet.localcluster import Cluster
    from pytest_k8snet.localcluster.progress import Progress

    from .run import UpstreamRun

NAME = "upstream"
INTERRUPTED = 130


def main() -> int:
    """Compare; 0 when everything is accounted for and both sides agree."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.upstream",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="of the cluster, as in clusters/")
    parser.add_argument(
        "--out", type=Path, default=Path("out/upstream"), metavar="FOLDER"
    )
    parser.add_argument("--runs", type=int, default=5, help="of each of ours")
    parser.add_argument("--install-packages", action="store_true")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        document = measure(given)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (LocalClusterError, subprocess.SubprocessError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(comparison.table(document))
    print(json.dumps(document, indent=2))
    return int(any(document[problem] for problem in comparison.PROBLEMS))


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Make a cluster, run everything on it, and remove it, whatever happens."""
    progress = for_terminal()
    with progress.alive():
        binaries = programs.build(progress, install_packages=given.install_packages)
        archives = programs.images(binaries, progress)
    cluster = localcluster.up(
        given.file, progress=progress, name=NAME, provider="netns"
    )
    try:
        with progress.alive():
            programs.load(cluster, archives.values(), progress)
            return run_both(given, cluster, binaries["e2e"], progress)
    finally:
        localcluster.down(NAME)


def run_both(
    given: argparse.Namespace,
    cluster: Cluster,
    binaries: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Run our suite, then upstream's; what is known so far is always written down."""
    folder = given.out.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    theirs = Upstream(binaries, cluster.kubeconfig, folder)
    names = theirs.names()
    table = coverage.load()
    ours: dict[str, list[dict[str, Any]]] = {}
    upstream: dict[str, UpstreamRun] = {}
    for what, select in (
        ("whole suite", ""),
        ("covering rules", coverage.selection(table)),
    ):
        for number in range(given.runs):
            progress.stage(f"ours, {what}, run {number + 1} of {given.runs}")
            one = suite.run_once(cluster.context, select, [])
            ours.setdefault(what, []).append(one)

    def save() -> dict[str, Any]:
        document = {
            "kubernetes": KUBERNETES_VERSION,
            "cluster": given.file.name,
            "machine": f"{os.cpu_count()} processors, Linux {platform.release()}",
            **comparison.compare(names, table, ours, upstream),
        }
        text = json.dumps(document, indent=2)
        (folder / "comparison.json").write_text(f"{text}\n", encoding="utf-8")
        return document

    save()
    progress.stage(f"upstream's {len(names)} tests, one by one")
    upstream["serial"] = theirs.serial(progress)
    save()
    progress.stage(f"upstream's {len(names)} tests, {PROCESSES} at a time")
    upstream[f"{PROCESSES} processes"] = theirs.parallel(progress)
    return save()


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Take SIGTERM for Ctrl-C: cleaning up is the same."""
    del number, frame
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
