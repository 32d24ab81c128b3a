"""Rule 4: the outside reaches Services, and so do Pods and Nodes by node port."""

from __future__ import annotations

from pytest_k8snet.model import (
    Actor,
    Ask,
    Control,
    Deviation,
    Family,
    Feature,
    Kind,
    Level,
    Op,
    Probe,
    Profile,
    Protocol,
    Role,
    Rule,
    Scene,
    Service,
    Spread,
    Target,
)
from pytest_k8snet.pod_manifests import HOST_PORT_OWNERS
from pytest_k8snet.rules._world import (
    BOTH,
    EACH,
    FAMILIES,
    KUBERNETES,
    NETWORK_MODEL,
    NODE_PORT_FIRST,
    NODE_PORT_LOCAL,
    NODE_PORT_SECOND,
    PORT,
    SERVICE,
    cluster_ip,
    connect,
    nobody_answers,
    ports,
    reaches,
    server_at,
    server_there,
    serves,
)
from pytest_k8snet.verdict import (
    all_answered,
    all_connected,
    all_silent,
    connected_and_source_preserved,
    node_is_there,
)

NODE_PORT = SERVICE + "#type-nodeport"
SOURCE_IP = (
    f"{KUBERNETES}/tutorials/services/source-ip/"
    "#source-ip-for-services-with-type-nodeport"
)


# Of a class that no controller has: nobody makes, or pays, a load balancer for it.
HEALTH_CHECKED = Service(
    "health-checked",
    ports(PORT),
    selector=(("rank", "0"),),
    spec=(
        ("type", "LoadBalancer"),
        ("loadBalancerClass", "k8snet.io/none"),
        ("externalTrafficPolicy", "Local"),
    ),
)

# A kubelet listens on every Node; a firewall may refuse us, but not with silence.
OUTSIDE_SEES_NODES = Control(
    Ask(
        Role.OUTSIDE,
        Op.CONNECT,
        Target(Kind.NODE, "kubelet", "10250"),
        Spread.NODES,
        protocol=Protocol.TCP,
        settings=(("handshake", True),),
        timeout="silence",
    ),
    node_is_there,
    "the outside can send packets to the Node's address at all",
)


def node_port(service_name: str) -> Target:
    """Dial a node port at a Node's address."""
    return Target(Kind.NODE_PORT, service_name)


def to_node_ports(source: Role, spread: Spread) -> tuple[Ask, ...]:
    """Ask at every Node for a backend on the first Node, and for one elsewhere."""
    return tuple(
        connect(
            source,
            node_port(service.name),
            spread,
            who=server_at(rank),
            min_nodes=rank + 1,
        )
        for rank, service in enumerate((NODE_PORT_FIRST, NODE_PORT_SECOND))
    )


def edge_container(_: Scene, probe: Probe) -> tuple[str, ...]:
    """Give the container that owns the hostPort for this protocol and family."""
    name = HOST_PORT_OWNERS[probe.protocol or Protocol.TCP, probe.family or Family.IPV4]
    return (str(Actor(Role.EDGE, probe.target.node, name)),)


NODEPORT_EVERY_NODE = Rule(
    id="NODEPORT-EVERY-NODE",
    requirement=(
        "From outside, a node port MUST serve at every Node's address, wherever the "
        "backend is."
    ),
    spec=NODE_PORT,
    mark="rule4",
    profile=Profile.QUICK,
    services=(NODE_PORT_FIRST, NODE_PORT_SECOND),
    protocols=BOTH,
    families=FAMILIES,
    provided=(serves(Role.SERVER), OUTSIDE_SEES_NODES),
    probes=to_node_ports(Role.OUTSIDE, Spread.NODES),
    judge=all_connected,
    usually="a Node firewall, --nodeport-addresses, or masquerading that is missing",
)

NODEPORT_FROM_POD = Rule(
    id="NODEPORT-FROM-POD",
    requirement="From a Pod on every Node, a node port MUST serve at every Node.",
    spec=NODE_PORT,
    mark="rule4",
    profile=Profile.QUICK,
    services=(NODE_PORT_FIRST, NODE_PORT_SECOND),
    protocols=BOTH,
    families=FAMILIES,
    provided=(serves(Role.SERVER),),
    probes=to_node_ports(Role.CLIENT, Spread.PAIRS),
    judge=all_connected,
    usually="a Node firewall, --nodeport-addresses, or masquerading that is missing",
)

NODEPORT_FROM_NODE = Rule(
    id="NODEPORT-FROM-NODE",
    requirement="From every Node itself, a node port MUST serve at every Node.",
    spec=NODE_PORT,
    mark="rule4",
    services=(NODE_PORT_FIRST, NODE_PORT_SECOND),
    protocols=BOTH,
    families=FAMILIES,
    provided=(serves(Role.SERVER),),
    probes=to_node_ports(Role.HOST, Spread.PAIRS),
    judge=all_connected,
    usually="a Node firewall, --nodeport-addresses, or masquerading that is missing",
)

NODEPORT_SOURCE_LOCAL = Rule(
    id="NODEPORT-SOURCE-LOCAL",
    requirement=(
        "With externalTrafficPolicy Local the backend MUST see the outside client's "
        "own address."
    ),
    spec=SOURCE_IP,
    mark="rule4",
    profile=Profile.QUICK,
    services=(NODE_PORT_LOCAL,),
    protocols=BOTH,
    families=FAMILIES,
    provided=(serves(Role.SERVER), OUTSIDE_SEES_NODES),
    probes=(
        connect(
            Role.OUTSIDE,
            node_port(NODE_PORT_LOCAL.name),
            Spread.AT_FIRST,
            who=server_at(0),
        ),
    ),
    judge=connected_and_source_preserved,
    usually=(
        "a masquerade rule that ignores externalTrafficPolicy, or an address "
        "translation between the outside and the Nodes"
    ),
)

