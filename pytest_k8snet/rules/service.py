"""Rule 3: Pods reach Services, and Services reach their ready backends."""

from __future__ import annotations

from dataclasses import replace

from pytest_k8snet.model import (
    Ask,
    Change,
    Deviation,
    Kind,
    Op,
    Profile,
    Role,
    Rule,
    Spread,
    Step,
    Target,
)
from pytest_k8snet.rules._world import (
    BOTH,
    DRAWS,
    EACH,
    FAMILIES,
    FEW_SERVERS,
    GROWING,
    HEADLESS,
    INTERNAL_LOCAL,
    MANUAL,
    MOVING,
    NOBODY,
    NOT_READY_TOO,
    PATHS,
    PODS,
    READY_ONLY,
    SERVICE,
    SHRINKING,
    STICKY,
    TWO_PROTOCOLS,
    VIRTUAL_IPS,
    any_server,
    cluster_ip,
    connect,
    every_way,
    few_servers,
    reaches,
    sees_several,
    server_at,
    server_there,
    serves,
    unready_pod,
    words,
)
from pytest_k8snet.verdict import (
    all_connected,
    all_refused,
    all_silent,
    came_to_somebody,
    every_backend,
    is_connected,
    is_lost_over_ipv6,
    is_served,
    settled,
    source_preserved,
    sticks,
)

TO_EACH = connect(Role.CLIENT, cluster_ip(EACH), who=server_there)
TO_FEW = connect(
    Role.CLIENT, cluster_ip(FEW_SERVERS), Spread.NODES, who=few_servers, count=DRAWS
)
API_SERVER = "kubernetes.default.svc"

SERVICE_CLUSTER_IP = Rule(
    id="SERVICE-CLUSTER-IP",
    requirement="A Pod on every Node MUST reach a Service's backends at its ClusterIP.",
    spec=VIRTUAL_IPS,
    mark="rule3",
    profile=Profile.QUICK,
    services=(EACH,),
    protocols=BOTH,
    families=FAMILIES,
    paths=PATHS,
    provided=(serves(Role.SERVER),),
    probes=(TO_EACH,),
    judge=all_connected,
    usually="the service proxy on the client's Node is down or its rules were flushed",
)

SERVICE_FROM_NODE = Rule(
    id="SERVICE-FROM-NODE",
    requirement="A process on every Node MUST reach a Service at its ClusterIP.",
    spec=VIRTUAL_IPS,
    mark="rule3",
    services=(EACH,),
    protocols=BOTH,
    families=FAMILIES,
    paths=PATHS,
    provided=(serves(Role.SERVER),),
    probes=(connect(Role.HOST, cluster_ip(EACH), who=server_there),),
    judge=all_connected,
    usually="a Node without a default route, or masquerading that is missing",
)

SERVICE_BY_NAME = Rule(
    id="SERVICE-BY-NAME",
    requirement="A Pod on every Node MUST reach a Service by its DNS name.",
    spec=SERVICE + "#dns",
    mark="rule3",
    profile=Profile.QUICK,
    services=(EACH,),
    protocols=BOTH,
    families=FAMILIES,
    provided=(serves(Role.SERVER),),
    probes=(
        connect(
            Role.CLIENT,
            Target(Kind.NAME, "server-{rank}.{ns}.svc.{domain}", "80"),
            Spread.OWN,
            who=server_there,
        ),
    ),
    judge=all_connected,
    usually="the cluster DNS does not answer from this Node",
)

SERVICE_TARGET_PORT = Rule(
    id="SERVICE-TARGET-PORT",
    requirement=(
        "A Service MUST forward to a named targetPort that differs per backend."
    ),
    spec=SERVICE + "#field-spec-ports",
    mark="rule3",
    services=(FEW_SERVERS,),
    protocols=BOTH,
    families=FAMILIES,
    provided=(serves(Role.SERVER),),
    probes=(
        connect(
            Role.CLIENT,
            cluster_ip(FEW_SERVERS, "p82"),
            Spread.NODES,
            who=few_servers,
            count=12,
        ),
    ),
    judge=all_connected,
    usually="a service proxy that ignores the ports of the EndpointSlice",
)


SERVICE_TWO_PROTOCOLS = Rule(
    id="SERVICE-TWO-PROTOCOLS",
    requirement="TCP and UDP on one port number of a Service MUST be separate.",
    spec=SERVICE + "#multi-port-services",
    mark="rule3",
    services=(TWO_PROTOCOLS,),
    families=FAMILIES,
    provided=(serves(Role.SERVER),),
    probes=tuple(
        connect(
            Role.CLIENT,
            cluster_ip(TWO_PROTOCOLS),
            Spread.NODES,
            protocol=protocol,
            who=server_at(0),
            expect=words(port),
        )
        for protocol, port in zip(BOTH, ("8080", "8084"), strict=True)
    ),
    judge=all_connected,
    deviations=(
        Deviation(
            "Cilium",
            "before 1.17 Cilium knows a Service's port only by its number: "
            "cilium/cilium#9207",
            came_to_somebody,
            before="1.17",
        ),
    ),
    usually="a service proxy or load balancer that keys on the port alone",
)

