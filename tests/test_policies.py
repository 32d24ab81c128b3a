"""NetworkPolicies: the objects, and that the rules tell right from wrong plugins."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from paper_plugin import End, Plugin
from scenes import DUAL, facts, plan_of, scene, spec

from pytest_k8snet import manifests, pod_manifests, policies
from pytest_k8snet.manifests import LABEL, NAMESPACE_OF
from pytest_k8snet.model import (
    OUTSIDE,
    Allow,
    Change,
    Kind,
    Observation,
    Op,
    Outcome,
    Peer,
    Policy,
    Protocol,
    Role,
    Rule,
)
from pytest_k8snet.plan import checks
from pytest_k8snet.rules import RULES, policy, policy_changes
from pytest_k8snet.rules._world import of_family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.model import Probe

Json = dict[str, Any]
SPEC = spec()
ON = scene(facts(3, DUAL))
OUTSIDERS = ("198.51.100.7", "2001:db8:f::7")
POLICED = (*policy.RULES, *policy_changes.RULES)


# ------------------------------------------------------------------------- the objects


def made(wanted: Policy, outside: tuple[str, ...] = OUTSIDERS) -> Json:
    body: Json = policies.network_policy(SPEC, wanted, outside)["spec"]
    return body


def ingress(*peers: Peer, ports: Any = ()) -> list[Json]:
    allowed = (Allow(peers, ports),)
    found: list[Json] = made(Policy("x", Role.GUARDED, ingress=allowed))["ingress"]
    return found


def test_a_policy_that_allows_nothing_isolates_in_its_direction_alone() -> None:
    guarded = {"matchLabels": {f"{LABEL}role": "guarded"}}

    assert made(Policy("x", Role.GUARDED, ingress=())) == {
        "podSelector": guarded,
        "policyTypes": ["Ingress"],
        "ingress": [],
    }
    assert made(Policy("x", Role.CONFINED, egress=(), all_pods=True)) == {
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [],
    }


def test_selectors_are_spelled_as_the_api_has_them() -> None:
    wanted = Peer(
        pods=(("a", "=", ("1",)), ("b", "NotIn", ("2", "3"))),
        namespaces=(("c", "Exists", ()),),
    )

    assert ingress(wanted, Peer(pods=())) == [
        {
            "from": [
                {
                    "podSelector": {
                        "matchLabels": {"a": "1"},
                        "matchExpressions": [
                            {"key": "b", "operator": "NotIn", "values": ["2", "3"]}
                        ],
                    },
                    "namespaceSelector": {
                        "matchExpressions": [{"key": "c", "operator": "Exists"}]
                    },
                },
                {"podSelector": {}},
            ]
        }
    ]


def test_a_port_may_have_a_name_or_a_range() -> None:
    ports = ((Protocol.TCP, "web", 0), (Protocol.UDP, 8111, 8113))

    assert ingress(ports=ports) == [
        {
            "ports": [
                {"protocol": "TCP", "port": "web"},
                {"protocol": "UDP", "port": 8111, "endPort": 8113},
            ]
        }
    ]


def test_the_outside_stands_for_its_address_in_each_family() -> None:
    blocks = ingress(Peer(blocks=("0.0.0.0/0", "::/0"), but=(OUTSIDE, "192.0.2.0/24")))

    assert blocks[0]["from"] == [
        {
            "ipBlock": {
                "cidr": "0.0.0.0/0",
                "except": ["198.51.100.7/32", "192.0.2.0/24"],
            }
        },
        {"ipBlock": {"cidr": "::/0", "except": ["2001:db8:f::7/128"]}},
    ]


def test_an_outside_without_address_allows_nobody_not_everybody() -> None:
    wanted = Policy(
        "x", Role.GUARDED, ingress=(Allow((Peer(blocks=(OUTSIDE,)),)), Allow())
    )

    assert wanted.names_outside
    assert made(wanted, ())["ingress"] == [{}]


def test_policies_of_one_name_are_one_policy() -> None:
    named: dict[str, set[Policy]] = {}
    for rule in RULES:
        for one in rule.policies:
            named.setdefault(one.name, set()).add(one)

    assert {name for name, values in named.items() if len(values) > 1} == set()


def test_what_a_step_applies_or_deletes_was_made_before() -> None:
    for rule in POLICED:
        changed = [c.policy for s in rule.steps for c in s.changes if c.policy]

        assert {p.name for p in changed} <= {p.name for p in rule.policies}


def test_a_port_of_a_guarded_pod_is_allowed_by_one_rule_alone() -> None:
    users: dict[str, set[str]] = {}
    for rule in POLICED:
        asks = [*rule.probes, *(a for s in rule.steps for a in s.asks)]
        for ask in asks:
            if ask.to.name.startswith("guarded") and ask.to.port != "main":
                users.setdefault(ask.to.port, set()).add(rule.id)

    assert {port for port, rules in users.items() if len(rules) > 1} == set()


def test_a_policy_of_others_that_allows_nothing_is_told_from_one_that_does() -> None:
    deny = {"spec": {"policyTypes": ["Ingress"]}}
    half = {"spec": {"policyTypes": ["Ingress", "Egress"], "ingress": [{}]}}
    allow = {"spec": {"policyTypes": ["Ingress"], "ingress": [{}]}}

    found = [policies.allows_nothing(one) for one in (deny, half, allow)]

    assert found == [True, True, False]


def test_policies_of_others_are_named() -> None:
    found = [{"metadata": {"namespace": "ns", "name": n}} for n in ("b", "a")]

    said = policies.interference(found)

    assert said == "policies that are not ours apply to our Pods (ns/a, ns/b)"
    assert policies.interference([]) == ""


# ------------------------------------------------------------- held against a plugin


class Lab:
    """The Pods, namespaces and policies of all rules, as objects."""

    def __init__(self) -> None:
        self.pods: dict[tuple[Role, str], Json] = {}
        for rank, node in enumerate(ON.facts.nodes):
            for role in NAMESPACE_OF:
                made = pod_manifests.pod(SPEC, role, rank, ON.facts)
                self.pods[role, node.name] = made
        self.namespaces = {
            key: manifests.namespace(SPEC, key)["metadata"]["labels"]
            | {"kubernetes.io/metadata.name": SPEC.namespace(key)}
            for key in manifests.NAMESPACES
        }
        self.policies = {p.name: p for rule in RULES for p in rule.policies}

    @property
    def objects(self) -> list[tuple[str, Json]]:
        return [
            (
                SPEC.namespace(NAMESPACE_OF[one.role]),
                policies.network_policy(SPEC, one, OUTSIDERS),
            )
            for one in self.policies.values()
        ]

    def change(self, change: Change) -> None:
        if change.kind == "revoke" and change.policy:
            del self.policies[change.policy.name]
        elif change.policy:
            self.policies[change.policy.name] = change.policy
        elif change.kind == "label namespace":
            self.label(self.namespaces[NAMESPACE_OF[change.role]], change)
        elif change.kind == "label":
            for node in ON.facts.nodes:
                self.label(self.pods[change.role, node.name]["metadata"], change)

    def label(self, owner: Json, change: Change) -> None:
        labels = owner.setdefault("labels", {}) if "labels" in owner else owner
        for key, value in change.labels:
            labels.pop(LABEL + key, None)
            if value is not None:
                labels[LABEL + key] = value

    def pod(self, role: Role, node: str) -> End:
        if role is Role.HOST:
            return End(node=node, address=ON.facts.node(node).addresses[0])
        found, key = self.pods[role, node], NAMESPACE_OF[role]
        ports = found["spec"]["containers"][0].get("ports", ())
        return End(
            labels=found["metadata"]["labels"],
            namespace=SPEC.namespace(key),
            namespace_labels=self.namespaces[key],
            named={(p["name"], p["protocol"]): p["containerPort"] for p in ports},
            node=node,
            address=f"{role}@{node}",
        )


DNS_POD = End(
    labels={"k8s-app": "kube-dns"},
    namespace="kube-system",
    namespace_labels={"kubernetes.io/metadata.name": "kube-system"},
    node="elsewhere",
)
SERVERS = {s.name: s.role for rule in POLICED for s in rule.services}


def lets(plugin: Plugin, lab: Lab, probe: Probe) -> bool:
    """Whether a plugin lets a probe through."""
    node, protocol = probe.target.node, (probe.protocol or Protocol.TCP).upper()
    if probe.source.role is Role.OUTSIDE:
        source = End(address=of_family(OUTSIDERS, probe.family)[0])
    else:
        source = lab.pod(probe.source.role, probe.source.node)
    if probe.ask.op is Op.DNS:
        return plugin.lets(lab.objects, source, DNS_POD, protocol, 53)
    if probe.ask.op is Op.FACT:
        client = lab.pod(Role.CLIENT, probe.source.node)
        return not plugin.lets(lab.objects, source, client, "TCP", 8080)
    kind, name = probe.target.kind, probe.target.name
    role = Role(name) if kind is Kind.POD else SERVERS[name]
    ports = manifests.ports_of(role, ON.rank(node))
    port = ports[f"{probe.target.port}/{protocol.lower()}"]
    return plugin.lets(lab.objects, source, lab.pod(role, node), protocol, port)


@cache
def plans(rule: str) -> Any:
    found = next(r for r in POLICED if r.id == rule)
    return plan_of(ON.facts, checks([found])).checks


def violations(plugin: Plugin, rule: Rule) -> Iterator[str]:
    """Give the cells of a rule at which a plugin is seen to do something else."""
    for planned in plans(rule.id):
        lab = Lab()
        stages: list[Any] = [((), planned.probes)]
        stages += [(step.changes, probes) for step, probes in planned.steps]
        for changes, probes in stages:
            for change in changes:
                lab.change(change)
            judged = [
                p for p in probes if p.ask.op is not Op.RESUME or not p.ask.blocked
            ]
            for probe in judged:
                if lets(plugin, lab, probe) is probe.ask.blocked:
                    yield str(probe)


def held(plugin: Plugin, rule: Rule) -> bool:
    """Whether all controls of a rule hold with a plugin."""
    lab = Lab()
    return all(
        lets(plugin, lab, probe) is not control.ask.blocked
        for planned in plans(rule.id)
        for control, probes in planned.controls
        for probe in probes
    )


every_rule = pytest.mark.parametrize("rule", POLICED, ids=str)


@every_rule
def test_a_plugin_that_is_right_passes_with_every_control(rule: Rule) -> None:
    assert list(violations(Plugin(), rule)) == []
    assert held(Plugin(), rule)


class Nothing(Plugin):
    """Enforces nothing."""

    def isolates(self, *_: Any) -> bool:
        return False


class Everything(Plugin):
    """Lets nothing through that any policy isolates."""

    def together(self, _: Any) -> bool:
        return False


class AnyPod(Plugin):
    """Takes a podSelector for one of all namespaces."""

    def at_home(self, *_: Any) -> bool:
        return True


class Either(Plugin):
    """Takes two selectors of one peer as or."""

    def peer(self, one: Json, peer: End, subject: End) -> bool:
        return any(
            super(Either, self).peer({key: value}, peer, subject)
            for key, value in one.items()
        )


class All(Plugin):
    """Takes the peers of a list as and."""

    def peers(self, listed: list[Json] | None, peer: End, subject: End) -> bool:
        return not listed or all(self.peer(one, peer, subject) for one in listed)


class EveryPort(Plugin):
    """Ignores ports."""

    def ports(self, *_: Any) -> bool:
        return True


class EveryProtocol(Plugin):
    """Ignores protocols."""

    def port(self, one: Json, _: str, port: int, target: End) -> bool:
        return super().port(one, one["protocol"], port, target)


class NoRange(Plugin):
    """Does not know endPort."""

    def port(self, one: Json, protocol: str, port: int, target: End) -> bool:
        single = {key: value for key, value in one.items() if key != "endPort"}
        return super().port(single, protocol, port, target)


class OneNumber(Plugin):
    """Keeps one number for a name of a port."""

    def port(self, one: Json, protocol: str, port: int, target: End) -> bool:
        if isinstance(one["port"], str):
            return port == manifests.NAMED_PORTS[0]
        return super().port(one, protocol, port, target)


class NoBlock(Plugin):
    """Does not know ipBlock."""

    def in_block(self, *_: Any) -> bool:
        return False


class NoExcept(Plugin):
    """Does not know except."""

    def in_block(self, block: Json, address: str) -> bool:
        return super().in_block(block | {"except": []}, address)


class AllMustAgree(Plugin):
    """Lets through what every policy allows."""

    def together(self, said: list[bool]) -> bool:
        return all(said)


class BothDirections(Plugin):
    """Isolates in both directions whatever the policyTypes."""

    def isolates(self, *_: Any) -> bool:
        return True


class NoExpressions(Plugin):
    """Ignores matchExpressions."""

    def requires(self, *_: Any) -> bool:
        return True


class NotInNeedsTheKey(Plugin):
    """Takes NotIn for: has the label, with another value."""

    def requires(
        self, key: str, operator: str, values: tuple[str, ...], labels: Json
    ) -> bool:
        if operator == "DoesNotExist":
            return key in labels
        return super().requires(key, operator, values, labels)


class PolicesItself(Plugin):
    """Polices a Pod's own traffic, and that of its Node."""

    def lets(self, *args: Any) -> bool:
        ways = (
            (args[1], args[2], "Egress", "to"),
            (args[2], args[1], "Ingress", "from"),
        )
        return all(
            self.direction(
                args[0], subject, peer, way, end, (args[3], args[4], args[2])
            )
            for subject, peer, way, end in ways
        )


