"""Nodes are changed one after the other, and what was interrupted is finished."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from pytest_k8snet.localcluster import UnknownClusterError, state
from pytest_k8snet.localcluster.progress import Silent

if sys.platform != "linux":
    pytest.skip("netns clusters exist only on Linux", allow_module_level=True)

from pytest_k8snet.localcluster import cgroups, rolling
from pytest_k8snet.localcluster import node as node_module
from pytest_k8snet.localcluster.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OLD, NEW = "v1.35.4", "v1.36.1"
AGENTS = ("kubelet", "kube-proxy")
CONTROL, WORKER = "a-control-plane", "a-worker"


@dataclass
class Machine:
    """Two Nodes: what runs there, and what is done with them."""

    cluster: state.ClusterRecord
    running: dict[tuple[str, str], str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    clock: itertools.count[int] = field(default_factory=lambda: itertools.count(10))
    interrupt_at: str = ""

    def get(self, path: str) -> dict[str, Any]:
        """Answer as the API server: kubelets give signs of life all the time."""
        if path == "/version":
            return {"gitVersion": NEW}
        node = path.rpartition("/")[2]
        program = self.running.get((node, "kubelet"), "")
        ready = {
            "type": "Ready",
            "status": "True",
            "lastHeartbeatTime": f"2026-01-01T00:00:{next(self.clock)}Z",
        }
        return {
            "spec": {},
            "status": {
                "conditions": [ready],
                "nodeInfo": {"kubeletVersion": program.split("/")[-2:][0]},
            },
        }

    def start(self, component: str) -> Callable[[Node], None]:
        def start(node: Node) -> None:
            self.note(f"start {component} of {node.name}")
            self.running[node.name, component] = f"{node.programs}/{component}"

        return start

    def note(self, what: str) -> None:
        if what == self.interrupt_at:
            raise KeyboardInterrupt
        self.done.append(what)

    def versions(self) -> set[str]:
        return {path.split("/")[-2] for path in self.running.values()}

    def rolling(self) -> rolling.Rolling:
        return rolling.Rolling(self.cluster, Silent())


@dataclass(frozen=True)
class MachineNode(Node):
    """A Node on paper."""

    machine: Machine

    def processes(self, program: str) -> dict[int, str]:
        path = self.machine.running.get((self.name, program))
        return {1: path} if path else {}

    def stop(self, program: str) -> None:
        self.machine.note(f"stop {program} of {self.name}")
        self.machine.running.pop((self.name, program), None)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("K8SNET_STATE_HOME", str(tmp_path))
    places = tuple(
        state.NodeRecord(name, name[2:], name == CONTROL, host, ("10.203.0.1",), {})
        for host, name in ((11, CONTROL), (12, WORKER))
    )
    cluster = state.ClusterRecord("a", 0, ("ipv4",), places, state.this_process())
    made = Machine(cluster)
    monkeypatch.setattr(rolling, "Api", lambda *_: made)
    starts = {name: made.start(name) for name in rolling.STARTS}
    monkeypatch.setattr(rolling, "STARTS", starts)
    monkeypatch.setattr(rolling.Rolling, "_programmed", lambda *_: True)
    theirs = [MachineNode(cluster, place, made) for place in places]
    monkeypatch.setattr(rolling, "nodes", lambda _: theirs)
    for node in theirs:
        node.install(OLD)
        for component in AGENTS:
            made.start(component)(node)
    made.done.clear()
    return made


def test_nodes_are_upgraded_one_by_one_the_control_plane_first(
    machine: Machine,
) -> None:
    assert machine.rolling().upgrade() == (NEW, [CONTROL, WORKER])

    assert machine.done == [
        f"{what} {agent} of {node}"
        for node in (CONTROL, WORKER)
        for what in ("stop", "start")
        for agent in AGENTS
    ]
    assert machine.versions() == {NEW}


def test_what_is_current_is_left_alone(machine: Machine) -> None:
    machine.rolling().upgrade()
    machine.done.clear()

    assert machine.rolling().upgrade() == (NEW, [])

    assert machine.done == []


@pytest.mark.parametrize("what", ["stop", "start"])
@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("node", [CONTROL, WORKER])
def test_an_interrupted_upgrade_is_finished_by_the_next(
    machine: Machine, what: str, agent: str, node: str
) -> None:
    machine.interrupt_at = f"{what} {agent} of {node}"
    with pytest.raises(KeyboardInterrupt) as caught:
        machine.rolling().upgrade()
    assert "finished by `k8snet cluster upgrade a`" in caught.value.__notes__[0]
    machine.interrupt_at = ""

    version, changed = machine.rolling().upgrade()

    assert (version, changed[-1]) == (NEW, WORKER)
    assert machine.versions() == {NEW}
    assert len(machine.running) == 4
    assert machine.rolling().upgrade() == (NEW, [])


def test_a_restart_keeps_the_version_that_is_installed(machine: Machine) -> None:
    found = machine.rolling().restart("kube-proxy", "worker")

    assert found == [WORKER]
    assert machine.done == [f"{w} kube-proxy of {WORKER}" for w in ("stop", "start")]
    assert machine.versions() == {OLD}


@pytest.mark.parametrize("willing", [True, False])
def test_a_program_is_ended_and_killed_when_it_will_not(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, *, willing: bool
) -> None:
    ignored = "" if willing else "trap '' TERM;"
    argv = ["bash", "-c", f"{ignored} echo on; while :; do sleep 0.01; done"]
    monkeypatch.setattr(node_module, "END_SECONDS", 0.3)
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        members = {process.pid, os.getpid()}
        monkeypatch.setattr(cgroups, "own_processes", lambda *_: members)
        threading.Thread(target=process.wait).start()
        node = Node(machine.cluster, machine.cluster.nodes[0])
        assert node.processes("bash") == {process.pid: "bash"}

        node.stop("bash")

    assert process.returncode == -(signal.SIGTERM if willing else signal.SIGKILL)
    assert node.processes("bash") == {}


def test_a_node_that_is_not_there_is_an_error(machine: Machine) -> None:
    with pytest.raises(UnknownClusterError, match=r"no Node b, but it has a-contr"):
        machine.rolling().restart("kubelet", "b")
