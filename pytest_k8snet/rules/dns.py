"""The DNS conventions, asked from a Pod on every Node, values compared."""

from __future__ import annotations

from pytest_k8snet.model import (
    Ask,
    Change,
    Deviation,
    Kind,
    Observation,
    Op,
    Probe,
    Profile,
    Role,
    Rule,
    Scene,
    Spread,
    Step,
    Target,
)
from pytest_k8snet.rules._world import (
    BOTH,
    DNS,
    DNS_SPECIFICATION,
    EXTERNAL_NAME,
    FAMILIES,
    HEADLESS,
    HEADLESS_NOT_READY,
    SERVICE,
    TWO_PROTOCOLS,
    api_addresses,
    cluster_ips,
    dns,
    dns_addresses,
    fact,
    not_everything_resolves,
    of_family,
    pod_addresses,
    serves,
    words,
)
from pytest_k8snet.verdict import all_answered, all_included, all_unknown, is_answered


def server_address(scene: Scene, probe: Probe) -> tuple[str, ...]:
    """Give the address of the server Pod on the Node that is asked about."""
    pod = scene.pod(Role.SERVER, probe.target.node or probe.source.node)
    return of_family(pod.addresses if pod else (), probe.family)


def searched(scene: Scene, probe: Probe) -> tuple[str, ...]:
    """Give the search list by convention, for the namespace that asks."""
    key = {Role.HOST: "host", Role.SERVER: "server"}.get(probe.source.role, "client")
    namespace, domain = scene.namespaces.get(key, key), scene.facts.domain
    return (f"{namespace}.svc.{domain}", f"svc.{domain}", domain)


def lookup(name: str, source: Role = Role.SERVER) -> Ask:
    """Resolve a name as programs do, through the Pod's own search path."""
    return Ask(
        source,
        Op.LOOKUP,
        Target(Kind.NAME, name),
        Spread.NODES,
        expect=cluster_ips(TWO_PROTOCOLS.name),
    )


def resolv_conf(source: Role) -> tuple[Ask, ...]:
    """Ask a Pod with the cluster's own DNS policy for its resolv.conf."""
    return (
        fact(source, "nameservers", primary_dns_address),
        fact(source, "search-cluster", searched),
        fact(source, "ndots", words("5")),
    )


def primary_dns_address(scene: Scene, probe: Probe) -> tuple[str, ...]:
    """Give the first address of the cluster DNS Service."""
    return dns_addresses(scene, probe)[:1]


def _is_of_the_node(seen: Observation) -> bool:
    nameservers = dict(seen.probe.ask.settings).get("field") == "nameservers"
    return nameservers and any(v.startswith("169.254.") for v in seen.values[:1])


NODE_LOCAL = Deviation(
    "",
    "each Node answers at a link-local address, as NodeLocal DNSCache does: "
    "https://kubernetes.io/docs/tasks/administer-cluster/nodelocaldns/",
    _is_of_the_node,
)


DNS_SERVICE = Rule(
    id="DNS-SERVICE",
    requirement=(
        "The name of a Service MUST resolve to its ClusterIPs, and to nothing else."
    ),
    spec=DNS + "#a-aaaa-records",
    mark="dns",
    profile=Profile.QUICK,
    services=(TWO_PROTOCOLS,),
    protocols=BOTH,
    families=FAMILIES,
    provided=(not_everything_resolves(),),
    probes=(
        dns(
            "two-protocols.{ns}.svc.{domain}", cluster_ips(TWO_PROTOCOLS.name), count=4
        ),
    ),
    judge=all_answered,
    usually="the cluster DNS does not answer from this Node, or not from one replica",
)

