"""How well the cluster DNS does its work: large answers, stalls, news, the outside."""

from __future__ import annotations

from dataclasses import replace

from pytest_k8snet.model import (
    Ask,
    Change,
    Expectation,
    Family,
    Feature,
    Kind,
    Level,
    Op,
    Probe,
    Profile,
    Role,
    Rule,
    Scene,
    Service,
    Spread,
    Step,
    Target,
)
from pytest_k8snet.rules._world import (
    BOTH,
    DNS,
    DNS_SPECIFICATION,
    FAMILIES,
    KUBERNETES,
    PORT,
    TWO_PROTOCOLS,
    cluster_ips,
    dns,
    not_everything_resolves,
    nth_of_range,
    of_family,
    ports,
    status,
    words,
)
from pytest_k8snet.rules.dns import server_address
from pytest_k8snet.service_manifests import made_up_addresses
from pytest_k8snet.verdict import all_answered, as_asked, each, is_resolved, settled

ONE_SOCKET = 20
"""Look-ups at a time on each Node, each an A and an AAAA question from one socket."""

SPECIAL = f"{KUBERNETES}/tasks/administer-cluster/dns-custom-nameservers/"

# 40 answers of 16 bytes need EDNS; 100 of them do not fit into what we offer.
LARGE, LARGER = (
    Service(name, ports(PORT), None, headless=True, manual=True, made_up=count)
    for name, count in (("large", 40), ("larger", 100))
)
NEWS = Service("news", ports(PORT), selector=(("rank", "0"),))
NAMED = Service("named", ports(8080), selector=(("named", "yes"),), headless=True)


def made_up(count: int) -> Expectation:
    """Give the addresses of a Service whose endpoints nobody has."""

    def expect(_: Scene, probe: Probe) -> tuple[str, ...]:
        return made_up_addresses(count, probe.family or Family.IPV4)

    return expect


def first_servers(scene: Scene, probe: Probe) -> tuple[str, ...]:
    """Give the addresses of the servers on the first two Nodes."""
    pods = [scene.pod(Role.SERVER, n.name) for n in scene.facts.nodes[:2]]
    return tuple(a for p in pods if p for a in of_family(p.addresses, probe.family))


DNS_LARGE = Rule(
    id="DNS-LARGE",
    requirement=(
        "An answer above 512 bytes SHOULD arrive whole: by EDNS, by TCP, or truncated "
        "and then by TCP."
    ),
    spec=DNS_SPECIFICATION,
    mark="dns",
    level=Level.SHOULD,
    services=(LARGE, LARGER),
    protocols=BOTH,
    families=FAMILIES,
    provided=(not_everything_resolves(),),
    probes=tuple(
        dns(
            f"{service.name}.{{ns}}.svc.{{domain}}",
            made_up(service.made_up),
            whole=True,
        )
        for service in (LARGE, LARGER)
    ),
    judge=all_answered,
    usually="a firewall that drops DNS by TCP, or UDP above 512 bytes",
)

DNS_NO_STALL = Rule(
    id="DNS-NO-STALL",
    requirement=(
        f"None of {ONE_SOCKET} look-ups at a time SHOULD have to be repeated by the "
        "resolver."
    ),
    spec=f"{KUBERNETES}/tasks/administer-cluster/nodelocaldns/#motivation",
    mark="dns",
    level=Level.SHOULD,
    services=(TWO_PROTOCOLS,),
    provided=(not_everything_resolves(),),
    probes=(
        Ask(
            Role.CLIENT,
            Op.LOOKUP,
            # The dot at its end keeps the search list out of it.
            Target(Kind.NAME, "two-protocols.{ns}.svc.{domain}."),
            Spread.NODES,
            expect=cluster_ips(TWO_PROTOCOLS.name),
            count=ONE_SOCKET,
            timeout="stall",
        ),
    ),
    judge=all_answered,
    usually="conntrack's race of two UDP questions from one socket, or lost packets",
)

DNS_UPDATE_TIME = Rule(
    id="DNS-UPDATE-TIME",
    requirement=(
        "New and removed Services and endpoints SHOULD show in the cluster DNS within "
        "its TTL of 30 s."
    ),
    spec=DNS_SPECIFICATION,
    mark="dns",
    level=Level.SHOULD,
    # A server that caches may take as long as that, and that on every step.
    profile=Profile.FULL,
    services=(NAMED,),
    provided=(not_everything_resolves(),),
    steps=(
        Step(
            changes=(Change("serve", Role.API, Spread.NODES, service=NEWS),),
            asks=tuple(
                replace(
                    dns("news.{ns}.svc.{domain}", cluster_ips(NEWS.name)),
                    family=family,
                )
                for family in FAMILIES
            ),
            until=as_asked,
            budget="names",
        ),
        Step(
            changes=(
                Change("label", Role.SERVER, Spread.AT_SECOND, (("named", "yes"),)),
            ),
            asks=tuple(
                replace(dns("named.{ns}.svc.{domain}", first_servers), family=family)
                for family in FAMILIES
            ),
            until=as_asked,
            budget="names",
        ),
        Step(
            changes=(Change("withdraw", Role.API, Spread.NODES, service=NEWS),),
            # Of a type that was not asked for before, and is in nobody's cache.
            asks=(
                replace(
                    dns("news.{ns}.svc.{domain}", words(), "TXT"), timeout="silence"
                ),
            ),
            until=as_asked,
            budget="names",
        ),
    ),
    judge=settled(as_asked),
    usually="a DNS server that lost its watch on the API, or caches for long",
)

DNS_POD_RECORD = Rule(
    id="DNS-POD-RECORD",
    requirement="A Pod's IP, dashed, MUST resolve in the pod zone of its namespace.",
    spec=DNS + "#a-aaaa-records-1",
    mark="dns",
    level=Level.FEATURE,
    needs=frozenset({Feature.POD_RECORDS}),
    roles=(Role.SERVER,),
    protocols=BOTH,
    families=FAMILIES,
    provided=(not_everything_resolves(),),
    probes=(dns("{dashed}.{ns}.pod.{domain}", server_address, spread=Spread.PAIRS),),
    judge=all_answered,
    usually="the kubernetes plugin of CoreDNS has pods disabled",
)

DNS_UPSTREAM = Rule(
    id="DNS-UPSTREAM",
    requirement="A name outside the cluster domain MUST resolve from every Node.",
    spec=SPECIAL,
    mark="dns",
    level=Level.FEATURE,
    option="upstream_name",
    provided=(not_everything_resolves(),),
    probes=(
        Ask(
            Role.CLIENT,
            Op.LOOKUP,
            Target(Kind.NAME, "{upstream_name}"),
            Spread.NODES,
        ),
    ),
    judge=each(is_resolved),
    usually="the upstream name servers of the cluster DNS, or the way to them",
)

DNS_TENTH_IP = Rule(
    id="DNS-TENTH-IP",
    requirement=("The cluster DNS SHOULD have the tenth address of the Service range."),
    spec=f"{KUBERNETES}/concepts/services-networking/cluster-ip-allocation/",
    mark="dns",
    level=Level.SHOULD,
    needs=frozenset({Feature.SERVICE_RANGE}),
    probes=(status("dns-address", nth_of_range(10), Spread.AT_FIRST),),
    judge=all_answered,
    usually="a cluster DNS that was installed without a fixed ClusterIP",
)

RULES = (
    DNS_LARGE,
    DNS_NO_STALL,
    DNS_UPDATE_TIME,
    DNS_POD_RECORD,
    DNS_UPSTREAM,
    DNS_TENTH_IP,
)
