"""The Pods of a lab, as plain dicts. Pure.

Every Pod but the host-network ones and those that look at Nodes meets the *restricted*
Pod Security level, and nothing here needs an image of ours: the agent comes in a
ConfigMap and runs in any Python image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_k8snet.manifests import (
    CA,
    COMMAND,
    FEW,
    INSPECT,
    LABEL,
    LOOPBACK_PORT,
    MODULE,
    PORTS,
    STATE,
    labels,
    ports_of,
)
from pytest_k8snet.model import Actor, Family, Feature, Protocol, Role

if TYPE_CHECKING:
    from pytest_k8snet.manifests import LabSpec
    from pytest_k8snet.model import ClusterFacts, Node

HOME = "/k8snet"
"""Where containers work: the agent is a package there."""

RANKED = frozenset({Role.SERVER, Role.GUARDED, Role.NEIGHBOUR})
"""Roles of whose Pods some Service selects a single one."""

NEVER = "k8snet.io/never"
NOBODY = 65534


def pod_name(role: Role, rank: int) -> str:
    """Name a Pod by what it plays and where its Node stands in the order."""
    return f"{role}-{rank}"


def pod(
    spec: LabSpec,
    role: Role,
    rank: int,
    facts: ClusterFacts,
    first: str = "",
    *,
    siblings: bool = False,
) -> dict[str, Any]:
    """Make the Pod that plays a role on the Node of that rank.

    FIRST is "address port" of what its agent dials before anything else; SIBLINGS
    asks for a second container, which the unusual Pod always has.
    """
    node = facts.nodes[rank]
    body = pod_body(spec, [_container(spec, role, rank, node, "main", facts)])
    body["affinity"] = on_nodes([node.name])
    if first:
        body["containers"][0]["command"] += ["--first", first]
    if siblings or role is Role.EDGE:
        body["containers"].append(_container(spec, role, rank, node, "sibling", facts))
    if role is Role.EDGE:
        # Not for hostPorts: the kubelet maps those of app containers only.
        sidecar = _container(spec, role, rank, node, "sidecar", facts)
        body["initContainers"] = [
            _init_container(spec),
            {**sidecar, "restartPolicy": "Always"},
        ]
    if peculiar := _PECULIAR.get(role):
        body |= peculiar(spec, rank, facts)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(role, rank),
            "labels": labels(spec) | pod_labels(role, rank),
        },
        "spec": body,
    }


def pod_labels(role: Role, rank: int) -> dict[str, str]:
    """Give the labels that the Services select by, as they are at the start.

    No others: network plugins with identities, as Cilium, make one of each set of them.
    """
    chosen = {"role": str(role)}
    if role in RANKED:
        chosen |= {"rank": str(rank)}
    if role is Role.SERVER:
        chosen |= {"few": "yes"} if rank < FEW else {}
        chosen |= (
            {"growing": "yes", "moving": "yes", "mixed": "yes", "named": "yes"}
            if not rank
            else {}
        )
        chosen |= {"shrinking": "yes"} if rank < 2 else {}  # noqa: PLR2004 - a pair
    if role is Role.UNREADY:
        chosen |= {"mixed": "yes"}
    if role in {Role.CLIENT, Role.NEIGHBOUR}:
        chosen |= {"friend": "yes"}
    if role is Role.NEIGHBOUR:
        chosen |= {"leaving": "yes"}
    return {LABEL + key: value for key, value in chosen.items()}


def pod_body(spec: LabSpec, containers: list[dict[str, Any]]) -> dict[str, Any]:
    """Make the spec of a Pod that runs without privileges."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0,
        "restartPolicy": "Always",
        "tolerations": list(spec.tolerations),
        "securityContext": _pod_security(),
        "containers": containers,
        "volumes": _volumes(),
    }


def readiness(port: int) -> dict[str, Any]:
    """Make a readinessProbe: whether somebody listens."""
    return {"tcpSocket": {"port": port}, "periodSeconds": 1, "timeoutSeconds": 2}


