"""Rule 4: a Service of type LoadBalancer has an address, and serves there."""

from __future__ import annotations

from dataclasses import replace

from pytest_k8snet.model import (
    OUTSIDE,
    Ask,
    Feature,
    Kind,
    Level,
    Op,
    Protocol,
    Role,
    Rule,
    Service,
    Spread,
    Target,
)
from pytest_k8snet.rules._world import (
    BOTH,
    FAMILIES,
    PORT,
    SERVICE,
    connect,
    ports,
    reaches,
    server_at,
    serves,
    words,
)
from pytest_k8snet.rules.external import OUTSIDE_SEES_NODES, SOURCE_IP
from pytest_k8snet.verdict import (
    all_answered,
    all_as_allowed,
    all_connected,
    connected_and_source_preserved,
)

LOAD_BALANCER = SERVICE + "#loadbalancer"
NEEDED = frozenset({Feature.LOAD_BALANCER})
FIRST = (("rank", "0"),)
BY_TCP = ports(PORT)[:1]

BALANCED = Service("balanced", ports(PORT), selector=FIRST, balanced=True)
LOCAL = Service(
    "balanced-local",
    BY_TCP,
    selector=FIRST,
    spec=(("externalTrafficPolicy", "Local"),),
    balanced=True,
)
# The ranges for documentation, where nobody is.
FOR_OTHERS = Service(
    "for-others",
    BY_TCP,
    selector=FIRST,
    balanced=True,
    sources=("192.0.2.0/24", "2001:db8::/32"),
)
FOR_OUTSIDE = replace(
    FOR_OTHERS, name="for-outside", sources=(*FOR_OTHERS.sources, OUTSIDE)
)


def enter(service: Service, source: Role = Role.OUTSIDE, **more: object) -> Ask:
    """Ask for the first server at the address of a load balancer."""
    spread = Spread.ONCE if source is Role.OUTSIDE else Spread.NODES
    to = Target(Kind.LOAD_BALANCER, service.name)
    return connect(source, to, spread, who=server_at(0), **more)


LOADBALANCER_STATUS = Rule(
    id="LOADBALANCER-STATUS",
    requirement="A Service of type LoadBalancer MUST get an address in its status.",
    spec=LOAD_BALANCER,
    mark="rule4",
    level=Level.FEATURE,
    needs=NEEDED,
    services=(BALANCED,),
    protocols=BOTH,
    probes=(
        Ask(
            Role.API,
            Op.STATUS,
            Target(Kind.LOAD_BALANCER, BALANCED.name),
            Spread.ONCE,
            expect=words("address"),
        ),
    ),
    judge=all_answered,
    usually="a pool without free addresses, or a controller that does not run",
)

LOADBALANCER_REACH = Rule(
    id="LOADBALANCER-REACH",
    requirement=(
        "A Service of type LoadBalancer MUST be served at its address, from outside "
        "and from a Pod on every Node."
    ),
    spec=LOAD_BALANCER,
    mark="rule4",
    level=Level.FEATURE,
    needs=NEEDED,
    services=(BALANCED,),
    protocols=BOTH,
    families=FAMILIES,
    provided=(serves(Role.SERVER), OUTSIDE_SEES_NODES),
    probes=(enter(BALANCED), enter(BALANCED, Role.CLIENT)),
    judge=all_connected,
    usually="nobody announces the address, or a firewall is before the Nodes",
)

LOADBALANCER_SOURCE_RANGES = Rule(
    id="LOADBALANCER-SOURCE-RANGES",
    requirement=(
        "A load balancer MUST serve the clients in its loadBalancerSourceRanges, and "
        "no others."
    ),
    spec="https://kubernetes.io/docs/reference/kubernetes-api/service-resources/"
    "service-v1/",
    mark="rule4",
    level=Level.FEATURE,
    needs=NEEDED,
    services=(BALANCED, FOR_OTHERS, FOR_OUTSIDE),
    families=FAMILIES,
    provided=(
        serves(Role.SERVER),
        OUTSIDE_SEES_NODES,
        reaches(
            enter(BALANCED, protocol=Protocol.TCP),
            "a load balancer without such ranges serves the outside",
        ),
    ),
    probes=(
        enter(FOR_OUTSIDE, protocol=Protocol.TCP),
        enter(FOR_OTHERS, protocol=Protocol.TCP, timeout="silence", blocked=True),
    ),
    judge=all_as_allowed,
    usually="a service proxy or a load balancer that ignores them",
)

LOADBALANCER_SOURCE_LOCAL = Rule(
    id="LOADBALANCER-SOURCE-LOCAL",
    requirement=(
        "With externalTrafficPolicy Local the backend of a load balancer MUST see the "
        "outside client's own address."
    ),
    spec=SOURCE_IP.replace("nodeport", "loadbalancer"),
    mark="rule4",
    level=Level.FEATURE,
    needs=NEEDED,
    services=(LOCAL,),
    families=FAMILIES,
    provided=(serves(Role.SERVER), OUTSIDE_SEES_NODES),
    probes=(enter(LOCAL, protocol=Protocol.TCP),),
    judge=connected_and_source_preserved,
    usually="a load balancer that masquerades, or sends to Nodes without a backend",
)

RULES = (
    LOADBALANCER_STATUS,
    LOADBALANCER_REACH,
    LOADBALANCER_SOURCE_RANGES,
    LOADBALANCER_SOURCE_LOCAL,
)
