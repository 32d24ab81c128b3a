"""One engine and one cluster of kind for a whole run, only when it is asked for them.

`pytest -m kind`: never part of another run. Shown as what it is, a real kind on a
home-made engine and node image.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from asked_for import leave_out
from interruptible import ctrl_c_counts  # noqa: F401 - for every test

from kind import engine, node_image, recipe
from kind.traces import Traces
from pytest_k8snet.localcluster import LocalClusterError
from pytest_k8snet.localcluster.progress import Lines
from pytest_k8snet.plugin import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kind.engine import Engine

CLUSTERS = Path(__file__).parents[2] / "clusters"
NAME = "real"
FIGURES = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    leave_out("kind", config, items)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show what was measured, and on what."""
    if figures := config.stash.get(FIGURES, None):
        terminalreporter.section("the real kind, on a home-made node image")
        for line in figures:
            terminalreporter.line(line)


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    status: int
    said: str
    seconds: float


@dataclass(frozen=True)
class Machine:
    """What a user of kind has: a shell where an engine answers."""

    engine: Engine
    folder: Path
    figures: list[str]

    def run(self, *argv: str) -> Done:
        """Run one of Python's modules, as its command does."""
        started = time.monotonic()
        with self.start(*argv) as process:
            said, _ = process.communicate(timeout=300)
        return Done(process.returncode, said, time.monotonic() - started)

    def start(self, *argv: str) -> subprocess.Popen[str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("PYTEST_", "K8SNET_", "KIND_"))
            and key != "PYTHONDONTWRITEBYTECODE"
        }
        return subprocess.Popen(
            self.engine.inside([sys.executable, "-m", *argv]),
            env={**kept, **self.engine.variables, "PYTHONUNBUFFERED": "1"},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def k8snet(self, *words: str) -> Done:
        """Run our command."""
        return self.run("pytest_k8snet.cli", "cluster", *words)

    def docker(self, *words: str) -> list[str]:
        """Ask the engine."""
        done = subprocess.run(
            ["docker", *words],
            env={**os.environ, **self.engine.variables},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    def cluster_file(self, name: str) -> Path:
        """Give one of our cluster files, for which the Nodes get the home-made image.

        The one that kind would download cannot be had here.
        """
        text = (CLUSTERS / f"{name}.yaml").read_text()
        first, *rest = yaml.safe_load_all(text)
        for node in first["nodes"]:
            node["image"] = node_image.NAME
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump_all([first, *rest]))
        return file


@pytest.fixture(scope="session")
def machine(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """An engine with the home-made node image; all of it is built the first time."""
    reporter = pytestconfig.pluginmanager.get_plugin("terminalreporter")
    capture = pytestconfig.pluginmanager.get_plugin("capturemanager")
    assert reporter is not None
    assert capture is not None

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(line)

    progress = Lines(say)
    install = bool(options.read(pytestconfig)["install-packages"])
    before = Traces.now()
    with ExitStack() as stack:
        with progress.alive():
            try:
                materials = recipe.prepare(progress, install_packages=install)
                running = stack.enter_context(engine.running(materials, progress))
            except LocalClusterError as error:
                pytest.fail(str(error), pytrace=False)
        figures = pytestconfig.stash.setdefault(FIGURES, [])
        yield Machine(running, tmp_path_factory.mktemp("kind"), figures)
    assert Traces.now() == before


@pytest.fixture(scope="session")
def cluster(machine: Machine) -> Iterator[Done]:
    """The one cluster of the run, as `k8snet cluster up` made it."""
    file = str(machine.cluster_file("three-node"))
    done = machine.k8snet("up", file, "--name", NAME, "--provider", "kind")
    assert done.status == 0, done.said
    machine.figures.append(f"up, three Nodes: {done.seconds:.1f} s")
    yield done
    machine.k8snet("down", NAME)
