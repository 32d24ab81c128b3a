"""The objects of a lab: as few rights as can be, and names that can be traced."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from scenes import DUAL, GIVEN, facts, plan_of, services_of_rules, spec

from pytest_k8snet import manifests, pod_manifests, service_manifests
from pytest_k8snet.evidence.inspectors import told
from pytest_k8snet.manifests import EXPIRES, LABEL, MANAGED_BY, NAMESPACE_OF, RUN, US
from pytest_k8snet.model import LEADS_IN, Family, Feature, Op, Role
from pytest_k8snet.plan import asks_of
from pytest_k8snet.rules import RULES
from pytest_k8snet.rules._world import EXTERNAL_NAME, MANUAL

Json = dict[str, Any]
CLUSTER = facts(6, DUAL, given=GIVEN)
SPEC = spec()
SERVICES = {s.name: s for s in services_of_rules()}

every_role = pytest.mark.parametrize("role", NAMESPACE_OF, ids=str)


def pod(role: Role, rank: int = 0) -> Json:
    return pod_manifests.pod(SPEC, role, rank, CLUSTER)


def containers(made: Json) -> list[Json]:
    body = made["spec"]
    return [*body["containers"], *body.get("initContainers", [])]


def service(name: str, rank: int = 0) -> Json:
    return service_manifests.services(SPEC, SERVICES[name], CLUSTER)[rank]


# -------------------------------------------------------------------------------- Pods


@every_role
def test_every_pod_meets_the_restricted_pod_security_level(role: Role) -> None:
    made = pod(role)
    security = made["spec"]["securityContext"]

    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    for one in containers(made):
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    assert {"hostPID", "hostIPC"} & set(made["spec"]) == set()
    kinds = {key for volume in made["spec"]["volumes"] for key in volume} - {"name"}
    assert kinds == {"configMap", "emptyDir"}


def test_only_the_privileged_namespace_has_what_restricted_forbids() -> None:
    with_host_network = {r for r in NAMESPACE_OF if pod(r)["spec"].get("hostNetwork")}
    with_host_ports = {
        role
        for role in NAMESPACE_OF
        for one in containers(pod(role))
        if any("hostPort" in port for port in one.get("ports", []))
    }

    assert (with_host_network, with_host_ports) == ({Role.HOST}, {Role.EDGE})
    inside = {NAMESPACE_OF[role] for role in with_host_network | with_host_ports}
    assert inside == manifests.PRIVILEGED - {manifests.INSPECT}


ASKS_THE_API = {
    ask.source
    for rule in RULES
    for ask in asks_of(rule)
    if ask.op is Op.TLS and ask.to.kind not in LEADS_IN
}


@every_role
def test_no_pod_gets_a_token_or_anything_else_that_it_does_not_need(role: Role) -> None:
    body = pod(role)["spec"]

    assert body["automountServiceAccountToken"] is False
    assert body["enableServiceLinks"] is False
    assert body["terminationGracePeriodSeconds"] == 0
    for one in containers(pod(role)):
        assert one["resources"] == {"requests": {"cpu": "1m", "memory": "16Mi"}}
        assert one["imagePullPolicy"] == "IfNotPresent"
        read_only = {m["name"] for m in one["volumeMounts"] if m.get("readOnly")}
        assert read_only == {"agent"} | ({"ca"} if role in ASKS_THE_API else set())


@every_role
def test_a_pod_is_placed_by_the_scheduler_on_its_node_and_no_other(role: Role) -> None:
    body = pod(role, 1)["spec"]

    assert "nodeName" not in body
    assert '"values": ["b"]' in json.dumps(body["affinity"])
    assert body["tolerations"] == [{"operator": "Exists"}]


@every_role
def test_names_and_labels_tell_the_run_and_the_role(role: Role) -> None:
    made = pod(role, 1)["metadata"]

    assert made["name"] == f"{role}-1"
    assert made["labels"][RUN] == "r1"
    assert made["labels"][MANAGED_BY] == US
    assert made["labels"][f"{LABEL}role"] == role


@every_role
def test_pods_have_a_rank_where_a_service_selects_one_of_them(role: Role) -> None:
    every = (s for s in SERVICES.values() if s.role is role)
    single = [s for s in every if s.per_node or "rank" in dict(s.selector or ())]

    assert pod(role, 1)["metadata"]["labels"].get(f"{LABEL}rank") == (
        "1" if single else None
    )


@every_role
def test_every_port_of_a_pod_has_a_name_of_its_own(role: Role) -> None:
    for one in containers(pod(role)):
        names = [port["name"] for port in one.get("ports", [])]

        assert [n for n in names if not re.fullmatch("[a-z0-9-]{1,15}", n)] == []
        assert len(set(names)) == len(names)


def test_a_server_opens_an_sctp_port_only_where_that_is_claimed() -> None:
    unclaimed = replace(CLUSTER, features=CLUSTER.features - {Feature.SCTP})
    without, with_it = (
        containers(pod_manifests.pod(SPEC, Role.SERVER, 1, cluster))[0]
        for cluster in (unclaimed, CLUSTER)
    )

    assert "main/sctp=8080" not in without["command"]
    assert "main/sctp=8080" in with_it["command"]
    added = [port for port in with_it["ports"] if port not in without["ports"]]
    assert added == [{"name": "main-sctp", "containerPort": 8080, "protocol": "SCTP"}]


def test_a_pod_of_host_network_lets_the_kernel_choose_its_ports() -> None:
    (main,) = pod(Role.HOST)["spec"]["containers"]

    assert "ports" not in main
    assert "readinessProbe" not in main
    assert {"main/tcp=0", "main/udp=0", "0"} < set(main["command"])


def test_the_agent_is_told_who_it_is_and_where_it_listens() -> None:
    paired = pod_manifests.pod(SPEC, Role.CLIENT, 0, CLUSTER, siblings=True)
    client, sibling = paired["spec"]["containers"]
    (server,) = pod(Role.SERVER, 1)["spec"]["containers"]

    assert client["command"][:6] == [*manifests.COMMAND, "serve", "--name"]
    assert "client@a" in client["command"]
    assert {"client@a/sibling", "main/tcp=8081"} < set(sibling["command"])
    assert {"server@b", "alt/tcp=8083", "--loopback"} < set(server["command"])
    assert server["readinessProbe"]["tcpSocket"] == {"port": 8080}


def test_the_unusual_pod_has_an_init_container_a_sidecar_and_its_own_dns() -> None:
    body = pod(Role.EDGE)["spec"]
    init, sidecar = body["initContainers"]

    assert "restartPolicy" not in init
    assert init["command"][4:] == ["facts", "--out", "/k8snet-state/init.json"]
    assert sidecar["restartPolicy"] == "Always"
    assert body["dnsPolicy"] == "None"
    assert body["dnsConfig"]["nameservers"] == ["10.96.0.10"]
    assert body["dnsConfig"]["searches"] == ["k8snet-r1-server.svc.cluster.local"]


def test_one_host_port_is_told_apart_by_protocol_and_host_ip() -> None:
    owners = {
        (port["protocol"], port["hostIP"]): one["name"]
        for one in pod(Role.EDGE)["spec"]["containers"]
        for port in one["ports"]
        if "hostPort" in port
    }

    assert owners == {
        ("TCP", "192.0.2.10"): "main",
        ("UDP", "192.0.2.10"): "sibling",
        ("TCP", "2001:db8::10"): "sibling",
        ("UDP", "2001:db8::10"): "main",
    }


def test_a_node_with_several_addresses_of_a_family_has_a_host_port_at_the_first() -> (
    None
):
    nodes = tuple(
        replace(n, addresses=(*n.addresses, "198.51.100.7")) for n in CLUSTER.nodes
    )

    made = pod_manifests.pod(SPEC, Role.EDGE, 0, replace(CLUSTER, nodes=nodes))

    assert "192.0.2.10" in json.dumps(made)
    assert "198.51.100.7" not in json.dumps(made)


def test_a_family_that_the_cluster_has_not_gets_no_host_port() -> None:
    one = replace(CLUSTER, families=(Family.IPV4,))

    made = pod_manifests.pod(SPEC, Role.EDGE, 0, one)

    assert "2001:db8::10" not in json.dumps(made)


def test_the_remaining_parts_are_unusual_each_in_one_way() -> None:
    assert pod(Role.SERVER)["spec"]["subdomain"] == "headless"
    assert pod(Role.SERVER, 2)["spec"]["hostname"] == "server-2"
    assert pod(Role.HOST)["spec"]["dnsPolicy"] == "ClusterFirstWithHostNet"
    assert pod(Role.SPARE)["spec"]["dnsPolicy"] == "Default"
    assert pod(Role.UNREADY)["spec"]["readinessGates"] == [
        {"conditionType": "k8snet.io/never"}
    ]


def test_labels_put_the_right_servers_behind_each_service() -> None:
    def ranks(label: str) -> list[int]:
        every = enumerate(pod_manifests.pod_labels(Role.SERVER, r) for r in range(6))
        return [rank for rank, labels in every if labels.get(LABEL + label) == "yes"]

    assert ranks("few") == list(range(manifests.FEW))
    assert ranks("shrinking") == [0, 1]
    assert ranks("growing") == ranks("moving") == ranks("mixed") == [0]
    assert pod_manifests.pod_labels(Role.UNREADY, 0)[f"{LABEL}mixed"] == "yes"


# ---------------------------------------------------------------------------- Services


def test_a_service_for_each_node_selects_that_nodes_server() -> None:
    made = service_manifests.services(SPEC, SERVICES["server"], CLUSTER)

    assert [s["metadata"]["name"] for s in made] == [f"server-{r}" for r in range(6)]
    assert [s["spec"]["selector"] for s in made] == [
        {f"{LABEL}role": "server", f"{LABEL}rank": str(rank)} for rank in range(6)
    ]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_carries_the_run_and_a_valid_name(name: str) -> None:
    for made in service_manifests.services(SPEC, SERVICES[name], CLUSTER):
        assert made["metadata"]["labels"] == manifests.labels(SPEC)
        assert re.fullmatch("[a-z]([-a-z0-9]{0,61}[a-z0-9])?", made["metadata"]["name"])


@pytest.mark.parametrize("name", SERVICES)
def test_every_selector_selects_what_the_rules_mean(name: str) -> None:
    made = service(name)
    wanted = made["spec"].get("selector")
    chosen = [
        f"{role}-{rank}"
        for role in NAMESPACE_OF
        for rank in range(1 if role is Role.UNREADY else 6)
        if NAMESPACE_OF[role] == NAMESPACE_OF[SERVICES[name].role]
        if wanted and wanted.items() <= pod(role, rank)["metadata"]["labels"].items()
    ]

    every = [f"server-{rank}" for rank in range(6)]
    some = every[: manifests.FEW]
    expected = {
        "few": some,
        "sticky": some,
        "nobody": [],
        "manual": [],
        "elsewhere": [],
        "headless": every,
        "headless-not-ready": ["unready-0"],
        "not-ready-too": ["unready-0"],
        "ready-only": ["server-0", "unready-0"],
        "shrinking": ["server-0", "server-1"],
        "node-port-second": ["server-1"],
        "near": every,
        "forgetful": some,
        "leaving": [],
        "large": [],
        "larger": [],
        "guarded": ["guarded-0"],
        "guarded-outside": ["guarded-0"],
        "neighbour": ["neighbour-0"],
    }
    assert chosen == expected.get(name, ["server-0"])


def test_services_ask_for_every_family_that_the_cluster_has() -> None:
    policies = {name: service(name)["spec"].get("ipFamilyPolicy") for name in SERVICES}

    assert policies.pop("elsewhere") is None
    named = {name: policies.pop(name) for name in OF_FAMILIES}
    assert named == OF_FAMILIES
    assert set(policies.values()) == {"PreferDualStack"}


OF_FAMILIES = {
    "single-ipv4": "SingleStack",
    "single-ipv6": "SingleStack",
    "dual-ipv4": "RequireDualStack",
    "dual-ipv6": "RequireDualStack",
}


def test_a_headless_service_has_no_virtual_ip() -> None:
    assert service("headless")["spec"]["clusterIP"] == "None"


def test_an_external_name_is_in_the_clusters_own_domain() -> None:
    other = replace(CLUSTER, domain="corp.example")

    (made,) = service_manifests.services(SPEC, EXTERNAL_NAME, other)

    assert made["spec"] == {
        "type": "ExternalName",
        "externalName": "kubernetes.default.svc.corp.example",
    }


@pytest.mark.parametrize(
    ("family", "kind"), [(Family.IPV4, "IPv4"), (Family.IPV6, "IPv6")]
)
def test_endpoints_by_hand_belong_to_their_service_and_to_nobody_else(
    family: Family, kind: str
) -> None:
    made = service_manifests.endpoint_slice(SPEC, MANUAL, family, ("1", "2"))

    assert made["metadata"]["name"] == f"manual-{family}"
    assert made["metadata"]["labels"]["kubernetes.io/service-name"] == "manual"
    controller = made["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
    assert controller == US
    assert made["addressType"] == kind
    assert [one["addresses"] for one in made["endpoints"]] == [["1"], ["2"]]
    assert [port["port"] for port in made["ports"]] == [8080, 8080, 8086]


# ---------------------------------------------------------------------------- the rest


def test_a_namespace_carries_its_run_its_end_and_its_pod_security_level() -> None:
    client, host = (manifests.namespace(SPEC, key) for key in ("client", "host"))

    assert client["metadata"]["name"] == "k8snet-r1-client"
    assert client["metadata"]["annotations"] == {EXPIRES: "1000"}
    modes = ("enforce", "audit", "warn")
    levels = [
        {made["metadata"]["labels"][f"pod-security.kubernetes.io/{m}"] for m in modes}
        for made in (client, host)
    ]
    assert levels == [{"restricted"}, {"privileged"}]


def test_the_agent_travels_in_a_config_map() -> None:
    made = manifests.agent_config_map(SPEC)

    assert made["data"] == {"__main__.py": "# agent"}
    assert made["metadata"]["labels"] == manifests.labels(SPEC)
    assert manifests.service_account(SPEC)["metadata"]["name"] == "default"


def test_a_probe_pod_of_ones_own_may_have_labels_but_not_take_ours() -> None:
    extra = {"app": "mine", RUN: "stolen"}

    made = pod_manifests.probe_pod(SPEC, "db", "a", extra)
    anywhere = pod_manifests.probe_pod(SPEC, "db", None, {})

    assert made["metadata"]["labels"] == manifests.labels(SPEC) | {
        "app": "mine",
        f"{LABEL}pod": "db",
    }
    assert '"values": ["a"]' in json.dumps(made["spec"]["affinity"])
    assert "affinity" not in anywhere["spec"]


def test_a_probe_service_leads_to_its_pod_by_both_protocols() -> None:
    made = service_manifests.probe_service(SPEC, "front", "db", 80, 8080)["spec"]

    assert made["selector"] == {f"{LABEL}pod": "db"}
    assert [(p["port"], p["targetPort"], p["protocol"]) for p in made["ports"]] == [
        (80, 8080, protocol) for protocol in ("TCP", "UDP")
    ]


def test_every_role_of_the_plan_has_a_namespace_or_stands_outside() -> None:
    assert plan_of(CLUSTER).roles - set(NAMESPACE_OF) == {Role.OUTSIDE, Role.API}


def test_an_inspector_sees_all_of_a_node_and_may_write_nothing_of_it() -> None:
    made = pod_manifests.inspector(spec(), "inspect-0", "b")

    containers = made["spec"]["containers"] + made["spec"]["initContainers"]
    (volume,) = (v for v in made["spec"]["volumes"] if v["name"] == "node")
    assert volume["hostPath"] == {"path": "/"}
    assert made["spec"]["hostNetwork"]
    assert "hostPID" not in made["spec"]
    assert not made["spec"]["automountServiceAccountToken"]
    for one in containers:
        assert one["securityContext"]["readOnlyRootFilesystem"]
        (mount,) = (m for m in one["volumeMounts"] if m["name"] == "node")
        assert mount["readOnly"]
    level = manifests.namespace(spec(), manifests.INSPECT)["metadata"]["labels"]
    assert level["pod-security.kubernetes.io/enforce"] == "privileged"


def test_what_an_inspector_leaves_behind_is_read_from_its_status() -> None:
    message = (
        "settings net.ipv4.ip_forward=1\nsettings net.bridge.bridge-nf-call-iptables=\n"
        "kubelet 200\nkubelet ok"
    )
    status = {"state": {"terminated": {"message": message}}}

    assert told({"status": {"initContainerStatuses": [status]}}) == {
        "settings": ("net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables="),
        "kubelet": ("200", "ok"),
    }
    assert told({"status": {}}) == {}
