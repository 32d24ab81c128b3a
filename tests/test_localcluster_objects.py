"""Objects are applied where the API has them, and called finished when they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_k8snet.localcluster import objects

DAEMONS = "/apis/apps/v1/namespaces/net/daemonsets/agent"
RESOURCES = {
    "/api/v1": [("Namespace", "namespaces", False), ("ConfigMap", "configmaps", True)],
    "/apis/apps/v1": [
        ("DaemonSet", "daemonsets", True),
        ("DaemonSet", "daemonsets/status", True),
        ("Deployment", "deployments", True),
    ],
    "/apis/apiextensions.k8s.io/v1": [
        ("CustomResourceDefinition", "customresourcedefinitions", False)
    ],
}


class Server:
    """An API server of dictionaries, as `objects.Objects` wants it."""

    def __init__(self, **found: Any) -> None:
        self.found: dict[str, Any] = found
        self.applied: list[str] = []

    def get(self, path: str) -> dict[str, Any]:
        if path in RESOURCES:
            return {
                "resources": [
                    {"kind": kind, "name": name, "namespaced": namespaced}
                    for kind, name, namespaced in RESOURCES[path]
                ]
            }
        found: dict[str, Any] = self.found[path]
        return found

    def apply(self, path: str, item: dict[str, Any]) -> None:
        assert item["metadata"]["name"] in path
        self.applied.append(path)


def item(kind: str, name: str, version: str = "v1", **rest: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "apiVersion": version,
        "metadata": {"name": name, "namespace": "net"},
        **rest,
    }


def test_what_others_need_is_applied_first_and_each_where_the_api_has_it() -> None:
    server = Server()
    objects.apply_all(
        server,
        [
            item("DaemonSet", "agent", "apps/v1"),
            item("ConfigMap", "settings"),
            item("Namespace", "net"),
        ],
    )

    assert server.applied == [
        "/api/v1/namespaces/net",
        DAEMONS,
        "/api/v1/namespaces/net/configmaps/settings",
    ]


def daemon_set(**status: int) -> dict[str, Any]:
    return {"metadata": {"generation": 2}, "status": status}


@pytest.mark.parametrize(
    ("kind", "version", "found", "state"),
    [
        ("DaemonSet", "apps/v1", daemon_set(), "0 of 0"),
        (
            "DaemonSet",
            "apps/v1",
            daemon_set(desiredNumberScheduled=3, numberReady=2, observedGeneration=2),
            "2 of 3",
        ),
        (
            "DaemonSet",
            "apps/v1",
            # Of the generation before, all were ready.
            daemon_set(desiredNumberScheduled=3, numberReady=3, observedGeneration=1),
            "3 of 3",
        ),
        (
            "DaemonSet",
            "apps/v1",
            daemon_set(desiredNumberScheduled=3, numberReady=3, observedGeneration=2),
            "",
        ),
        ("Deployment", "apps/v1", {"spec": {"replicas": 2}}, "0 of 2"),
        (
            "Deployment",
            "apps/v1",
            {"spec": {"replicas": 1}, "status": {"readyReplicas": 1}},
            "",
        ),
        ("CustomResourceDefinition", "apiextensions.k8s.io/v1", {}, "not established"),
        (
            "CustomResourceDefinition",
            "apiextensions.k8s.io/v1",
            {"status": {"conditions": [{"type": "Established", "status": "True"}]}},
            "",
        ),
    ],
)
def test_what_is_not_in_force_is_named_with_how_far_it_is(
    kind: str, version: str, found: dict[str, Any], state: str
) -> None:
    applied = item(kind, "agent", version)
    server = Server()
    server.found[objects.Paths(server).of(applied)] = found

    left = objects.unfinished(server, [applied, item("ConfigMap", "settings")])

    assert left == ([f"{kind} agent: {state}"] if state else [])


PROBE = {"httpGet": {"port": 80}, "initialDelaySeconds": 10, "periodSeconds": 30}
AGENT = {
    "name": "agent",
    "readinessProbe": PROBE,
    "livenessProbe": PROBE,
    "securityContext": {"capabilities": {"add": ["NET_ADMIN", "SYS_RESOURCE"]}},
}
SETUP = {
    "name": "setup",
    "securityContext": {"capabilities": {"add": ["SYS_RESOURCE"], "drop": ["ALL"]}},
}


def workload() -> dict[str, Any]:
    spec = {"initContainers": [SETUP], "containers": [AGENT, {"name": "plain"}]}
    made = item("DaemonSet", "agent", "apps/v1", spec={"template": {"spec": spec}})
    fresh: dict[str, Any] = json.loads(json.dumps(made))
    return fresh


def test_readiness_is_asked_for_each_second_with_the_patience_of_before() -> None:
    items = [workload(), item("ConfigMap", "settings")]

    objects.ask_often(items)

    (_, agent, _) = objects.containers(items)
    assert agent["readinessProbe"] == {
        "httpGet": {"port": 80},
        "initialDelaySeconds": 0,
        "periodSeconds": 1,
        "failureThreshold": 90,
    }
    assert agent["livenessProbe"] == PROBE


def test_a_capability_that_root_lacks_is_not_asked_for() -> None:
    items = [workload()]

    objects.drop_capability(items, "SYS_RESOURCE")

    found = [c.get("securityContext") for c in objects.containers(items)]
    assert found == [
        {"capabilities": {"add": [], "drop": ["ALL"]}},
        {"capabilities": {"add": ["NET_ADMIN"]}},
        None,
    ]


def test_what_a_pod_waits_for_is_told_in_its_own_words() -> None:
    waiting = {"reason": "ErrImagePull", "message": "no such image"}
    ended = {"reason": "Error", "exitCode": 1}
    pod = {
        "metadata": {"name": "agent-x"},
        "status": {
            "initContainerStatuses": [
                {"name": "done", "state": {"terminated": {"exitCode": 0}}},
                {"name": "setup", "state": {"terminated": ended}},
            ],
            "containerStatuses": [
                {"name": "agent", "state": {"waiting": waiting}},
                {"name": "well", "state": {"running": {}}},
            ],
        },
    }

    told = objects.trouble(pod)

    assert told == "Pod agent-x: setup: Error; agent: ErrImagePull no such image"
    assert objects.trouble({"metadata": {"name": "new"}}) == ""


def test_a_manifest_may_have_empty_documents() -> None:
    assert objects.load("---\n---\na: 1\n---\n# nothing\n") == [{"a": 1}]
