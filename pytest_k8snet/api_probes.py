"""What the API server itself is asked, as the source of a probe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_k8snet import wire
from pytest_k8snet.cluster.errors import ClusterError, Unreachable
from pytest_k8snet.model import LEADS_IN, TIMEOUTS, Op, Role
from pytest_k8snet.status import STATUS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_k8snet.cluster.api import Api
    from pytest_k8snet.model import Probe, Scene

STREAM = 10.0
"""Seconds for a kubelet to run a command, to forward a port or to hand out logs, which
takes it a fraction of one; a lost packet of the connection to it is repeated after 1, 3
and 7."""

ECHO = ["python3", "-c", "import sys; print('k8snet'); sys.exit(3)"]


class Silent(ClusterError):  # noqa: N818
    """The API server got no answer from a Node in time."""


def _server_there(probe: Probe, scene: Scene) -> tuple[str, str]:
    pod = scene.pod(Role.SERVER, probe.source.node)
    if pod is None:
        raise wire.Unresolved(f"server@{probe.source.node} does not run")
    return pod.namespace, pod.name


def _exec(api: Api, probe: Probe, scene: Scene) -> list[str]:
    namespace, name = _server_there(probe, scene)
    ran = api.exec(namespace, name, "main", ECHO, timeout=STREAM)
    return [ran.stdout.decode(errors="replace").strip(), f"exit {ran.exit_code}"]


def _logs(api: Api, probe: Probe, scene: Scene) -> list[str]:
    namespace, name = _server_there(probe, scene)
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/log"
    text = _text(api, path, name, STREAM, container="main")
    return ["serving" if "serving" in text else f"logs say {text[:80]!r}"]


def _port_forward(api: Api, probe: Probe, scene: Scene) -> list[str]:
    namespace, name = _server_there(probe, scene)
    pod = scene.pods[Role.SERVER, probe.source.node]
    said = api.port_forward(
        namespace, name, pod.ports["main/tcp"], b"{}\n", timeout=STREAM
    )
    return ["served" if b'"who"' in said else f"answered {said[:80]!r}"]


def _status(api: Api, probe: Probe, scene: Scene) -> list[str]:
    del api
    if probe.target.kind in LEADS_IN:
        return list(wire.entry(probe, scene).holds)
    return STATUS[str(dict(probe.ask.settings)["field"])](probe.source.node, scene)


def _proxy(api: Api, probe: Probe, scene: Scene) -> list[str]:
    """Ask a server for its name, through the API server: see CONTROL-PLANE-TO-POD."""
    namespace, name = _server_there(probe, scene)
    what = str(dict(probe.ask.settings)["field"])
    if what == "pods":
        port: int | str = scene.pods[Role.SERVER, probe.source.node].ports["main/tcp"]
    else:
        name, port = f"server-{scene.rank(probe.source.node)}", "main-tcp"
    path = f"/api/v1/namespaces/{namespace}/{what}/{name}:{port}/proxy/"
    said = _text(api, path, name, TIMEOUTS[probe.ask.timeout])
    try:
        return [str(json.loads(said)["who"])]
    except (ValueError, KeyError, TypeError):
        return [f"answered {said[:80]!r}"]


def _text(api: Api, path: str, name: str, within: float, **query: object) -> str:
    """Read what the API server has to ask a Node for. Raises Silent, ClusterError."""
    try:
        return api.text(path, within=within, **query)
    except Unreachable:
        why = f"the API server got no answer from {name} within {within:g} s"
        raise Silent(why) from None


API_OPS: Mapping[Op, Callable[[Api, Probe, Scene], list[str]]] = {
    Op.EXEC: _exec,
    Op.LOGS: _logs,
    Op.PORT_FORWARD: _port_forward,
    Op.PROXY: _proxy,
    Op.STATUS: _status,
}
