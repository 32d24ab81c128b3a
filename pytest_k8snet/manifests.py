"""What all objects of a lab share, and the namespaces they are in. Pure."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_k8snet.model import OUTSIDE, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

MANAGED_BY = "app.kubernetes.io/managed-by"
US = "pytest-k8snet"
RUN = "k8snet.io/run"
EXPIRES = "k8snet.io/expires"
LABEL = "k8snet.io/"
"""What the rules call ``rank`` or ``growing`` is ``k8snet.io/rank`` on the Pods."""

NAMESPACE_OF = {
    Role.CLIENT: "client",
    Role.SPARE: "client",
    Role.SERVER: "server",
    Role.UNREADY: "server",
    Role.HOST: "host",
    Role.EDGE: "host",
    Role.GUARDED: "policy",
    Role.NEIGHBOUR: "policy",
    Role.NEWCOMER: "policy",
    Role.CONFINED: "confined",
}
NAMESPACES = tuple(dict.fromkeys(NAMESPACE_OF.values()))

INSPECT = "inspect"
PRIVILEGED = frozenset({"host", INSPECT})
"""The namespaces whose Pods the level *restricted* would refuse."""

STATE = "/k8snet-state"
MODULE = "agent"
PYTHON = ("python3", "-ESs", "-m")
"""Without what the image, or its environment, adds: the agent starts sooner."""

COMMAND = (*PYTHON, MODULE)
BY_HAND = f"python3 -m {MODULE}"
OUR_PYTHON = (sys.executable, "-I", "-m")
OUR_MODULE = f"pytest_k8snet.{MODULE}"
"""The agent on this machine, where it is installed."""

CONTROL = (*COMMAND, "control", "--state", STATE)
"""Begins the command of an agent's control stream."""

CA = "/k8snet-ca/ca.crt"
"""What the API server's certificate is checked with, in Pods that ask it."""
FEW = 3
"""How many servers stand behind the Services that must use all of their backends."""

# Fixed in a network namespace of its own; on the Node's, the kernel chooses.
PORTS = {"main/tcp": 8080, "main/udp": 8080}
SIBLING_PORTS = {"main/tcp": 8081, "main/udp": 8081}
SERVER_PORTS = {"other/udp": 8084, "second/tcp": 8086, "main/sctp": 8080}
# One for each way in which a policy may allow it, and for each near miss.
GUARDED_PORTS = {
    "first": 8101,
    "second": 8102,
    "pod": 8103,
    "space": 8104,
    "pair": 8105,
    "list": 8106,
    "match": 8107,
    "union": 8108,
    "before": 8110,
    "from": 8111,
    "to": 8113,
    "after": 8114,
    "over-tcp": 8115,
    "over-udp": 8116,
    "block": 8117,
    "elsewhere": 8118,
    "except": 8119,
    "except-else": 8120,
    "joining": 8121,
    "leaving": 8122,
    "space-join": 8123,
    "space-leave": 8124,
    "update": 8125,
}
UDP_TOO = frozenset({"first", "second", "over-tcp", "over-udp"})
NAMED_PORTS = (8130, 8131)
LOOPBACK_PORT = 8088
ANY_PORT = {"main/tcp": 0, "main/udp": 0}


@dataclass(frozen=True)
class LabSpec:
    """What the objects of one run have in common.

    Attributes:
        run: the run's id, in every name and label.
        prefix: what the namespaces' names begin with.
        image: a Python image, >= 3.9.
        agent: the agent's modules: their sources by the names of their files.
        expires: seconds since the epoch after which anybody may sweep.
        tolerations: of every Pod.
        host_port: the hostPort of the run.

    """

    run: str
    prefix: str
    image: str
    agent: Mapping[str, str]
    expires: int
    tolerations: tuple[dict[str, Any], ...] = ({"operator": "Exists"},)
    host_port: int = 0

    def namespace(self, key: str) -> str:
        """Name one of the run's namespaces."""
        return f"{self.prefix}-{self.run}-{key}"


def labels(spec: LabSpec) -> dict[str, str]:
    """Give the labels by which everything of a run is found and removed."""
    return {MANAGED_BY: US, RUN: spec.run}


def namespace(spec: LabSpec, key: str) -> dict[str, Any]:
    """Make a namespace at the Pod Security level that its Pods meet."""
    level = "privileged" if key in PRIVILEGED else "restricted"
    own = labels(spec) | {LABEL + "key": key}
    own |= {LABEL + "leaving": "yes"} if key == NAMESPACE_OF[Role.CLIENT] else {}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": spec.namespace(key),
            "labels": own
            | {
                f"pod-security.kubernetes.io/{mode}": level
                for mode in ("enforce", "audit", "warn")
            },
            "annotations": {EXPIRES: str(spec.expires)},
        },
    }


def agent_config_map(spec: LabSpec) -> dict[str, Any]:
    """Make the ConfigMap that carries the agent."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "k8snet-agent", "labels": labels(spec)},
        "data": dict(spec.agent),
    }


def service_account(spec: LabSpec) -> dict[str, Any]:
    """Make the default ServiceAccount, without waiting for the controller to."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "labels": labels(spec)},
    }


def ports_of(role: Role, rank: int, container: str = "main") -> dict[str, int]:
    """Give the ports that a container listens on, by name and protocol."""
    if role is Role.HOST:
        return ANY_PORT
    if container != "main":
        return SIBLING_PORTS if container == "sibling" else {}
    if role is Role.SERVER:
        # The named port differs from server to server, as rules require.
        alt = 8082 + rank % 2
        return PORTS | SERVER_PORTS | {"alt/tcp": alt, "alt/udp": alt}
    if role is Role.GUARDED:
        named, unnamed = NAMED_PORTS[rank % 2], NAMED_PORTS[1 - rank % 2]
        given = GUARDED_PORTS | {"named": named, "unnamed": unnamed}
        by_tcp = {f"{name}/tcp": number for name, number in given.items()}
        return PORTS | by_tcp | {f"{n}/udp": given[n] for n in sorted(UDP_TOO)}
    return PORTS


def ranges(words: tuple[str, ...], outside: tuple[str, ...]) -> list[str]:
    """Give ranges of addresses, with those of the outside where OUTSIDE stands."""
    own = [f"{a}/128" if ":" in a else f"{a}/32" for a in outside]
    return [cidr for word in words for cidr in (own if word == OUTSIDE else [word])]