DNS_SEARCH_PATH = Rule(
    id="DNS-SEARCH-PATH",
    requirement=(
        "svc, svc.namespace and svc.namespace.svc MUST resolve through the search list."
    ),
    spec=DNS + "#namespaces-of-services",
    mark="dns",
    profile=Profile.QUICK,
    services=(TWO_PROTOCOLS,),
    roles=(Role.SERVER,),
    families=FAMILIES,
    provided=(not_everything_resolves(),),
    probes=(
        lookup("two-protocols"),
        lookup("two-protocols.{ns}"),
        lookup("two-protocols.{ns}.svc"),
    ),
    judge=all_answered,
    usually="a wrong search list, or a wildcard domain that answers first",
)

DNS_RESOLV_CONF = Rule(
    id="DNS-RESOLV-CONF",
    requirement=(
        "A Pod's resolv.conf MUST name the cluster DNS Service, the search list and "
        "ndots by convention."
    ),
    spec=DNS + "#pod-s-dns-policy",
    mark="dns",
    profile=Profile.QUICK,
    probes=resolv_conf(Role.CLIENT),
    judge=all_answered,
    deviations=(NODE_LOCAL,),
    usually="clusterDNS or clusterDomain in one kubelet's configuration",
)

DNS_API_SERVER = Rule(
    id="DNS-API-SERVER",
    requirement="kubernetes.default.svc MUST resolve to the API server's Service.",
    spec=DNS_SPECIFICATION,
    mark="dns",
    profile=Profile.QUICK,
    protocols=BOTH,
    families=FAMILIES,
    provided=(not_everything_resolves(),),
    probes=(dns("kubernetes.default.svc.{domain}", api_addresses),),
    judge=all_answered,
    usually="the cluster DNS does not answer from this Node, or a wrong zone",
)

DNS_HEADLESS = Rule(
    id="DNS-HEADLESS",
    requirement=(
        "The name of a headless Service MUST resolve to exactly its ready Pods."
    ),
    spec=DNS + "#a-aaaa-records",
    mark="dns",
    profile=Profile.QUICK,
    services=(HEADLESS,),
    roles=(Role.SERVER,),
    protocols=BOTH,
    families=FAMILIES,
    provided=(serves(Role.SERVER), not_everything_resolves()),
    probes=(dns("headless.{ns}.svc.{domain}", pod_addresses(Role.SERVER)),),
    judge=all_answered,
    usually="the cluster DNS serves stale endpoints",
)

DNS_HEADLESS_NOT_READY = Rule(
    id="DNS-HEADLESS-NOT-READY",
    requirement=(
        "With publishNotReadyAddresses a headless name MUST include Pods that are not "
        "ready."
    ),
    spec=DNS_SPECIFICATION,
    mark="dns",
    services=(HEADLESS_NOT_READY,),
    roles=(Role.UNREADY,),
    protocols=BOTH,
    families=FAMILIES,
    provided=(not_everything_resolves(),),
    probes=(dns("headless-not-ready.{ns}.svc.{domain}", pod_addresses(Role.UNREADY)),),
    judge=all_answered,
    usually="the cluster DNS serves stale endpoints",
)

DNS_POD_HOSTNAME = Rule(
    id="DNS-POD-HOSTNAME",
    requirement="hostname.subdomain of a Pod MUST resolve to its address.",
    spec=DNS + "#pod-s-hostname-and-subdomain-fields",
    mark="dns",
    services=(HEADLESS,),
    roles=(Role.SERVER,),
    protocols=BOTH,
    families=FAMILIES,
    provided=(not_everything_resolves(), serves(Role.SERVER)),
    probes=(
        dns(
            "server-{rank}.headless.{ns}.svc.{domain}",
            server_address,
            spread=Spread.PAIRS,
        ),
    ),
    judge=all_answered,
    usually="the Pod has no subdomain, or the headless Service has another name",
)

# Priority and weight are the server's business: port and target are compared.
DNS_SRV = Rule(
    id="DNS-SRV",
    requirement="A named port of a Service MUST have an SRV record with its target.",
    spec=DNS + "#srv-records",
    mark="dns",
    services=(TWO_PROTOCOLS,),
    protocols=BOTH,
    provided=(not_everything_resolves(),),
    probes=tuple(
        dns(
            f"_main-{protocol}._{protocol}.two-protocols.{{ns}}.svc.{{domain}}",
            words("80 two-protocols.{ns}.svc.{domain}"),
            "SRV",
            srv="port and target",
        )
        for protocol in BOTH
    ),
    judge=all_answered,
    usually="the cluster DNS does not answer from this Node",
)


