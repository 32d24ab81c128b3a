"""Pods are given when they are ready, or with why they are not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from fake_api import FakeApi, served

from pytest_k8snet.cluster import apply
from pytest_k8snet.cluster.api import Api
from pytest_k8snet.manifests import RUN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PROBE_FAILS = "containers with unready status: [main]"


def pod(
    name: str, *, running: bool, ready: bool, lacks: dict[str, str] | None = None
) -> dict[str, Any]:
    state: dict[str, Any] = {"running": {}} if running else {"waiting": {"reason": "x"}}
    condition = {"type": "Ready", "status": str(ready), "message": PROBE_FAILS}
    return {
        "metadata": {"name": name, "namespace": "n", "labels": {RUN: "r"}},
        "status": {
            "conditions": [condition, *([lacks] if lacks else [])],
            "containerStatuses": [{"name": "main", "state": state}],
        },
    }


@pytest.fixture
def fake() -> Iterator[FakeApi]:
    with served() as found:
        yield found


def settle(
    fake: FakeApi,
    folder: Path,
    *pods: dict[str, Any],
    timeout: float,
    doubted: Sequence[str] = (),
    unheard: Sequence[str] = (),
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
            api,
            "r",
            wanted,
            apply.is_ready,
            apply.Patience(
                timeout,
                doubted=[("n", name) for name in doubted],
                unheard=lambda key: key[1] in unheard,
            ),
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


NO_NETWORK = {"type": "PodReadyToStartContainers", "status": "False"}
NO_PLACE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon; after DOUBTED much sooner than after UNREADY."""
    monkeypatch.setattr(apply, "GLANCE", 0.2)
    monkeypatch.setattr(apply, "DOUBTED", 0.1)
    monkeypatch.setattr(apply, "UNREADY", 1.5)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("lacks", [NO_NETWORK, NO_PLACE], ids=["network", "place"])
def test_what_lacks_what_others_have_had_is_given_up(
    fake: FakeApi, tmp_path: Path, lacks: dict[str, str]
) -> None:
    good = pod("good", running=True, ready=True)
    stuck = pod("stuck", running=False, ready=False, lacks=lacks)

    found, took = settle(fake, tmp_path, good, stuck, timeout=30)

    assert found["good"] == (True, "")
    assert not found["stuck"][0]
    assert took < 20


@pytest.mark.parametrize("refused", [True, False])
def test_a_network_that_was_refused_is_waited_for_less_long_than_a_slow_one(
    fake: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    for name, seconds in {"GLANCE": 0.2, "SOON": 0.5, "UNREADY": 8.0}.items():
        monkeypatch.setattr(apply, name, seconds)
    if refused:
        event = {"metadata": {"name": "e"}, "message": "no IP addresses available"}
        fake.objects["/api/v1/namespaces/n/events/e"] = event
    good = pod("good", running=True, ready=True)
    stuck = pod("stuck", running=False, ready=False, lacks=NO_NETWORK)

    found, took = settle(fake, tmp_path, good, stuck, timeout=30)

    assert not found["stuck"][0]
    assert (took < 6) is refused


@pytest.mark.usefixtures("hasty")
def test_where_no_pod_has_a_network_yet_all_may_still_come(
    fake: FakeApi, tmp_path: Path
) -> None:
    stuck = pod("stuck", running=False, ready=False, lacks=NO_NETWORK)

    _, took = settle(fake, tmp_path, stuck, timeout=3)
    _, doubted = settle(fake, tmp_path, stuck, timeout=30, doubted=["stuck"])

    assert took > 2.9
    assert doubted < 20


@pytest.mark.parametrize("running", [True, False])
def test_where_nobody_is_heard_what_runs_need_not_be_ready(
    fake: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: bool
) -> None:
    monkeypatch.setattr(apply, "GLANCE", 0.2)
    monkeypatch.setattr(apply, "DOUBTED", 0.1)
    good = pod("good", running=True, ready=True)
    silent = pod("silent", running=running, ready=False)

    found, took = settle(fake, tmp_path, good, silent, timeout=4, unheard=["silent"])

    assert found["silent"][0] is running
    assert (took < 3.9) is running


@pytest.mark.usefixtures("hasty")
def test_an_image_that_is_being_pulled_has_all_of_the_time(
    fake: FakeApi, tmp_path: Path
) -> None:
    good = pod("good", running=True, ready=True)
    pulling = pod("pulling", running=False, ready=False)

    _, took = settle(fake, tmp_path, good, pulling, timeout=3, doubted=["pulling"])

    assert took > 2.9


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