SERVICE_ALL_BACKENDS = Rule(
    id="SERVICE-ALL-BACKENDS",
    requirement="Every ready backend of a Service MUST get traffic from every Node.",
    spec=VIRTUAL_IPS,
    mark="rule3",
    profile=Profile.QUICK,
    services=(FEW_SERVERS,),
    protocols=BOTH,
    families=FAMILIES,
    min_nodes=2,
    provided=(serves(Role.SERVER),),
    probes=(TO_FEW,),
    judge=every_backend,
    usually="a service proxy that is stale on one Node",
)

SERVICE_SOURCE_PRESERVED = Rule(
    id="SERVICE-SOURCE-PRESERVED",
    requirement="Behind a ClusterIP a backend MUST see the Pod IP of the client Pod.",
    spec="https://kubernetes.io/docs/tutorials/services/source-ip/",
    mark="rule3",
    profile=Profile.QUICK,
    services=(EACH,),
    protocols=BOTH,
    families=FAMILIES,
    paths=PATHS,
    provided=(serves(Role.SERVER),),
    probes=(TO_EACH,),
    judge=source_preserved,
    usually="kube-proxy with a wrong clusterCIDR or masqueradeAll",
)


SERVICE_HAIRPIN = Rule(
    id="SERVICE-HAIRPIN",
    requirement="A Pod MUST reach itself through its own Service.",
    spec=VIRTUAL_IPS,
    mark="rule3",
    profile=Profile.QUICK,
    services=(EACH,),
    protocols=BOTH,
    families=FAMILIES,
    provided=(serves(Role.SERVER),),
    probes=(connect(Role.SERVER, cluster_ip(EACH), Spread.OWN, who=server_there),),
    judge=all_connected,
    deviations=(
        Deviation(
            "Cilium",
            "where kube-proxy stays, Cilium's own balancing has no hairpin for IPv6: "
            "cilium/cilium#26733",
            is_lost_over_ipv6,
        ),
    ),
    usually="hairpin mode is off on the Pod's bridge port",
)

SERVICE_NO_ENDPOINTS = Rule(
    id="SERVICE-NO-ENDPOINTS",
    requirement="A Service without endpoints MUST refuse connections at once.",
    spec=VIRTUAL_IPS,
    mark="rule3",
    profile=Profile.QUICK,
    services=(NOBODY, EACH),
    protocols=BOTH,
    families=FAMILIES,
    provided=(
        reaches(
            connect(Role.CLIENT, cluster_ip(EACH), Spread.OWN, who=server_there),
            "a Service with an endpoint answers from the same Node",
        ),
    ),
    probes=(connect(Role.CLIENT, cluster_ip(NOBODY), Spread.NODES, timeout="silence"),),
    judge=all_refused,
    usually="the REJECT rule is bypassed by a firewall or by a mark",
)

SERVICE_READY_ONLY = Rule(
    id="SERVICE-READY-ONLY",
    requirement="A Pod that is not ready MUST NOT receive traffic from a Service.",
    spec=PODS + "pod-lifecycle/#container-probes",
    mark="rule3",
    services=(READY_ONLY,),
    roles=(Role.UNREADY,),
    protocols=BOTH,
    families=FAMILIES,
    provided=(
        serves(Role.SERVER),
        reaches(
            connect(Role.UNREADY, Target(Kind.POD, Role.UNREADY), Spread.AT_FIRST),
            "the Pod that is not ready does answer",
        ),
    ),
    probes=(
        connect(
            Role.CLIENT,
            cluster_ip(READY_ONLY),
            Spread.NODES,
            who=server_at(0),
            count=12,
        ),
    ),
    judge=all_connected,
    usually="EndpointSlices are stale: controller-manager or API watch trouble",
)

SERVICE_PUBLISH_NOT_READY = Rule(
    id="SERVICE-PUBLISH-NOT-READY",
    requirement=(
        "With publishNotReadyAddresses a Service MUST reach Pods that are not ready."
    ),
    spec="https://kubernetes.io/docs/reference/kubernetes-api/service-resources/"
    "service-v1/#ServiceSpec",
    mark="rule3",
    services=(NOT_READY_TOO,),
    roles=(Role.UNREADY,),
    protocols=BOTH,
    families=FAMILIES,
    provided=(
        reaches(
            connect(Role.UNREADY, Target(Kind.POD, Role.UNREADY), Spread.AT_FIRST),
            "the Pod that is not ready does answer",
        ),
    ),
    probes=(
        connect(Role.CLIENT, cluster_ip(NOT_READY_TOO), Spread.NODES, who=unready_pod),
    ),
    judge=all_connected,
    usually="EndpointSlices are stale: controller-manager or API watch trouble",
)