def headless_targets(scene: Scene, _: Probe) -> tuple[str, ...]:
    """Give the SRV records of the headless Service: one for each server."""
    namespace, domain = scene.namespaces["server"], scene.facts.domain
    ranks = [scene.rank(node) for role, node in scene.pods if role is Role.SERVER]
    return tuple(
        f"8080 server-{rank}.headless.{namespace}.svc.{domain}" for rank in ranks
    )


DNS_SRV_HEADLESS = Rule(
    id="DNS-SRV-HEADLESS",
    requirement="A headless Service's SRV record MUST name every ready Pod.",
    spec=DNS + "#srv-records",
    mark="dns",
    services=(HEADLESS,),
    roles=(Role.SERVER,),
    protocols=BOTH,
    provided=(serves(Role.SERVER), not_everything_resolves()),
    probes=(
        dns(
            "_p8080-tcp._tcp.headless.{ns}.svc.{domain}",
            headless_targets,
            "SRV",
            srv="port and target",
        ),
    ),
    judge=all_answered,
    usually="the cluster DNS serves stale endpoints",
)

OF_THE_SERVICE = "two-protocols.{ns}.svc.{domain}"
OF_THE_POD = "server-{rank}.headless.{ns}.svc.{domain}"
# With kubeadm's configuration the cluster DNS remembers for 30 s what it says of an
# address, be it too early, but nothing of its own names.
DNS_PTR = Rule(
    id="DNS-PTR",
    requirement="A ClusterIP and a headless Pod's address MUST reverse to their names.",
    spec=DNS_SPECIFICATION,
    mark="dns",
    services=(TWO_PROTOCOLS, HEADLESS),
    roles=(Role.SERVER,),
    protocols=BOTH,
    families=FAMILIES,
    provided=(not_everything_resolves(),),
    probes=(
        dns(
            "two-protocols",
            words(OF_THE_SERVICE),
            "PTR",
            reverse="service",
            after=OF_THE_SERVICE,
        ),
        dns(
            "server",
            words(OF_THE_POD),
            "PTR",
            spread=Spread.PAIRS,
            reverse="pod",
            after=OF_THE_POD,
        ),
    ),
    # A Pod behind several Services has a name from each of them.
    judge=all_included,
    usually="in-addr.arpa or ip6.arpa is missing from the cluster DNS's zones",
)

DNS_EXTERNAL_NAME = Rule(
    id="DNS-EXTERNAL-NAME",
    requirement="The name of an ExternalName Service MUST be a CNAME to its target.",
    spec=SERVICE + "#externalname",
    mark="dns",
    services=(EXTERNAL_NAME,),
    protocols=BOTH,
    provided=(not_everything_resolves(),),
    probes=(
        dns(
            "elsewhere.{ns}.svc.{domain}",
            words("kubernetes.default.svc.{domain}"),
            "CNAME",
        ),
    ),
    judge=all_answered,
    usually="the cluster DNS does not answer from this Node",
)

DNS_NXDOMAIN = Rule(
    id="DNS-NXDOMAIN",
    requirement="A name in the cluster domain that nobody made MUST be NXDOMAIN.",
    spec=DNS_SPECIFICATION,
    mark="dns",
    profile=Profile.QUICK,
    services=(TWO_PROTOCOLS,),
    protocols=BOTH,
    families=FAMILIES,
    probes=(dns("nobody-made-this.{ns}.svc.{domain}", words()),),
    judge=all_unknown,
    usually="a wildcard zone, or a forwarder that swallows the answer",
)