WRONG: dict[type[Plugin], set[str]] = {
    AnyPod: {"NP-POD-SELECTOR"},
    Either: {"NP-BOTH-SELECTORS"},
    All: {"NP-PEER-LIST"},
    EveryPort: {"NP-PORT", "NP-NAMED-PORT", "NP-END-PORT"},
    EveryProtocol: {"NP-PROTOCOL"},
    NoRange: {"NP-END-PORT"},
    OneNumber: {"NP-NAMED-PORT"},
    NoBlock: {"NP-IP-BLOCK", "NP-IP-BLOCK-EXCEPT"},
    NoExcept: {"NP-IP-BLOCK-EXCEPT"},
    AllMustAgree: {"NP-ADDITIVE"},
    BothDirections: {"NP-ISOLATION-PER-DIRECTION"},
    NoExpressions: {"NP-MATCH-EXPRESSIONS"},
    NotInNeedsTheKey: {"NP-MATCH-EXPRESSIONS"},
    PolicesItself: {"NP-SELF", "NP-NODE-TO-LOCAL-POD"},
}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: w.__name__)
def test_a_plugin_that_gets_one_thing_wrong_is_caught(wrong: type[Plugin]) -> None:
    red = {r.id for r in POLICED if next(violations(wrong(), r), "")}

    assert red >= WRONG[wrong]
    assert red < {r.id for r in POLICED} or wrong is EveryPort