NODEPORT_LOCAL_ONLY = Rule(
    id="NODEPORT-LOCAL-ONLY",
    requirement=(
        "With externalTrafficPolicy Local a Node without a backend MUST NOT serve."
    ),
    spec=SOURCE_IP,
    mark="rule4",
    services=(NODE_PORT_LOCAL,),
    protocols=BOTH,
    families=FAMILIES,
    min_nodes=2,
    provided=(
        OUTSIDE_SEES_NODES,
        reaches(
            connect(
                Role.OUTSIDE,
                node_port(NODE_PORT_LOCAL.name),
                Spread.AT_FIRST,
                who=server_at(0),
            ),
            "the Node that has the backend does serve",
        ),
    ),
    probes=(
        connect(
            Role.OUTSIDE,
            node_port(NODE_PORT_LOCAL.name),
            Spread.AT_OTHERS,
            timeout="silence",
        ),
    ),
    judge=all_silent,
    usually="a service proxy that ignores externalTrafficPolicy",
)

HOSTPORT = Rule(
    id="HOSTPORT",
    requirement=(
        "A hostPort MUST lead from outside and from every Node to its own container, "
        "told apart by protocol and hostIP."
    ),
    spec="https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/network-plugins/#support-hostport",
    mark="rule4",
    protocols=BOTH,
    families=FAMILIES,
    provided=(serves(Role.EDGE), OUTSIDE_SEES_NODES),
    probes=(
        connect(
            Role.OUTSIDE,
            Target(Kind.HOST_PORT, "edge"),
            Spread.NODES,
            who=edge_container,
        ),
        connect(
            Role.HOST, Target(Kind.HOST_PORT, "edge"), Spread.PAIRS, who=edge_container
        ),
    ),
    judge=all_connected,
    usually="the portmap CNI plugin is missing from the Node's CNI configuration",
)


def healthy_where_it_is(scene: Scene, probe: Probe) -> tuple[str, ...]:
    """Give what a Node says of its own backends: 200 with one, 503 without."""
    return ("503" if scene.rank(probe.target.node) else "200",)


NODEPORT_HEALTH_CHECK = Rule(
    id="NODEPORT-HEALTH-CHECK",
    requirement=(
        "At healthCheckNodePort a Node MUST answer 200 with a backend of its own, and "
        "503 without."
    ),
    spec=f"{KUBERNETES}/tasks/access-application-cluster/"
    "create-external-load-balancer/#preserving-the-client-source-ip",
    mark="rule4",
    level=Level.FEATURE,
    needs=frozenset({Feature.HEALTH_CHECK_NODE_PORT}),
    services=(HEALTH_CHECKED,),
    families=FAMILIES,
    provided=(serves(Role.SERVER),),
    probes=(
        Ask(
            Role.CLIENT,
            Op.HTTP,
            Target(Kind.NODE_PORT, HEALTH_CHECKED.name, "health"),
            expect=healthy_where_it_is,
        ),
    ),
    judge=all_answered,
    usually="a Node firewall, or a service proxy that does not know its endpoints",
)

CLUSTER_IP_NOT_EXPOSED = Rule(
    id="CLUSTER-IP-NOT-EXPOSED",
    requirement="A ClusterIP SHOULD NOT answer from outside the cluster.",
    spec=SERVICE + "#type-clusterip",
    mark="rule4",
    level=Level.SHOULD,
    services=(EACH,),
    families=FAMILIES,
    provided=(
        serves(Role.SERVER),
        OUTSIDE_SEES_NODES,
        reaches(
            connect(
                Role.CLIENT,
                cluster_ip(EACH),
                Spread.OWN,
                protocol=Protocol.TCP,
                who=server_there,
            ),
            "the ClusterIP answers from inside",
        ),
    ),
    probes=(
        connect(
            Role.OUTSIDE,
            cluster_ip(EACH),
            Spread.NODES,
            protocol=Protocol.TCP,
            timeout="silence",
        ),
    ),
    judge=all_silent,
    deviations=(
        Deviation(
            "",
            "reported, not judged: ClusterIPs answer from outside, which somebody "
            "routes to a Node",
            lambda _: True,
        ),
    ),
    usually="a route for the Service range that leads to a Node",
)

EGRESS_TARGET = Rule(
    id="EGRESS-TARGET",
    requirement="A Pod on every Node MUST reach the target that the user names.",
    spec=NETWORK_MODEL,
    mark="rule4",
    level=Level.FEATURE,
    option="egress_target",
    provided=(nobody_answers(Role.CLIENT),),
    probes=(
        connect(
            Role.CLIENT,
            Target(Kind.NAME, "{egress_host}", "{egress_port}"),
            Spread.NODES,
            protocol=Protocol.TCP,
            settings=(("handshake", True),),
        ),
    ),
    judge=all_connected,
    usually="masquerading that is missing, or a firewall at the cluster's edge",
)

RULES = (
    NODEPORT_EVERY_NODE,
    NODEPORT_FROM_POD,
    NODEPORT_FROM_NODE,
    NODEPORT_SOURCE_LOCAL,
    NODEPORT_LOCAL_ONLY,
    HOSTPORT,
    NODEPORT_HEALTH_CHECK,
    CLUSTER_IP_NOT_EXPOSED,
    EGRESS_TARGET,
)
