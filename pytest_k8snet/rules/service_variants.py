"""Rule 3: kinds of Services beyond the usual, how they change, and how soon."""

from __future__ import annotations

from dataclasses import replace

from pytest_k8snet.model import (
    Change,
    Deviation,
    Family,
    Feature,
    Kind,
    Level,
    Profile,
    Protocol,
    Role,
    Rule,
    Service,
    Spread,
    Step,
    Target,
)
from pytest_k8snet.rules._world import (
    BOTH,
    FAMILIES,
    FEW_SERVERS,
    KUBERNETES,
    PATHS,
    PORT,
    SERVICE,
    VIRTUAL_IPS,
    any_server,
    cluster_ip,
    connect,
    every_way,
    few_servers,
    nth_of_range,
    on_own_node,
    ports,
    sees_several,
    server_at,
    server_there,
    serves,
    status,
)
from pytest_k8snet.rules.service import TO_FEW
from pytest_k8snet.verdict import (
    all_answered,
    all_connected,
    changes,
    fair_share,
    is_connected,
    is_served,
    settled,
)

TRAFFIC_POLICY = f"{KUBERNETES}/concepts/services-networking/service-traffic-policy/"
DUAL_STACK = f"{KUBERNETES}/concepts/services-networking/dual-stack/#services"
FIRST = (("rank", "0"),)
IPV4_THEN_6, IPV6_THEN_4 = ("IPv4", "IPv6"), ("IPv6", "IPv4")

OVER_SCTP = Service(
    "over-sctp", (("main-sctp", PORT, 8080, Protocol.SCTP),), per_node=True
)
FRESH = Service("fresh", ports(PORT), selector=FIRST)
BEFORE = Service("changing", (), external_name="kubernetes.default.svc.{domain}")
INTERNAL = Service(
    "changing",
    ports(PORT),
    selector=FIRST,
    spec=(("type", "ClusterIP"), ("externalName", None)),
)
OPENED = Service(
    "changing",
    ports(PORT),
    selector=FIRST,
    spec=(("type", "NodePort"), ("externalName", None)),
)
FORGETFUL = Service(
    "forgetful",
    ports(PORT),
    selector=(("few", "yes"),),
    spec=(("sessionAffinity", "ClientIP"),),
    affinity_seconds=1,
)
NEAR = Service("near", ports(PORT), spec=(("trafficDistribution", "PreferSameNode"),))
NEAR_ONE = Service(
    "near-one",
    ports(PORT),
    selector=FIRST,
    spec=(("trafficDistribution", "PreferSameNode"),),
)
LEAVING = Service(
    "leaving", ports(PORT, 8080), selector=None, manual=True, terminating=True
)
EXTERNAL = Service("external", ports(PORT), selector=FIRST, external_ip=True)


def of_families(name: str, policy: str, *families: str) -> Service:
    """Give a Service that asks for these IP families, the first one first."""
    return Service(
        name,
        ports(PORT),
        selector=FIRST,
        spec=(("ipFamilyPolicy", policy), ("ipFamilies", families)),
    )


SINGLE_IPV4 = of_families("single-ipv4", "SingleStack", "IPv4")
SINGLE_IPV6 = of_families("single-ipv6", "SingleStack", "IPv6")
DUAL_IPV4 = of_families("dual-ipv4", "RequireDualStack", *IPV4_THEN_6)
DUAL_IPV6 = of_families("dual-ipv6", "RequireDualStack", *IPV6_THEN_4)
PROMISED = {
    SINGLE_IPV4: (Family.IPV4,),
    SINGLE_IPV6: (Family.IPV6,),
    DUAL_IPV4: FAMILIES,
    DUAL_IPV6: FAMILIES,
}

SERVICE_BALANCE = Rule(
    id="SERVICE-BALANCE",
    requirement=(
        "Of a Service's connections every ready backend SHOULD get a fair share."
    ),
    spec=VIRTUAL_IPS,
    mark="rule3",
    level=Level.SHOULD,
    services=(FEW_SERVERS,),
    protocols=BOTH,
    families=FAMILIES,
    min_nodes=2,
    provided=(serves(Role.SERVER),),
    probes=(TO_FEW,),
    judge=fair_share,
    usually="a service proxy that prefers what it saw first, or stale weights",
)

