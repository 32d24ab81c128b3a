"""Users of the cluster who may do exactly what they are given."""

from __future__ import annotations

import itertools
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pytest_k8snet.faults.site import Site

NAME = "k8snet-tester"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
GROUP = "rbac.authorization.k8s.io"
ROLE_LINE = re.compile(r"apiVersion:|kind:|metadata:|rules:|[ -]")


@contextmanager
def kubeconfig_for(
    site: Site, rules: Sequence[dict[str, Any]], folder: Path
) -> Iterator[Path]:
    """Make a user who may do what the rules of a ClusterRole allow, and no more."""
    metadata = {"name": NAME}
    made: list[tuple[str, dict[str, Any]]] = [
        (ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount"}),
        (
            f"{RBAC}/clusterroles",
            {"apiVersion": f"{GROUP}/v1", "kind": "ClusterRole", "rules": list(rules)},
        ),
        (
            f"{RBAC}/clusterrolebindings",
            {
                "apiVersion": f"{GROUP}/v1",
                "kind": "ClusterRoleBinding",
                "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": NAME},
                "subjects": [
                    {"kind": "ServiceAccount", "name": NAME, "namespace": "default"}
                ],
            },
        ),
    ]
    try:
        for path, body in made:
            site.api.create(path, {**body, "metadata": metadata})
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
        token = site.api.create(f"{ACCOUNTS}/{NAME}/token", {**request, "spec": {}})
        config = yaml.safe_load(site.cluster.kubeconfig.read_text())
        for user in config["users"]:
            user["user"] = {"token": token["status"]["token"]}
        file = folder / "limited"
        file.write_text(yaml.safe_dump(config))
        yield file
    finally:
        for path, _ in made:
            site.api.delete(f"{path}/{NAME}")


def rules_in(output: str) -> list[dict[str, Any]]:
    """Read the rules of the ClusterRole that a plan prints."""
    text = output.partition("permissions (")[2].partition("\n")[2]
    lines = itertools.takewhile(ROLE_LINE.match, text.splitlines())
    role = yaml.safe_load("\n".join(lines))
    assert role["kind"] == "ClusterRole"
    rules: list[dict[str, Any]] = role["rules"]
    return rules
