"""Clusters come up, carry traffic, and go without a trace, however they end."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from pytest_k8snet import localcluster
from pytest_k8snet.localcluster import cgroups, fabric, packages, paths, state, sysctls
from pytest_k8snet.localcluster.api import Api
from pytest_k8snet.localcluster.node import nodes

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        platform.system() != "Linux" or os.geteuid() != 0 or bool(packages.missing()),
        reason="needs root on Linux, and the packages that `k8snet cluster build "
        "--install-packages` installs",
    ),
]

CLUSTERS = Path(__file__).parents[2] / "clusters"
SINGLE = CLUSTERS / "single-node.yaml"
NAME, OTHER = "test-residue", "test-second"
# Set by kubelets and containers elsewhere: the machine's own must not move.
SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/timer_migration",
    "kernel/unprivileged_bpf_disabled",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
# Someone else's clusters may come and go on this machine meanwhile: of what they share
# only this is not compared then.
SHARED_SYSCTLS = tuple(sysctls.WANTED)


@dataclass(frozen=True)
class Traces:
    """What a cluster could leave on a machine, apart from other clusters' own."""

    processes: frozenset[int]
    cgroups: frozenset[str]
    netns: tuple[str, ...]
    links: frozenset[str]
    mounts: tuple[str, ...]
    folder: bool
    rules: str
    sysctls: tuple[str, ...]
    contexts: tuple[str, ...]

    @classmethod
    def of(cls, name: str, kubeconfig: Path) -> Traces:
        shared = SHARED_SYSCTLS if set(state.names()) <= {NAME, OTHER} else ()
        text = Path("/proc/self/mounts").read_text()
        config = yaml.safe_load(kubeconfig.read_text())
        return cls(
            processes=frozenset(cgroups.processes(name)),
            cgroups=frozenset({name} & cgroups.clusters()),
            netns=tuple(fabric.namespaces(name)),
            links=frozenset(
                link.name
                for link in Path("/sys/class/net").iterdir()
                if name in (link / "ifalias").read_text()
            ),
            mounts=tuple(line for line in text.splitlines() if f"-{name}-" in line),
            folder=(paths.state_home() / name).exists(),
            rules=_output("nft", "list", "ruleset"),
            sysctls=tuple(
                (sysctls.SYS / key).read_text().strip() for key in (*SYSCTLS, *shared)
            ),
            contexts=tuple(context["name"] for context in config["contexts"]),
        )


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """A kubeconfig of the user's, with a context that is not ours."""
    file = tmp_path / "config"
    context = {"name": "theirs", "context": {"cluster": "c", "user": "u"}}
    file.write_text(
        yaml.safe_dump(
            {"apiVersion": "v1", "contexts": [context], "current-context": "theirs"}
        )
    )
    return file


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    for name in (NAME, OTHER):
        localcluster.down(name)


def _start_up(kubeconfig: Path, *more: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "pytest_k8snet.cli", "cluster", "up", str(SINGLE)]
    argv += ["--name", NAME, "--provider", "netns", "--kubeconfig", str(kubeconfig)]
    return subprocess.Popen([*argv, *more], stderr=subprocess.PIPE, text=True)