SERVICE_PROGRAMMING_TIME = Rule(
    id="SERVICE-PROGRAMMING-TIME",
    requirement="A new Service SHOULD serve from every Node within 10 s.",
    spec=VIRTUAL_IPS,
    mark="rule3",
    level=Level.SHOULD,
    provided=(serves(Role.SERVER),),
    steps=(
        Step(
            changes=(Change("serve", Role.API, Spread.NODES, service=FRESH),),
            asks=every_way(
                connect(
                    Role.CLIENT,
                    cluster_ip(FRESH),
                    Spread.NODES,
                    who=server_at(0),
                    timeout="poll",
                )
            ),
            until=is_connected,
        ),
    ),
    judge=settled(is_connected),
    usually="a service proxy that is behind with the API, or syncs seldom",
)

SERVICE_TYPE_CHANGE = Rule(
    id="SERVICE-TYPE-CHANGE",
    requirement="A Service whose type is changed SHOULD serve as the new type does.",
    spec=SERVICE + "#publishing-services-service-types",
    mark="rule3",
    level=Level.SHOULD,
    services=(BEFORE,),
    provided=(serves(Role.SERVER),),
    steps=(
        Step(
            changes=(Change("serve", Role.API, Spread.NODES, service=OPENED),),
            asks=every_way(
                connect(
                    Role.CLIENT,
                    Target(Kind.NODE_PORT, OPENED.name),
                    who=server_at(0),
                    timeout="poll",
                )
            ),
            until=is_connected,
        ),
        Step(
            changes=(Change("serve", Role.API, Spread.NODES, service=INTERNAL),),
            asks=every_way(
                connect(
                    Role.CLIENT,
                    cluster_ip(INTERNAL),
                    Spread.NODES,
                    who=server_at(0),
                    timeout="poll",
                )
            ),
            until=is_connected,
        ),
    ),
    judge=settled(is_connected),
    usually="a service proxy that keeps what the type before left behind",
)

SERVICE_AFFINITY_TIMEOUT = Rule(
    id="SERVICE-AFFINITY-TIMEOUT",
    requirement=(
        "A client that stays away for longer than the affinity's time-out SHOULD be "
        "served by any backend again."
    ),
    spec=VIRTUAL_IPS + "#session-stickiness-timeout",
    mark="rule3",
    level=Level.SHOULD,
    profile=Profile.FULL,
    services=(FORGETFUL, FEW_SERVERS),
    min_nodes=2,
    provided=(
        serves(Role.SERVER),
        sees_several(replace(TO_FEW, protocol=Protocol.TCP)),
    ),
    steps=(
        Step(
            asks=every_way(
                connect(
                    Role.CLIENT,
                    cluster_ip(FORGETFUL),
                    Spread.NODES,
                    who=few_servers,
                    # With two backends, one in 33,000 sees the same one each time.
                    count=16,
                    settings=(("spaced", 2),),
                )
            ),
            until=is_connected,
            budget="affinity",
        ),
    ),
    judge=changes,
    usually="a service proxy that ignores sessionAffinityConfig",
)

SERVICE_TRAFFIC_DISTRIBUTION = Rule(
    id="SERVICE-TRAFFIC-DISTRIBUTION",
    requirement=(
        "With trafficDistribution PreferSameNode a Pod MUST be served on its own Node "
        "if there is a backend, and by another Node's if there is none."
    ),
    spec=SERVICE + "#traffic-distribution",
    mark="rule3",
    level=Level.FEATURE,
    needs=frozenset({Feature.TRAFFIC_DISTRIBUTION}),
    services=(NEAR, NEAR_ONE),
    protocols=BOTH,
    families=FAMILIES,
    provided=(serves(Role.SERVER),),
    probes=(
        connect(
            Role.CLIENT,
            cluster_ip(NEAR),
            Spread.NODES,
            who=on_own_node(Role.SERVER),
            count=8,
        ),
        connect(Role.CLIENT, cluster_ip(NEAR_ONE), Spread.NODES, who=server_at(0)),
    ),
    judge=all_connected,
    deviations=(
        Deviation(
            "Cilium",
            "Cilium's own balancing looks at hints only with serviceTopology: "
            "cilium/cilium#23837",
            is_served,
        ),
    ),
    usually="EndpointSlices without hints, or a service proxy that ignores them",
)

