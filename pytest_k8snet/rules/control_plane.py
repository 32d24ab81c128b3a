"""The paths of the control plane: API server to kubelet, kubelet to Pod."""

from __future__ import annotations

from pytest_k8snet.model import (
    Ask,
    Kind,
    Level,
    Op,
    Profile,
    Role,
    Rule,
    Spread,
    Target,
)
from pytest_k8snet.rules._world import (
    EACH,
    KUBERNETES,
    on_own_node,
    serves,
    status,
    words,
)
from pytest_k8snet.verdict import all_answered

CONTROL_PLANE_TO_NODE = (
    f"{KUBERNETES}/concepts/architecture/control-plane-node-communication/"
    "#control-plane-to-node"
)


def at_every_node(op: Op, field: str, *expected: str) -> Ask:
    """Ask the API server something that takes it to every Node's kubelet."""
    return Ask(
        Role.API,
        op,
        Target(Kind.NONE, field),
        Spread.NODES,
        settings=(("field", field),),
        expect=words(*expected),
    )


KUBELET_EXEC = Rule(
    id="KUBELET-EXEC",
    requirement="The API server MUST reach the kubelet of every Node for exec.",
    spec=CONTROL_PLANE_TO_NODE,
    mark="control",
    probes=(at_every_node(Op.EXEC, "exec", "k8snet", "exit 3"),),
    judge=all_answered,
    usually="port 10250 of the Node is closed to the control plane",
)

KUBELET_LOGS = Rule(
    id="KUBELET-LOGS",
    requirement=(
        "The API server MUST reach the kubelet of every Node for logs and port-forward."
    ),
    spec=CONTROL_PLANE_TO_NODE,
    mark="control",
    provided=(serves(Role.SERVER),),
    probes=(
        at_every_node(Op.LOGS, "logs", "serving"),
        at_every_node(Op.PORT_FORWARD, "port-forward", "served"),
    ),
    judge=all_answered,
    usually="port 10250 of the Node is closed to the control plane",
)

KUBELET_PROBES = Rule(
    id="KUBELET-PROBES",
    requirement="The kubelet of every Node MUST reach the Pods of its Node.",
    spec=f"{KUBERNETES}/concepts/workloads/pods/pod-lifecycle/#container-probes",
    mark="control",
    roles=(Role.SERVER,),
    provided=(serves(Role.SERVER),),
    probes=(status("pods-ready", words("ready")),),
    judge=all_answered,
    usually="the Node's firewall, or a policy that blocks the Node's own address",
)

NODE_READY = Rule(
    id="NODE-READY",
    requirement=(
        "Every Node MUST be Ready with its network available, an address and a pod "
        "range for each IP family it was given."
    ),
    spec=f"{KUBERNETES}/reference/node/node-status/#condition",
    mark="control",
    profile=Profile.QUICK,
    probes=(
        status(
            "node-ready",
            words("ready", "network available", "address"),
            Spread.ALL_NODES,
        ),
    ),
    judge=all_answered,
    usually="no CNI configuration on the Node, or its agent does not run there",
)

CONTROL_PLANE_TO_POD = Rule(
    id="CONTROL-PLANE-TO-POD",
    requirement=(
        "The API server SHOULD reach a Pod and a Service on every Node, as it does "
        "webhooks."
    ),
    spec=CONTROL_PLANE_TO_NODE,
    mark="control",
    level=Level.SHOULD,
    services=(EACH,),
    provided=(serves(Role.SERVER),),
    probes=tuple(
        Ask(
            Role.API,
            Op.PROXY,
            Target(Kind.NONE, field),
            Spread.NODES,
            settings=(("field", field),),
            expect=on_own_node(Role.SERVER),
        )
        for field in ("pods", "services")
    ),
    judge=all_answered,
    usually="an API server without a route to Pods, or a firewall in between",
)

RULES = (
    KUBELET_EXEC,
    KUBELET_LOGS,
    KUBELET_PROBES,
    NODE_READY,
    CONTROL_PLANE_TO_POD,
)
