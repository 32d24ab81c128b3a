"""What a user gets wrong, or what the cluster does, ends in time and in one message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from access import kubeconfig_for

from pytest_k8snet.faults.site import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from shipped_suite import Suite, SuiteRun

    from pytest_k8snet.faults.site import Site

    OtherCluster = Callable[[str], AbstractContextManager[Suite]]

pytestmark = pytest.mark.cluster

USAGE = pytest.ExitCode.USAGE_ERROR
NODE = "worker2"


def messages(run: SuiteRun) -> list[str]:
    """Give the lines by which pytest says that it was used in a wrong way."""
    assert "Traceback" not in run.output, run.output
    assert "INTERNALERROR" not in run.output, run.output
    return [line for line in run.output.splitlines() if line.startswith("ERROR: ")]


def test_a_context_that_is_not_there(suite: Suite) -> None:
    run = suite.run("--k8s-context=nowhere")

    assert run.exit_code == USAGE
    (message,) = messages(run)
    assert "'nowhere' is not in" in message
    assert suite.site.cluster.context in message


@pytest.mark.parametrize(
    ("host", "why"), [("250", "no such host"), ("11:1", "no such port")]
)
def test_a_server_that_does_not_answer(
    suite: Suite, tmp_path: Path, host: str, why: str
) -> None:
    del why
    config = yaml.safe_load(suite.site.cluster.kubeconfig.read_text())
    network = suite.site.addresses("control-plane")[0].rpartition(".")[0]
    address = host if ":" in host else f"{host}:6443"
    config["clusters"][0]["cluster"]["server"] = f"https://{network}.{address}"
    file = tmp_path / "unreachable"
    file.write_text(yaml.safe_dump(config))

    run = suite.run(f"--k8snet-kubeconfig={file}", "--k8snet-timeout-api=5")

    assert run.exit_code == USAGE
    (message,) = messages(run)
    assert f"cannot reach the API server at https://{network}.{address}" in message
    assert run.seconds < 30


def test_a_user_who_may_do_nothing(suite: Suite, tmp_path: Path) -> None:
    with kubeconfig_for(suite.site, [], tmp_path) as file:
        run = suite.run(f"--k8snet-kubeconfig={file}")

    assert run.exit_code == USAGE
    (message,) = messages(run)
    assert "not allowed to list nodes" in message


def test_a_user_who_may_look_but_not_make_anything(
    suite: Suite, tmp_path: Path
) -> None:
    look: dict[str, Any] = {
        "apiGroups": ["*"],
        "resources": ["*"],
        "verbs": ["get", "list", "watch"],
    }
    with kubeconfig_for(suite.site, [look], tmp_path) as file:
        run = suite.run(f"--k8snet-kubeconfig={file}", "-m", "rule1")

    assert run.exit_code == pytest.ExitCode.TESTS_FAILED
    messages(run)
    assert "not allowed to create namespaces cluster-wide" in run.output
    assert set(run.words.values()) == {"inconclusive"}


def test_an_image_that_is_not_there(suite: Suite) -> None:
    run = suite.run("--k8snet-image=k8snet.local/absent:1", "-m", "rule1")

    assert run.exit_code == pytest.ExitCode.TESTS_FAILED
    messages(run)
    assert "k8snet.local/absent:1" in run.output
    assert "--k8snet-image" in run.output
    assert set(run.words.values()) == {"inconclusive"}
    # Known at the first refused pull, long before Pods may be called late.
    assert run.seconds < 60


def test_a_selector_that_no_node_has(suite: Suite) -> None:
    run = suite.run("--k8snet-nodes=color=blue")

    assert run.exit_code == USAGE
    (message,) = messages(run)
    assert "no Node of" in message
    assert "'color=blue'" in message
    assert "--k8snet-nodes" in message


def test_taints_that_are_not_tolerated_leave_nodes_out(suite: Suite) -> None:
    run = suite.run("--k8snet-tolerations=none", "-m", "control")

    assert run.green, run.output
    assert "left out: " + suite.site.full("control-plane") in run.output
    assert run.report
    assert [n.name for n in run.report.environment.nodes] == [
        suite.site.full("worker"),
        suite.site.full("worker2"),
    ]


def test_a_node_that_is_not_ready_is_named_and_fails_its_rule(suite: Suite) -> None:
    site, name = suite.site, suite.site.full(NODE)
    try:
        with site.stopped(NODE, "kubelet"):
            set_not_ready(site, NODE)
            run = suite.run("-m", "rule2 or control")
    finally:
        wait_until(lambda: is_ready(site, NODE), f"{NODE} is ready again", 60)

    assert f"left out: {name}: NotReady (KubeletStopped)" in run.output
    assert run.report
    assert {i for i, word in run.words.items() if word == "fail"} == {"NODE-READY"}
    (left,) = run.report.environment.left_out
    assert (left.name, left.problem) == (name, "NotReady (KubeletStopped)")


def set_not_ready(site: Site, node: str) -> None:
    """Say what the node controller says when a kubelet was silent for its 50 s."""
    condition = {"type": "Ready", "status": "Unknown", "reason": "KubeletStopped"}
    path = f"/api/v1/nodes/{site.full(node)}"
    conditions = site.api.get(path)["status"]["conditions"]
    others = [c for c in conditions if c["type"] != "Ready"]
    site.api.patch(f"{path}/status", {"status": {"conditions": [*others, condition]}})


def is_ready(site: Site, node: str) -> bool:
    found = site.api.get(f"/api/v1/nodes/{site.full(node)}")
    ready = any(
        c["type"] == "Ready" and c["status"] == "True"
        for c in found["status"]["conditions"]
    )
    return ready and not found["spec"].get("taints")


def test_an_api_server_that_goes_away_in_the_middle(
    other_cluster: OtherCluster,
) -> None:
    """First it hangs, and answers again; then it dies for good."""
    options = ("--k8snet-timeout-api=5", "--k8snet-timeout-ready=20")
    with other_cluster("single-node.yaml") as suite:
        site, server = suite.site, "kube-apiserver"

        hanging = suite.start(*options)
        hanging.wait_for("namespaces, ")
        with site.stopped("control-plane", server):
            run = hanging.finish(150)
        assert_ended_well(run)
        cleaned = suite.run("--k8snet-cleanup")
        assert cleaned.exit_code == 0, cleaned.output

        dying = suite.start(*options)
        dying.wait_for("namespaces, ")
        site.kill("control-plane", server)
        run = dying.finish(150)
        assert_ended_well(run)


def assert_ended_well(run: SuiteRun) -> None:
    assert run.exit_code == pytest.ExitCode.TESTS_FAILED, run.output
    messages(run)
    assert run.count("fail") == 0, run.output
    assert set(run.words.values()) == {"inconclusive", "not-applicable"}
    # What is left in the cluster is said, with how to remove it.
    assert "could not remove the namespaces of run" in run.output
    assert "cannot reach the API server at" in run.output
    assert "--k8snet-cleanup" in run.output
    assert run.seconds < 100