SERVICE_BACKEND_ADDED = Rule(
    id="SERVICE-BACKEND-ADDED",
    requirement="A backend that joins a Service MUST receive traffic from every Node.",
    spec=VIRTUAL_IPS,
    mark="rule3",
    services=(GROWING,),
    min_nodes=2,
    provided=(serves(Role.SERVER),),
    steps=(
        Step(
            changes=(
                Change("label", Role.SERVER, Spread.AT_SECOND, (("growing", "yes"),)),
            ),
            asks=every_way(
                connect(
                    Role.CLIENT,
                    cluster_ip(GROWING),
                    Spread.NODES,
                    who=server_at(1),
                    timeout="poll",
                )
            ),
            until=is_connected,
        ),
    ),
    judge=settled(is_connected),
    usually="a service proxy that does not follow the API on one Node",
)

SERVICE_BACKEND_REMOVED = Rule(
    id="SERVICE-BACKEND-REMOVED",
    requirement="A backend that leaves a Service MUST receive no new connections.",
    spec=VIRTUAL_IPS,
    mark="rule3",
    services=(SHRINKING,),
    min_nodes=2,
    provided=(serves(Role.SERVER),),
    steps=(
        Step(
            changes=(
                Change("label", Role.SERVER, Spread.AT_FIRST, (("shrinking", None),)),
            ),
            asks=every_way(
                connect(
                    Role.CLIENT,
                    cluster_ip(SHRINKING),
                    Spread.NODES,
                    who=server_at(1),
                    timeout="poll",
                )
            ),
            until=is_connected,
            # Chance alone shows 12 in a row from one of two once in 4,096.
            consecutive=12,
        ),
    ),
    judge=settled(is_connected),
    usually="a service proxy that does not follow the API on one Node",
)

# Below the ports that Linux gives to others of itself.
UDP_FROM_ONE_PORT = tuple(
    replace(ask, settings=(("source_port", 20053),))
    for ask in every_way(
        connect(Role.CLIENT, cluster_ip(MOVING), Spread.NODES, timeout="poll")
    )
    if ask.protocol == "udp"
)

SERVICE_UDP_REMAP = Rule(
    id="SERVICE-UDP-REMAP",
    requirement=(
        "A UDP client that keeps its source port MUST follow a Service to its new "
        "backend."
    ),
    spec=VIRTUAL_IPS,
    mark="rule3",
    services=(MOVING,),
    min_nodes=2,
    provided=(serves(Role.SERVER),),
    steps=(
        Step(
            asks=tuple(replace(a, who=server_at(0)) for a in UDP_FROM_ONE_PORT),
            until=is_connected,
        ),
        Step(
            changes=(
                Change("label", Role.SERVER, Spread.AT_SECOND, (("moving", "yes"),)),
                Change("label", Role.SERVER, Spread.AT_FIRST, (("moving", None),)),
            ),
            asks=tuple(replace(a, who=server_at(1)) for a in UDP_FROM_ONE_PORT),
            until=is_connected,
        ),
    ),
    judge=settled(is_connected),
    deviations=(
        Deviation(
            "Cilium",
            "Cilium's connections keep a backend that left the Service for as long as "
            "another Service has it: cilium/cilium#27726",
            is_served,
        ),
    ),
    usually="stale conntrack entries of the removed backend",
)

SERVICE_SESSION_AFFINITY = Rule(
    id="SERVICE-SESSION-AFFINITY",
    requirement=(
        "With sessionAffinity ClientIP one client MUST be served by one backend."
    ),
    spec=VIRTUAL_IPS + "#session-affinity",
    mark="rule3",
    services=(STICKY, FEW_SERVERS),
    protocols=BOTH,
    families=FAMILIES,
    min_nodes=2,
    provided=(serves(Role.SERVER), sees_several(TO_FEW)),
    probes=(
        connect(
            Role.CLIENT, cluster_ip(STICKY), Spread.NODES, who=few_servers, count=12
        ),
    ),
    judge=sticks,
    usually="a service proxy without affinity, or several in a row",
)

SERVICE_INTERNAL_LOCAL = Rule(
    id="SERVICE-INTERNAL-LOCAL",
    requirement=(
        "With internalTrafficPolicy Local a Pod MUST be served by backends on its own "
        "Node."
    ),
    spec="https://kubernetes.io/docs/concepts/services-networking/service-traffic-policy/",
    mark="rule3",
    services=(INTERNAL_LOCAL,),
    protocols=BOTH,
    families=FAMILIES,
    provided=(serves(Role.SERVER),),
    probes=(
        connect(
            Role.CLIENT, cluster_ip(INTERNAL_LOCAL), Spread.AT_FIRST, who=server_at(0)
        ),
    ),
    judge=all_connected,
    usually="the service proxy on the Node that has the backend",
)