def _wait_for_stage(process: subprocess.Popen[str], stage: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if stage in line:
            return
    pytest.fail(f"`up` ended before the stage {stage!r}")


def test_a_cluster_works_and_leaves_nothing_behind(kubeconfig: Path) -> None:
    before = Traces.of(NAME, kubeconfig)

    cluster = localcluster.up(
        SINGLE, name=NAME, provider="netns", kubeconfig=kubeconfig
    )

    config = yaml.safe_load(kubeconfig.read_text())
    assert config["current-context"] == cluster.context == f"k8snet-{NAME}"
    assert [c["name"] for c in config["contexts"]] == ["theirs", cluster.context]
    assert localcluster.find(cluster.context) == cluster
    assert cluster in localcluster.clusters()
    assert localcluster.status(NAME).healthy
    record = state.load(NAME)
    assert record is not None
    nodes = Api(record.server, record.folder / "pki").items("/api/v1/nodes")
    assert [node["metadata"]["name"] for node in nodes] == list(cluster.nodes)
    assert nodes[0]["spec"]["taints"] == [
        {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
    ]

    on_node = localcluster.node_command(NAME, "control-plane", ["cat", "/etc/hostname"])
    assert _output(*on_node).strip() == cluster.nodes[0]
    outside = json.loads(_output(*cluster.outside, "ip", "-j", "addr", "show", "eth0"))
    addresses = {address["local"] for address in outside[0]["addr_info"]}
    assert set(record.addresses(state.OUTSIDE_HOST)) <= addresses

    with pytest.raises(localcluster.ClusterExistsError, match="already exist"):
        localcluster.up(SINGLE, name=NAME, provider="netns", kubeconfig=kubeconfig)
    assert localcluster.status(NAME).healthy, "the refused up must not touch it"

    assert localcluster.down(NAME)
    assert Traces.of(NAME, kubeconfig) == before
    assert not localcluster.down(NAME), "there is nothing left to remove"


@pytest.mark.parametrize("file", ["flannel.yaml", "cilium.yaml"])
def test_a_pod_network_with_links_and_programs_of_its_own_leaves_nothing(
    kubeconfig: Path, file: str
) -> None:
    before = Traces.of(NAME, kubeconfig)
    localcluster.up(CLUSTERS / file, name=NAME, provider="netns", kubeconfig=kubeconfig)

    localcluster.down(NAME)

    assert Traces.of(NAME, kubeconfig) == before


@pytest.mark.parametrize("stage", ["nodes:", "control plane", "Nodes ready"])
def test_down_after_a_killed_up_leaves_nothing(kubeconfig: Path, stage: str) -> None:
    before = Traces.of(NAME, kubeconfig)
    with _start_up(kubeconfig) as process:
        _wait_for_stage(process, stage)
        process.kill()

    assert localcluster.down(NAME)

    assert Traces.of(NAME, kubeconfig) == before


def test_up_after_a_killed_up_makes_the_cluster(kubeconfig: Path) -> None:
    with _start_up(kubeconfig) as process:
        _wait_for_stage(process, "control plane")
        process.kill()

    localcluster.up(SINGLE, name=NAME, provider="netns", kubeconfig=kubeconfig)

    assert localcluster.status(NAME).healthy


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_cleans_up_after_itself(
    kubeconfig: Path, number: signal.Signals
) -> None:
    before = Traces.of(NAME, kubeconfig)
    with _start_up(kubeconfig) as process:
        _wait_for_stage(process, "control plane")
        # Into the middle of it, not its first instruction.
        time.sleep(0.5)
        process.send_signal(number)
        assert process.stderr is not None
        said = process.stderr.read()

    assert process.returncode == 130
    assert "k8snet: error: interrupted" in said
    assert "logs of the cluster are in" in said
    assert "Traceback" not in said
    assert Traces.of(NAME, kubeconfig) == before


def test_an_up_whose_cluster_is_removed_ends_and_leaves_nothing(
    kubeconfig: Path,
) -> None:
    before = Traces.of(NAME, kubeconfig)
    with _start_up(kubeconfig) as process:
        _wait_for_stage(process, "Nodes ready")
        assert NAME in localcluster.incomplete()
        with pytest.raises(localcluster.ClusterExistsError, match="just being made"):
            localcluster.up(SINGLE, name=NAME, provider="netns", kubeconfig=kubeconfig)

        localcluster.down(NAME)

        assert process.wait(timeout=30) == 1
    assert Traces.of(NAME, kubeconfig) == before


def test_what_a_node_runs_is_restarted_and_its_pods_go_on(kubeconfig: Path) -> None:
    localcluster.up(SINGLE, name=NAME, provider="netns", kubeconfig=kubeconfig)
    record = state.load(NAME)
    assert record is not None
    api = Api(record.server, record.folder / "pki")
    (node,) = nodes(record)
    containers = _containers(api)

    for component in ("containerd", "kubelet", "kube-proxy"):
        before = set(node.processes(component))
        assert localcluster.restart(NAME, component) == [node.name]
        assert before
        assert before.isdisjoint(node.processes(component))

    assert localcluster.status(NAME).healthy
    assert _containers(api) == containers


def _containers(api: Api) -> list[str]:
    return [
        container["containerID"]
        for pod in api.items("/api/v1/pods")
        for container in pod["status"]["containerStatuses"]
    ]


def test_two_clusters_run_side_by_side(kubeconfig: Path) -> None:
    first = localcluster.up(SINGLE, name=NAME, provider="netns", kubeconfig=kubeconfig)
    second = localcluster.up(
        SINGLE, name=OTHER, provider="netns", kubeconfig=kubeconfig
    )

    assert localcluster.status(first.name).healthy
    assert localcluster.status(second.name).healthy
    records = [state.load(NAME), state.load(OTHER)]
    assert len({record.index for record in records if record}) == 2

    before = Traces.of(OTHER, kubeconfig)
    localcluster.down(first.name)
    after = Traces.of(OTHER, kubeconfig)
    assert localcluster.status(second.name).healthy
    assert after.netns == before.netns
    assert after.links == before.links
    assert after.contexts == ("theirs", second.context)