DNS_NODATA = Rule(
    id="DNS-NODATA",
    requirement=(
        "A record type that an existing name lacks MUST be answered NOERROR and empty."
    ),
    spec=DNS_SPECIFICATION,
    mark="dns",
    services=(TWO_PROTOCOLS,),
    protocols=BOTH,
    provided=(not_everything_resolves(),),
    probes=(dns("two-protocols.{ns}.svc.{domain}", words(), "TXT"),),
    judge=all_answered,
    usually="a DNS server that answers NXDOMAIN, which resolvers then cache",
)

DNS_EVERY_REPLICA = Rule(
    id="DNS-EVERY-REPLICA",
    requirement=(
        "Every replica of the cluster DNS, asked directly from every Node, MUST give "
        "the same answers."
    ),
    spec=DNS_SPECIFICATION,
    mark="dns",
    services=(TWO_PROTOCOLS, HEADLESS),
    roles=(Role.SERVER,),
    protocols=BOTH,
    families=FAMILIES,
    probes=(
        dns(
            "two-protocols.{ns}.svc.{domain}",
            cluster_ips(TWO_PROTOCOLS.name),
            spread=Spread.REPLICAS,
        ),
        dns("kubernetes.default.svc.{domain}", api_addresses, spread=Spread.REPLICAS),
    ),
    judge=all_answered,
    usually="one replica's Node, or one replica that lost its watch",
)

DNS_POLICY_NONE = Rule(
    id="DNS-POLICY-NONE",
    requirement="With dnsPolicy None a Pod MUST get exactly its dnsConfig.",
    spec=DNS + "#pod-dns-config",
    mark="dns",
    services=(TWO_PROTOCOLS,),
    families=FAMILIES,
    probes=(
        fact(Role.EDGE, "nameservers", primary_dns_address),
        fact(Role.EDGE, "search", words("{ns}.svc.{domain}")),
        fact(Role.EDGE, "options", words("ndots:2", "edns0")),
        lookup("two-protocols", Role.EDGE),
    ),
    judge=all_answered,
    usually="the kubelet or a webhook rewrites the Pod's DNS settings",
)

DNS_POLICY_DEFAULT = Rule(
    id="DNS-POLICY-DEFAULT",
    requirement="With dnsPolicy Default a Pod MUST get its Node's name servers.",
    spec=DNS + "#pod-s-dns-policy",
    mark="dns",
    steps=(
        Step(
            changes=(Change("create", Role.SPARE, Spread.NODES),),
            asks=(fact(Role.SPARE, "cluster-dns", words("no")),),
            until=is_answered,
        ),
    ),
    judge=all_answered,
    usually="the kubelet's resolvConf points at the cluster DNS",
)

DNS_HOST_NETWORK = Rule(
    id="DNS-HOST-NETWORK",
    requirement=(
        "With ClusterFirstWithHostNet a host-network Pod MUST use the cluster DNS."
    ),
    spec=DNS + "#pod-s-dns-policy",
    mark="dns",
    services=(TWO_PROTOCOLS,),
    families=FAMILIES,
    provided=(not_everything_resolves(Role.HOST),),
    probes=(
        *resolv_conf(Role.HOST),
        lookup("two-protocols.{ns}.svc", Role.HOST),
    ),
    judge=all_answered,
    deviations=(NODE_LOCAL,),
    usually="a Node that cannot reach ClusterIPs itself",
)

RULES = (
    DNS_SERVICE,
    DNS_SEARCH_PATH,
    DNS_RESOLV_CONF,
    DNS_API_SERVER,
    DNS_HEADLESS,
    DNS_HEADLESS_NOT_READY,
    DNS_POD_HOSTNAME,
    DNS_SRV,
    DNS_SRV_HEADLESS,
    DNS_PTR,
    DNS_EXTERNAL_NAME,
    DNS_NXDOMAIN,
    DNS_NODATA,
    DNS_EVERY_REPLICA,
    DNS_POLICY_NONE,
    DNS_POLICY_DEFAULT,
    DNS_HOST_NETWORK,
)
