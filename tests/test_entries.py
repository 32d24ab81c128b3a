"""What leads into the cluster: its objects, and what the API says of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from faults.edge import EDGE_ROUNDS
from scenes import facts, services_of_rules, spec

from pytest_k8snet import entries, service_manifests
from pytest_k8snet.model import EntryState, Feature, Kind, Protocol
from pytest_k8snet.rules import RULES
from pytest_k8snet.rules.entry import GATE, PLAIN, PROMISED, SECURE
from pytest_k8snet.rules.load_balancer import BALANCED, FOR_OTHERS, FOR_OUTSIDE

Json = dict[str, Any]
CLUSTER = facts(3, ingress_class="web", gateway_class="gw", gateway_ports=(8000, 8443))
SPEC = spec()
NAMESPACE = "k8snet-r1-server"


def test_every_rule_of_what_leads_in_is_seen_red_on_a_cluster() -> None:
    feature = {Feature.LOAD_BALANCER, Feature.INGRESS, Feature.GATEWAY}
    seen_red = {rule for faults in EDGE_ROUNDS for one in faults for rule in one.red}

    assert seen_red == {rule.id for rule in RULES if rule.needs & feature}


def test_faults_that_are_made_together_break_different_rules() -> None:
    for faults in EDGE_ROUNDS:
        broken = [rule for one in faults for rule in (*one.red, *one.inconclusive)]

        assert len(broken) == len(set(broken))


def test_every_site_has_a_name_and_a_host_of_its_own() -> None:
    sites = [site for entry in (PLAIN, SECURE, GATE) for site in entry.sites]

    assert len({site.name for site in sites}) == len(sites)
    hosts = {entries.host(site, SPEC) for site in sites}
    assert len(hosts) == len(sites)
    assert all(host.endswith(f".{NAMESPACE}.test") for host in hosts)


def test_sites_lead_to_services_that_their_rules_make() -> None:
    there = {(s.name, p[1]) for s in services_of_rules() for p in s.ports}
    named = {
        (service, port)
        for entry in (PLAIN, SECURE, GATE)
        for site in entry.sites
        for _, service, port in site.paths
    }

    assert named <= there


def test_an_ingress_says_which_class_hosts_paths_and_secrets() -> None:
    (plain,) = entries.objects(SPEC, PLAIN, CLUSTER)
    (secure,) = entries.objects(SPEC, SECURE, CLUSTER)

    assert plain["spec"]["ingressClassName"] == "web"
    paths = plain["spec"]["rules"][0]["http"]["paths"]
    assert [p["path"] for p in paths] == ["/", "/deep", "/nobody"]
    assert paths[1]["backend"]["service"] == {"name": "back", "port": {"number": 80}}
    assert "tls" not in plain["spec"]
    assert secure["spec"]["tls"] == [
        {"hosts": [f"{name}.{NAMESPACE}.test"], "secretName": name}
        for name in ("secure-one", "secure-two")
    ]


def test_without_an_ingress_class_the_clusters_default_is_asked_for() -> None:
    (made,) = entries.objects(SPEC, PLAIN, replace(CLUSTER, ingress_class=""))

    assert "ingressClassName" not in made["spec"]


def test_a_gateway_listens_where_its_controller_wants_it_to() -> None:
    gateway, *routes = entries.objects(SPEC, GATE, CLUSTER)

    assert gateway["spec"]["gatewayClassName"] == "gw"
    listeners = {one["name"]: one["port"] for one in gateway["spec"]["listeners"]}
    assert listeners == {"http": 8000, "gate-three": 8443, "gate-four": 8443}
    attached = {
        route["metadata"]["name"]: route["spec"]["parentRefs"][0]["sectionName"]
        for route in routes
    }
    assert attached == {
        "gate-one": "http",
        "gate-two": "http",
        "gate-three": "gate-three",
        "gate-four": "gate-four",
    }


def test_a_secret_has_the_chain_and_the_key_of_its_site() -> None:
    made = entries.secret(SPEC, SECURE.sites[0], "CHAIN", "KEY")

    assert made["metadata"]["name"] == "secure-one"
    assert made["type"] == "kubernetes.io/tls"
    assert made["stringData"] == {"tls.crt": "CHAIN", "tls.key": "KEY"}


def test_a_load_balancer_serves_one_transport() -> None:
    made = {
        m["metadata"]["name"]: m
        for m in service_manifests.services(SPEC, BALANCED, CLUSTER)
    }

    assert set(made) == {"balanced-tcp", "balanced-udp"}
    for name, item in made.items():
        assert item["spec"]["type"] == "LoadBalancer"
        protocols = {port["protocol"] for port in item["spec"]["ports"]}
        assert protocols == {name.rpartition("-")[2].upper()}
        assert "loadBalancerSourceRanges" not in item["spec"]


def test_source_ranges_have_the_outside_where_it_is_meant() -> None:
    def of(service: Any) -> list[str]:
        outside = ("198.51.100.7", "2001:db8:f::7")
        (made,) = service_manifests.services(SPEC, service, CLUSTER, outside)
        return list(made["spec"]["loadBalancerSourceRanges"])

    assert of(FOR_OTHERS) == ["192.0.2.0/24", "2001:db8::/32"]
    assert of(FOR_OUTSIDE)[2:] == ["198.51.100.7/32", "2001:db8:f::7/128"]
    assert service_manifests.by_transport(FOR_OTHERS)[0].ports[0][-1] is Protocol.TCP


# ------------------------------------------------------------------ what the API says


def balanced(*ingress: Json) -> Json:
    status = {"loadBalancer": {"ingress": list(ingress)}}
    return {"metadata": {"name": "balanced-tcp"}, "status": status}


@pytest.mark.parametrize(
    ("item", "addresses"),
    [
        (balanced(), ()),
        ({"metadata": {"name": "balanced-tcp"}}, ()),
        (
            balanced({"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}),
            ("192.0.2.1", "2001:db8::1"),
        ),
        (balanced({"hostname": "lb.example"}), ("lb.example",)),
        (balanced({"hostname": "localhost"}), ()),
    ],
)
def test_a_load_balancer_has_the_addresses_of_its_status(
    item: Json, addresses: tuple[str, ...]
) -> None:
    for kind in (Kind.LOAD_BALANCER, Kind.INGRESS):
        state = entries.states(kind, [item])[kind, "balanced-tcp"]

        assert state == EntryState(addresses, ("address",) if addresses else ())


def conditions(generation: int, status: str = "True", *but: str) -> list[Json]:
    return [
        {"type": name, "status": status, "observedGeneration": generation}
        for name in ("Accepted", "Programmed", "ResolvedRefs")
        if name not in but
    ]


def gateway(seen: int = 2, status: str = "True") -> Json:
    names = ("http", "gate-three", "gate-four")
    return {
        "metadata": {"name": "gate", "generation": 2},
        "status": {
            "addresses": [{"value": "192.0.2.1"}],
            "conditions": conditions(seen, status, "ResolvedRefs"),
            "listeners": [
                {"name": name, "conditions": conditions(2)} for name in names
            ],
        },
    }


def route(name: str, parent: str = "gate") -> Json:
    parents = [
        {
            "parentRef": {"name": parent},
            "conditions": conditions(1, "True", "Programmed"),
        }
    ]
    metadata = {"name": name, "generation": 1}
    return {"metadata": metadata, "status": {"parents": parents}}


ROUTES = [route(site.name) for site in GATE.sites]


def holds(gateway: Json, routes: list[Json]) -> set[str]:
    return set(
        entries.states(Kind.GATEWAY, [gateway], routes)[Kind.GATEWAY, "gate"].holds
    )


def test_a_gateway_in_order_keeps_every_promise() -> None:
    assert holds(gateway(), ROUTES) == set(PROMISED)


@pytest.mark.parametrize(
    ("item", "routes", "missing"),
    [
        (gateway(status="False"), ROUTES, {"Gateway Accepted", "Gateway Programmed"}),
        # True of what it was before it was changed.
        (gateway(seen=1), ROUTES, {"Gateway Accepted", "Gateway Programmed"}),
        (
            gateway(),
            [*ROUTES[1:], route("gate-one", "another")],
            {"HTTPRoute gate-one Accepted", "HTTPRoute gate-one ResolvedRefs"},
        ),
        ({"metadata": {"name": "gate", "generation": 1}}, [], set(PROMISED)),
    ],
)
def test_a_condition_that_is_not_true_now_does_not_hold(
    item: Json, routes: list[Json], missing: set[str]
) -> None:
    assert set(PROMISED) - holds(item, routes) == missing