SERVICE_TERMINATING_FALLBACK = Rule(
    id="SERVICE-TERMINATING-FALLBACK",
    requirement=(
        "A Service SHOULD be served by terminating endpoints while it has no others."
    ),
    spec=VIRTUAL_IPS + "#traffic-to-terminating-endpoints",
    mark="rule3",
    level=Level.SHOULD,
    services=(LEAVING,),
    protocols=BOTH,
    families=FAMILIES,
    provided=(serves(Role.SERVER),),
    probes=(
        connect(
            Role.CLIENT, cluster_ip(LEAVING), Spread.NODES, who=any_server, count=4
        ),
    ),
    judge=all_connected,
    usually="a service proxy that takes terminating endpoints for gone",
)

SERVICE_EXTERNAL_IPS = Rule(
    id="SERVICE-EXTERNAL-IPS",
    requirement="A Service MUST be served at its externalIPs from a Pod on every Node.",
    spec=SERVICE + "#external-ips",
    mark="rule3",
    level=Level.FEATURE,
    option="external_ip",
    services=(EXTERNAL,),
    protocols=BOTH,
    provided=(serves(Role.SERVER),),
    probes=(
        connect(
            Role.CLIENT,
            Target(Kind.NAME, "{external_ip}", str(PORT)),
            Spread.NODES,
            who=server_at(0),
        ),
    ),
    judge=all_connected,
    usually="the service proxy ignores externalIPs, or admission denies them",
)

SERVICE_DUAL_STACK = Rule(
    id="SERVICE-DUAL-STACK",
    requirement=(
        "A Service MUST be served in every IP family that its ipFamilyPolicy and "
        "ipFamilies promise."
    ),
    spec=DUAL_STACK,
    mark="rule3",
    level=Level.FEATURE,
    needs=frozenset({Feature.DUAL_STACK}),
    services=tuple(PROMISED),
    protocols=BOTH,
    provided=(serves(Role.SERVER),),
    probes=tuple(
        connect(
            Role.CLIENT,
            cluster_ip(service),
            Spread.NODES,
            family=family,
            who=server_at(0),
        )
        for service, families in PROMISED.items()
        for family in families
    ),
    judge=all_connected,
    usually="a service proxy that runs in one IP family only",
)

SERVICE_API_FIRST_IP = Rule(
    id="SERVICE-API-FIRST-IP",
    requirement=(
        "kubernetes.default SHOULD have the first address of the Service range."
    ),
    spec=f"{KUBERNETES}/concepts/services-networking/cluster-ip-allocation/",
    mark="rule3",
    level=Level.SHOULD,
    needs=frozenset({Feature.SERVICE_RANGE}),
    probes=(status("api-address", nth_of_range(1), Spread.AT_FIRST),),
    judge=all_answered,
    usually="a Service range that was changed after the cluster was made",
)

SERVICE_SCTP = Rule(
    id="SERVICE-SCTP",
    requirement=(
        "A Pod on every Node MUST reach a Service's backends by SCTP at its ClusterIP."
    ),
    spec=f"{KUBERNETES}/reference/networking/service-protocols/#protocol-sctp",
    mark="rule3",
    level=Level.FEATURE,
    needs=frozenset({Feature.SCTP}),
    services=(OVER_SCTP,),
    protocols=(Protocol.SCTP,),
    families=FAMILIES,
    paths=PATHS,
    provided=(serves(Role.SERVER, Protocol.TCP),),
    probes=(connect(Role.CLIENT, cluster_ip(OVER_SCTP), who=server_there),),
    judge=all_connected,
    usually="a service proxy, or connection tracking, that knows TCP and UDP only",
)

RULES = (
    SERVICE_BALANCE,
    SERVICE_PROGRAMMING_TIME,
    SERVICE_TYPE_CHANGE,
    SERVICE_AFFINITY_TIMEOUT,
    SERVICE_TRAFFIC_DISTRIBUTION,
    SERVICE_TERMINATING_FALLBACK,
    SERVICE_EXTERNAL_IPS,
    SERVICE_DUAL_STACK,
    SERVICE_API_FIRST_IP,
    SERVICE_SCTP,
)
