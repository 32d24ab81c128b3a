"""Pods are given when they are ready, or with why they are not."""

from __future__ import annotations

import time
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from fake_api import FakeApi, Server

from pytest_k8snet.cluster import apply
from pytest_k8snet.cluster.api import Api
from pytest_k8snet.manifests import RUN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROBE_FAILS = "containers with unready status: [main]"


def pod(name: str, *, running: bool, ready: bool) -> dict[str, Any]:
    state: dict[str, Any] = {"running": {}} if running else {"waiting": {"reason": "x"}}
    condition = {"type": "Ready", "status": str(ready), "message": PROBE_FAILS}
    return {
        "metadata": {"name": name, "namespace": "n", "labels": {RUN: "r"}},
        "status": {
            "conditions": [condition],
            "containerStatuses": [{"name": "main", "state": state}],
        },
    }


@pytest.fixture
def fake() -> Iterator[FakeApi]:
    made = FakeApi()
    with Server(made) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.close()
        server.shutdown()


def settle(
    fake: FakeApi, folder: Path, *pods: dict[str, Any], timeout: float
) -> tuple[dict[str, tuple[bool, str]], float]:
    """Give (whether the Pod was given, problem) by name, and how long it took."""
    names = [one["metadata"]["name"] for one in pods]
    for name, one in zip(names, pods, strict=True):
        fake.objects[f"/api/v1/namespaces/n/pods/{name}"] = one
    api = Api.connect("fake", str(fake.kubeconfig(folder)))
    wanted = [("n", name) for name in names]
    started = time.monotonic()
    found = {
        name: (given is not None, problem)
        for given, (_, name), problem in apply.pods_as_they_settle(
            api, "r", wanted, apply.is_ready, timeout
        )
    }
    api.close()
    return found, time.monotonic() - started


def test_pods_that_run_are_not_waited_for_as_long_as_those_that_may_come(
    fake: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply, "UNREADY", 1.0)
    good = pod("good", running=True, ready=True)
    unready = pod("unready", running=True, ready=False)

    found, took = settle(fake, tmp_path, good, unready, timeout=30)

    assert found["good"] == (True, "")
    given, problem = found["unready"]
    assert given
    assert PROBE_FAILS in problem
    assert took < 20


def test_a_pod_that_does_not_run_is_waited_for_and_not_given(
    fake: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply, "UNREADY", 0.1)
    unready = pod("unready", running=True, ready=False)
    pending = pod("pending", running=False, ready=False)

    found, took = settle(fake, tmp_path, unready, pending, timeout=1)

    assert found["unready"][0]
    assert not found["pending"][0]
    assert took > 0.9