def on_nodes(nodes: list[str]) -> dict[str, Any]:
    """Make the affinity that allows these Nodes only."""
    # As a DaemonSet does it: through the scheduler, so that what keeps other Pods
    # away from the Node is seen, and is reported as the reason.
    named = [{"key": "metadata.name", "operator": "In", "values": [n]} for n in nodes]
    terms = [{"matchFields": [one]} for one in named]
    required = {"nodeSelectorTerms": terms}
    return {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}
    }


def _pod_security() -> dict[str, Any]:
    return {
        "runAsNonRoot": True,
        "runAsUser": NOBODY,
        "runAsGroup": NOBODY,
        "fsGroup": NOBODY,
    }


def _volumes() -> list[dict[str, Any]]:
    return [
        {"name": "agent", "configMap": {"name": "k8snet-agent"}},
        {"name": "state", "emptyDir": {}},
    ]


def base_container(spec: LabSpec, name: str, arguments: list[str]) -> dict[str, Any]:
    """Make a container that runs the agent, restricted."""
    return {
        "name": name,
        "image": spec.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [*COMMAND, *arguments],
        "workingDir": HOME,
        "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            # Not of the Pod: a runtime would compile it for the sandbox, too.
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": "agent", "mountPath": f"{HOME}/{MODULE}", "readOnly": True},
            {"name": "state", "mountPath": STATE},
        ],
    }


def _init_container(spec: LabSpec) -> dict[str, Any]:
    return base_container(spec, "init", ["facts", "--out", f"{STATE}/init.json"])


def _container(
    spec: LabSpec, role: Role, rank: int, node: Node, name: str, facts: ClusterFacts
) -> dict[str, Any]:
    ports = {
        port: number
        for port, number in ports_of(role, rank, name).items()
        # A socket is enough to have the kernel load the module.
        if Feature.SCTP in facts.features or not port.endswith("/sctp")
    }
    arguments = ["serve", "--name", str(Actor(role, node.name, name))]
    arguments += ["--container", name, "--state", STATE]
    for port, number in ports.items():
        arguments += ["--port", f"{port}={number}"]
    if name == "main" and role in {Role.SERVER, Role.HOST}:
        number = 0 if role is Role.HOST else LOOPBACK_PORT
        arguments += ["--loopback", str(number)]
    if role is Role.SPARE:
        arguments.append("--linger")
    made = base_container(spec, name, arguments)
    if role is Role.HOST:
        return made
    made["ports"] = [
        {
            "name": _port_name(port),
            "containerPort": number,
            "protocol": port.split("/")[1].upper(),
        }
        for port, number in ports.items()
    ]
    if role is Role.EDGE:
        made["ports"] += _host_ports(spec, node, name, facts)
    if role is Role.CLIENT:
        made["volumeMounts"].append(
            {"name": "ca", "mountPath": CA.rpartition("/")[0], "readOnly": True}
        )
    if role is Role.SERVER:
        made["readinessProbe"] = readiness(ports["main/tcp"])
    return made


def _port_name(port: str) -> str:
    name, protocol = port.split("/")
    return name if protocol == "tcp" else f"{name}-{protocol}"


HOST_PORT_OWNERS = {
    (Protocol.TCP, Family.IPV4): "main",
    (Protocol.UDP, Family.IPV4): "sibling",
    (Protocol.TCP, Family.IPV6): "sibling",
    (Protocol.UDP, Family.IPV6): "main",
}
"""One number, four owners: the same port differs by protocol and by hostIP."""


def _host_ports(
    spec: LabSpec, node: Node, container: str, facts: ClusterFacts
) -> list[dict[str, Any]]:
    made = []
    for family in facts.families:
        is_ipv6 = family is Family.IPV6
        address = next((a for a in node.addresses if (":" in a) is is_ipv6), "")
        if not address:
            continue
        for protocol in (Protocol.TCP, Protocol.UDP):
            if HOST_PORT_OWNERS[protocol, family] != container:
                continue
            inside = ports_of(Role.EDGE, 0, container)[f"main/{protocol}"]
            made.append(
                {
                    "name": f"host-{protocol}-{family[2:]}",
                    "containerPort": inside,
                    "hostPort": spec.host_port,
                    "hostIP": address,
                    "protocol": protocol.upper(),
                }
            )
    return made