SERVICE_INTERNAL_LOCAL_ONLY = Rule(
    id="SERVICE-INTERNAL-LOCAL-ONLY",
    requirement=(
        "With internalTrafficPolicy Local and no backend on its Node a Pod MUST NOT be "
        "served."
    ),
    spec="https://kubernetes.io/docs/concepts/services-networking/service-traffic-policy/",
    mark="rule3",
    services=(INTERNAL_LOCAL,),
    protocols=BOTH,
    families=FAMILIES,
    min_nodes=2,
    provided=(
        reaches(
            connect(
                Role.CLIENT,
                cluster_ip(INTERNAL_LOCAL),
                Spread.AT_FIRST,
                who=server_at(0),
            ),
            "the Service answers on the Node that has its backend",
        ),
    ),
    probes=(
        connect(
            Role.CLIENT,
            cluster_ip(INTERNAL_LOCAL),
            Spread.AT_OTHERS,
            timeout="silence",
        ),
    ),
    judge=all_silent,
    usually="a service proxy that ignores internalTrafficPolicy",
)

SERVICE_SELECTORLESS = Rule(
    id="SERVICE-SELECTORLESS",
    requirement="A Service MUST forward to EndpointSlices that were made by hand.",
    spec=SERVICE + "#services-without-selectors",
    mark="rule3",
    services=(MANUAL,),
    families=FAMILIES,
    provided=(serves(Role.SERVER),),
    probes=tuple(
        connect(
            Role.CLIENT,
            cluster_ip(MANUAL, port),
            Spread.NODES,
            protocol=protocol,
            who=any_server,
            count=4,
            **more,
        )
        for port, protocol, more in (
            ("main", BOTH[0], {}),
            ("main", BOTH[1], {}),
            ("second", BOTH[0], {"expect": words("8086")}),
        )
    ),
    judge=all_connected,
    usually="another controller owns the slices",
)

SERVICE_HEADLESS = Rule(
    id="SERVICE-HEADLESS",
    requirement=(
        "The name of a headless Service MUST lead to the Pods themselves, without a "
        "virtual IP."
    ),
    spec=SERVICE + "#headless-services",
    mark="rule3",
    services=(HEADLESS,),
    protocols=BOTH,
    families=FAMILIES,
    provided=(serves(Role.SERVER),),
    probes=(
        connect(
            Role.CLIENT,
            Target(Kind.NAME, "headless.{ns}.svc.{domain}", "8080"),
            Spread.NODES,
            who=any_server,
        ),
        connect(
            Role.CLIENT,
            Target(Kind.NAME, "server-{rank}.headless.{ns}.svc.{domain}", "8080"),
            Spread.OWN,
            who=server_there,
        ),
    ),
    judge=all_connected,
    usually="the cluster DNS serves stale endpoints",
)

SERVICE_API_SERVER = Rule(
    id="SERVICE-API-SERVER",
    requirement=(
        "A Pod on every Node MUST reach the API server at kubernetes.default with the "
        "published CA."
    ),
    spec="https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/",
    mark="rule3",
    profile=Profile.QUICK,
    probes=(
        Ask(
            Role.CLIENT,
            Op.TLS,
            Target(Kind.CLUSTER_IP, "kubernetes", "443"),
            Spread.NODES,
            settings=(("server_name", API_SERVER),),
        ),
    ),
    judge=all_connected,
    usually="the endpoint of kubernetes.default is stale, or a certificate without it",
)

RULES = (
    SERVICE_CLUSTER_IP,
    SERVICE_FROM_NODE,
    SERVICE_BY_NAME,
    SERVICE_TARGET_PORT,
    SERVICE_TWO_PROTOCOLS,
    SERVICE_ALL_BACKENDS,
    SERVICE_SOURCE_PRESERVED,
    SERVICE_HAIRPIN,
    SERVICE_NO_ENDPOINTS,
    SERVICE_READY_ONLY,
    SERVICE_PUBLISH_NOT_READY,
    SERVICE_BACKEND_ADDED,
    SERVICE_BACKEND_REMOVED,
    SERVICE_UDP_REMAP,
    SERVICE_SESSION_AFFINITY,
    SERVICE_INTERNAL_LOCAL,
    SERVICE_INTERNAL_LOCAL_ONLY,
    SERVICE_SELECTORLESS,
    SERVICE_HEADLESS,
    SERVICE_API_SERVER,
)
