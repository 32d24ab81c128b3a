"""However a run ends, the cluster is clean: at once, or by the next run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_k8snet.faults.site import wait_until
from pytest_k8snet.manifests import EXPIRES

if TYPE_CHECKING:
    from shipped_suite import StartedRun, Suite

pytestmark = pytest.mark.cluster

SECONDS = 20.0
"""Until the namespaces are gone: Pods end at once, but two cores do it all."""

WAYS = pytest.mark.parametrize("way", ["Ctrl-C", "SIGTERM"])


def end(run: StartedRun, way: str) -> None:
    if way == "Ctrl-C":
        run.interrupt()
    else:
        run.terminate()


@WAYS
@pytest.mark.parametrize(
    "moment", ["namespaces, ", " agents  "], ids=["while-pods-start", "while-asking"]
)
def test_an_interrupted_run_cleans_up(suite: Suite, way: str, moment: str) -> None:
    started = suite.start()
    started.wait_for(moment)
    assert suite.site.namespaces()
    end(started, way)
    run = started.finish(60)

    assert run.exit_code == pytest.ExitCode.INTERRUPTED, run.output
    assert "Traceback" not in run.output
    assert "INTERNALERROR" not in run.output
    suite.site.wait_until_clean(SECONDS)
    assert started.group == []


@WAYS
def test_an_interrupted_run_with_workers_cleans_up(suite: Suite, way: str) -> None:
    started = suite.start("-n", "2")
    started.wait_for("namespaces, ")
    end(started, way)
    run = started.finish(60)

    assert run.exit_code == pytest.ExitCode.INTERRUPTED, run.output
    assert "INTERNALERROR" not in run.output
    suite.site.wait_until_clean(SECONDS)
    wait_until(lambda: not started.group, "the workers end", 10)


def test_what_a_killed_run_left_is_removed_by_cleanup(suite: Suite) -> None:
    started = suite.start()
    started.wait_for(" agents  ")
    started.kill()
    left = suite.site.namespaces()

    cleaned = suite.run("--k8snet-cleanup")

    assert len(left) == 3
    assert cleaned.exit_code == 0, cleaned.output
    assert suite.site.namespaces() == []


def test_what_a_killed_run_left_is_swept_by_a_later_run(suite: Suite) -> None:
    started = suite.start("-m", "rule1")
    started.wait_for("namespaces, ")
    started.kill()
    left = suite.site.namespaces()

    before = suite.run("-m", "control")
    assert before.green, before.output
    assert set(left) <= set(suite.site.namespaces()), "they may be somebody's still"
    for name in left:
        path = f"/api/v1/namespaces/{name}"
        suite.site.api.patch(path, {"metadata": {"annotations": {EXPIRES: "1"}}})
    after = suite.run("-m", "control")

    assert after.green, after.output
    assert all(name in after.output for name in left)
    wait_until(lambda: not set(left) & set(suite.site.namespaces()), "they go", SECONDS)