def _client(spec: LabSpec, rank: int, _: ClusterFacts) -> dict[str, Any]:
    del spec, rank
    # A safe sysctl, which "restricted" allows: any process may ask for an ICMP echo.
    may_ping = {"name": "net.ipv4.ping_group_range", "value": "0 2147483647"}
    authority = {"name": "ca", "configMap": {"name": "kube-root-ca.crt"}}
    return {
        "securityContext": {**_pod_security(), "sysctls": [may_ping]},
        "volumes": [*_volumes(), authority],
    }


def _server(spec: LabSpec, rank: int, _: ClusterFacts) -> dict[str, Any]:
    del spec
    return {"hostname": f"server-{rank}", "subdomain": "headless"}


def _host(spec: LabSpec, rank: int, _: ClusterFacts) -> dict[str, Any]:
    del spec, rank
    return {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}


def _edge(spec: LabSpec, rank: int, facts: ClusterFacts) -> dict[str, Any]:
    del rank
    if not facts.dns_addresses:
        return {}
    config = {
        "nameservers": list(facts.dns_addresses[:1]),
        "searches": [f"{spec.namespace('server')}.svc.{facts.domain}"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    }
    return {"dnsPolicy": "None", "dnsConfig": config}


def _spare(spec: LabSpec, rank: int, _: ClusterFacts) -> dict[str, Any]:
    del spec, rank
    return {"dnsPolicy": "Default"}


def _unready(spec: LabSpec, rank: int, _: ClusterFacts) -> dict[str, Any]:
    del spec, rank
    return {"readinessGates": [{"conditionType": NEVER}]}


_PECULIAR = {
    Role.CLIENT: _client,
    Role.SERVER: _server,
    Role.HOST: _host,
    Role.EDGE: _edge,
    Role.SPARE: _spare,
    Role.UNREADY: _unready,
}


TOLD = "/dev/termination-log"
"""What is written here the kubelet reports, also from where no stream reaches."""


def inspector_name(number: int) -> str:
    """Name one of the Pods that look at Nodes."""
    return f"{INSPECT}-{number}"


def inspector(spec: LabSpec, name: str, node: str) -> dict[str, Any]:
    """Make the privileged Pod that looks at a Node: it changes nothing there."""
    arguments = ["serve", "--name", f"{INSPECT}@{node}", "--state", STATE]
    container = base_container(spec, "main", arguments)
    container["securityContext"] = {
        "privileged": True,
        "runAsUser": 0,
        "readOnlyRootFilesystem": True,
    }
    of_node = {"name": "node", "mountPath": "/host", "readOnly": True}
    container["volumeMounts"].append(of_node)
    first = {**container, "name": "look"}
    first["command"] = [*COMMAND, "look", "--out", TOLD]
    body = pod_body(spec, [container])
    body |= {
        "hostNetwork": True,
        "initContainers": [first],
        "affinity": on_nodes([node]),
        "tolerations": [{"operator": "Exists"}],
        "securityContext": {},
        "volumes": [*_volumes(), {"name": "node", "hostPath": {"path": "/"}}],
    }
    metadata = {"name": name, "labels": labels(spec)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}


def probe_pod(
    spec: LabSpec, name: str, node: str | None, extra: dict[str, str]
) -> dict[str, Any]:
    """Make a probe Pod for a person's own test."""
    arguments = ["serve", "--name", name, "--container", "main", "--state", STATE]
    for port, number in PORTS.items():
        arguments += ["--port", f"{port}={number}"]
    container = base_container(spec, "main", arguments)
    container["readinessProbe"] = readiness(PORTS["main/tcp"])
    body = pod_body(spec, [container])
    if node is not None:
        body["affinity"] = on_nodes([node])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {**extra, **labels(spec), LABEL + "pod": name},
        },
        "spec": body,
    }
