"""Our kind provider and the suite, with the real kind on a home-made node image.

Neither kindest/node nor kindnet is here: `kind/__init__.py` says what is.
"""

from __future__ import annotations

import re
import shlex
import signal
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from faults.expected import LEFT_OUT

from kind import recipe
from kind.conftest import NAME
from pytest_k8snet.localcluster import PROBE_IMAGE
from pytest_k8snet.report.schema import Report

if TYPE_CHECKING:
    from kind.conftest import Done, Machine

pytestmark = pytest.mark.kind

WORKFLOW = Path(__file__).parents[2] / ".github/workflows/ci.yml"
PINNED = recipe.KIND.folder / "go.mod"
NODES = ["control-plane", "worker", "worker2"]


def nodes_of(machine: Machine, name: str) -> list[str]:
    """Name the Nodes of a cluster, whether they run or not."""
    label = f"label=io.x-k8s.kind.cluster={name}"
    listed = machine.docker("ps", "-a", "--filter", label, "--format", "{{.Names}}")
    return sorted(listed)


def test_up_makes_a_cluster_whose_nodes_and_dns_are_ready(
    machine: Machine, cluster: Done
) -> None:
    assert f'Cluster "{NAME}" is up after' in cluster.said
    assert nodes_of(machine, NAME) == [f"{NAME}-{node}" for node in NODES]
    config = yaml.safe_load((machine.engine.folder / "kubeconfig").read_text())
    assert config["current-context"] == f"kind-{NAME}"
    kubectl = ("kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "get")
    on_node = ("shell", "--name", NAME, "control-plane", "--", *kubectl)
    nodes = machine.k8snet(*on_node, "nodes", "--no-headers").said.splitlines()
    assert [line.split()[1] for line in nodes] == ["Ready"] * len(NODES)
    dns = ("deployment", "coredns", "-n=kube-system", "-o=jsonpath={.status}")
    assert '"readyReplicas":2' in machine.k8snet(*on_node, *dns).said


@pytest.mark.usefixtures("cluster")
def test_every_node_is_given_the_probe_image(machine: Machine) -> None:
    for node in NODES:
        argv = ("shell", "--name", NAME, node, "--", "ctr", "-n", "k8s.io", "images")
        assert PROBE_IMAGE in machine.k8snet(*argv, "ls", "-q").said, node


@pytest.mark.usefixtures("cluster")
def test_a_cluster_is_listed_and_looked_at(machine: Machine) -> None:
    listed = machine.k8snet("list")
    row = rf"^{NAME} +kind +3 +v\S+ +kind-{NAME}$"
    assert re.search(row, listed.said, re.MULTILINE)
    status = machine.k8snet("status", NAME)
    assert status.status == 0, status.said
    assert "API server  ready" in status.said
    config = yaml.safe_load(machine.k8snet("kubeconfig", NAME).said)
    assert config["contexts"][0]["name"] == f"kind-{NAME}"
    assert "kubelet" in machine.k8snet("logs", "worker", "--name", NAME).said


@pytest.mark.usefixtures("cluster")
def test_a_cluster_that_exists_is_not_made_again(machine: Machine) -> None:
    file = str(machine.cluster_file("ipv4"))

    again = machine.k8snet("up", file, "--name", NAME, "--provider", "kind")

    assert again.status == 1
    assert f'already exist for a cluster with the name "{NAME}"' in again.said
    assert len(nodes_of(machine, NAME)) == len(NODES)


@pytest.mark.usefixtures("cluster")
def test_the_suite_is_green_on_kind_with_a_home_made_node_image(
    machine: Machine,
) -> None:
    run = machine.run("pytest", f"--k8s-context=kind-{NAME}", "--k8snet-report=suite")

    assert run.status == 0, run.said
    report = read(machine.folder / "suite")
    assert report.environment.network_plugin == "unknown", "it is not kindnet"
    assert report.environment.service_proxy == "kube-proxy nftables"
    skipped = {c.rule for c in report.checks if c.result == "not-applicable"}
    assert skipped == LEFT_OUT
    machine.figures.append(f"suite: {words(report)} in {run.seconds:.1f} s")


def read(folder: Path) -> Report:
    return Report.model_validate_json((folder / "report.json").read_text())


def words(report: Report) -> str:
    counted = Counter(str(check.result) for check in report.checks)
    return ", ".join(f"{count} {word}" for word, count in counted.most_common())


def test_what_the_workflow_does_with_kind_is_green_and_leaves_no_cluster(
    machine: Machine,
) -> None:
    """With the last cluster of its matrix, which has IPv4 only."""
    job = yaml.safe_load(WORKFLOW.read_text())["jobs"]["kind"]
    (action,) = (s["with"] for s in job["steps"] if "kind-action" in s.get("uses", ""))
    assert f"sigs.k8s.io/kind {action['version']}\n" in PINNED.read_text()
    *_, name = job["strategy"]["matrix"]["cluster"]
    (line,) = (s["run"] for s in job["steps"] if "--k8snet-cluster" in s.get("run", ""))
    _, _, said = line.partition(" pytest ")
    placed = said.replace("${{ matrix.cluster }}", name)
    (machine.folder / "clusters").mkdir()
    machine.cluster_file(name).rename(machine.folder / "clusters" / f"{name}.yaml")

    run = machine.run("pytest", *shlex.split(placed))

    assert run.status == 0, run.said
    report = read(machine.folder / "out")
    machine.figures.append(f"workflow, {name}: {words(report)} in {run.seconds:.1f} s")
    assert (machine.folder / "out" / "junit.xml").exists()
    assert nodes_of(machine, name) == []


def test_what_kind_says_of_a_failure_is_shown_and_nothing_is_left(
    machine: Machine,
) -> None:
    file = machine.cluster_file("single-node")
    first, *rest = yaml.safe_load_all(file.read_text())
    first["kubeadmConfigPatches"] = ["kind: ClusterConfiguration\nnetworking: [no map]"]
    file.write_text(yaml.safe_dump_all([first, *rest]))

    failed = machine.k8snet("up", str(file), "--name", "failed", "--provider", "kind")

    assert failed.status == 1
    assert "kind create cluster exited 1" in failed.said
    assert "ERROR: failed to create cluster" in failed.said
    assert nodes_of(machine, "failed") == []


def test_an_interrupted_up_leaves_nothing(machine: Machine) -> None:
    file = str(machine.cluster_file("single-node"))
    words = ("pytest_k8snet.cli", "cluster", "up", file)
    with machine.start(*words, "--name", "cut", "--provider", "kind") as process:
        deadline = time.monotonic() + 60
        while not nodes_of(machine, "cut") and time.monotonic() < deadline:
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)

    assert process.returncode == 130, said
    assert "k8snet: error: interrupted" in said
    assert nodes_of(machine, "cut") == []


@pytest.mark.usefixtures("cluster")
def test_down_removes_the_cluster_and_its_context(machine: Machine) -> None:
    down = machine.k8snet("down", NAME)

    assert down.status == 0, down.said
    assert f'Cluster "{NAME}" is removed.' in down.said
    assert machine.docker("ps", "-aq") == []
    config = yaml.safe_load((machine.engine.folder / "kubeconfig").read_text())
    assert not config.get("contexts")
    machine.figures.append(f"down: {down.seconds:.1f} s")
