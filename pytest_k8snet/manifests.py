"""The namespaces and Pods of a lab, as plain dicts. Pure.

Every Pod but the host-network ones meets the *restricted* Pod Security level, and
nothing here needs an image of ours: the agent comes in a ConfigMap and runs in any
Python image.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_k8snet.model import OUTSIDE, Actor, Family, Feature, Protocol, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_k8snet.model import ClusterFacts, Node

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
RANKED = frozenset({Role.SERVER, Role.GUARDED, Role.NEIGHBOUR})
"""Roles of whose Pods some Service selects a single one."""

INSPECT = "inspect"
PRIVILEGED = frozenset({"host", INSPECT})
"""The namespaces whose Pods the level *restricted* would refuse."""

NEVER = "k8snet.io/never"

HOME = "/k8snet"
"""Where containers work: the agent is a package there."""

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
NOBODY = 65534
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
    for address in node.addresses:
        family = Family.IPV6 if ":" in address else Family.IPV4
        if family not in facts.families:
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


def ranges(words: tuple[str, ...], outside: tuple[str, ...]) -> list[str]:
    """Give ranges of addresses, with those of the outside where OUTSIDE stands."""
    own = [f"{a}/128" if ":" in a else f"{a}/32" for a in outside]
    return [cidr for word in words for cidr in (own if word == OUTSIDE else [word])]


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
