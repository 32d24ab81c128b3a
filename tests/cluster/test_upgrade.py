"""A cluster is upgraded while it runs. Only run by -m upgrade.

It needs the kubelet and kube-proxy of the previous minor version, which are built for
nothing else.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_k8snet import localcluster
from pytest_k8snet.localcluster.component import KUBERNETES_VERSION, PREVIOUS_VERSION
from pytest_k8snet.report.compare import Change, compare

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from shipped_suite import Suite

pytestmark = [pytest.mark.cluster, pytest.mark.upgrade]


def test_a_cluster_is_upgraded_node_by_node_and_keeps_its_promises(
    other_cluster: Callable[[str], AbstractContextManager[Suite]],
) -> None:
    with other_cluster("upgrade.yaml") as suite:
        cluster = suite.site.cluster
        assert localcluster.versions(cluster) == [PREVIOUS_VERSION]
        before = suite.run()

        interrupted = interrupted_upgrade(cluster.name, cluster.nodes[1])
        assert interrupted.returncode == 130
        assert "finished by `k8snet cluster upgrade" in interrupted.stderr
        assert len(localcluster.versions(cluster)) == 2

        version, changed = localcluster.upgrade(cluster.name)
        assert (version, changed) == (KUBERNETES_VERSION, list(cluster.nodes[1:]))
        assert localcluster.status(cluster.name).healthy
        assert localcluster.versions(cluster) == [KUBERNETES_VERSION]
        assert localcluster.upgrade(cluster.name) == (KUBERNETES_VERSION, [])
        after = suite.run()

    assert before.green, before.output
    assert after.green, after.output
    assert before.recording
    assert after.recording
    made = compare(before.recording, after.recording)
    assert made.environment == (
        f"kubelets: {PREVIOUS_VERSION} x 3 -> {KUBERNETES_VERSION} x 3",
    )
    assert not made.of(Change.REGRESSED)


def interrupted_upgrade(name: str, node: str) -> subprocess.CompletedProcess[str]:
    """Upgrade a cluster, but press Ctrl-C when it is a Node's turn."""
    argv = [sys.executable, "-m", "pytest_k8snet.cli", "cluster", "upgrade", name]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if node in line:
                process.send_signal(signal.SIGINT)
                break
        said = process.stderr.read()
    return subprocess.CompletedProcess(argv, process.returncode, "", said)