OPENNESS = {
    "NP-DEFAULT-ALLOW",
    "NP-ISOLATION-PER-DIRECTION",
    "NP-NODE-TO-LOCAL-POD",
    "NP-SELF",
}
"""Rules that demand an answer: where nothing is enforced, their controls say so."""


@every_rule
def test_a_plugin_that_enforces_nothing_never_passes(rule: Rule) -> None:
    red = list(violations(Nothing(), rule))

    assert bool(red) is (rule.id not in OPENNESS)
    assert red or not held(Nothing(), rule)


UNHARMED = {
    "NP-DEFAULT-ALLOW",
    "NP-ISOLATION-PER-DIRECTION",
    "NP-NODE-TO-LOCAL-POD",
    "NP-SELF",
    "NP-DELETE",
}
"""Rules about what no policy isolates: a plugin may get those right, and only those."""


@every_rule
def test_a_plugin_that_lets_nothing_through_passes_nothing_else(rule: Rule) -> None:
    red = list(violations(Everything(), rule))

    assert red or rule.id in UNHARMED or not held(Everything(), rule)


# --------------------------------------------------------------- existing connections


def update(went_on: bool, still: Outcome = Outcome.CONNECTED) -> Any:
    """Give the verdict on connections that were open when the policy changed."""
    (planned,) = plans("NP-UPDATE")
    resumed = [p for p in planned.steps[1][1] if p.ask.op is Op.RESUME]
    free = Outcome.CONNECTED if went_on else Outcome.TIMED_OUT
    return policy_changes.changed(
        tuple(
            Observation(p, free if p.ask.blocked else still, after=0.5) for p in resumed
        )
    )


def test_what_becomes_of_a_connection_that_is_no_longer_allowed_is_reported() -> None:
    on, cut = update(went_on=True), update(went_on=False)

    assert on.conforms
    assert cut.conforms
    assert "12 of 12 open connections that ceased to be allowed go on" in on.note
    assert "0 of 12 open connections" in cut.note


def test_a_connection_that_stays_allowed_must_go_on() -> None:
    assert not update(went_on=True, still=Outcome.RESET).conforms
