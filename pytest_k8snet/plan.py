"""From rules and facts to probes: what is asked from where, and what is skipped.

Pure: 5,000 Nodes are planned without a cluster. Addresses are not known yet; the
``wire`` module fills them in once the Pods run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from pytest_k8snet.model import (
    Actor,
    Check,
    Feature,
    Kind,
    NotApplicable,
    Op,
    PathKind,
    Probe,
    Profile,
    Role,
    Spread,
    Target,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pytest_k8snet.model import (
        Ask,
        ClusterFacts,
        Control,
        Entry,
        Policy,
        Rule,
        Service,
        Step,
    )


LACKING = {
    Feature.NETWORK_POLICY: "no network plugin enforces NetworkPolicy",
    Feature.DUAL_STACK: "the cluster is not dual-stack",
    Feature.LOAD_BALANCER: "nothing known gives LoadBalancer Services an address",
    Feature.INGRESS: "there is no IngressClass (of a cloud, only when claimed)",
    Feature.GATEWAY: "no GatewayClass is accepted (of a cloud, only when claimed)",
    Feature.TRAFFIC_DISTRIBUTION: "no kube-proxy of Kubernetes 1.35 or later",
    Feature.HEALTH_CHECK_NODE_PORT: "no kube-proxy, which serves healthCheckNodePort",
    Feature.POD_RECORDS: "the Corefile does not say pods insecure",
    Feature.SERVICE_RANGE: "the API has no ServiceCIDR",
    Feature.SCTP: "SCTP is not claimed, and the API does not say which kernel has it",
}
"""Why a rule does not apply, by the feature that was neither found nor claimed."""

THROUGH_THE_KUBELET = frozenset({Op.EXEC, Op.LOGS, Op.PORT_FORWARD})


def checks(rules: Iterable[Rule]) -> tuple[Check, ...]:
    """Split rules along their axes: the same tests on every cluster."""
    return tuple(
        Check(rule, protocol, family, path)
        for rule in rules
        for protocol, family, path in product(
            rule.protocols or (None,), rule.families or (None,), rule.paths or (None,)
        )
    )


@dataclass(frozen=True)
class Limits:
    """What the user does not want: the rules that need it do not apply."""

    host_network: bool = True
    outside: bool = True


def in_profile(rule: Rule, chosen: Profile) -> bool:
    """Whether a profile has a rule: each has all of the ones before it."""
    order = list(Profile)
    return order.index(rule.profile) <= order.index(chosen)


def asks_of(rule: Rule) -> list[Ask]:
    """Give everything that a rule asks: probes, controls and steps."""
    asks = [*rule.probes, *(c.ask for c in rule.provided)]
    return asks + [ask for step in rule.steps for ask in step.asks]


def roles_of(rule: Rule) -> frozenset[Role]:
    """Give every part that a rule's probes, controls and changes need played."""
    asks = asks_of(rule)
    changes = [change for step in rule.steps for change in step.changes]
    named = {a.source for a in asks} | {c.role for c in changes} | set(rule.roles)
    named |= {Role(a.to.name) for a in asks if a.to.kind is Kind.POD}
    named |= {policy.role for policy in rule.policies}
    named |= {Role.EDGE for a in asks if a.to.kind is Kind.HOST_PORT}
    if any(a.op in THROUGH_THE_KUBELET for a in asks):
        named.add(Role.SERVER)
    named |= {s.role for s in rule.services if _selects_its_role(s)}
    return frozenset(named)


def _selects_its_role(service: Service) -> bool:
    return ("role", Role.UNREADY) not in (service.selector or ())


def check_applies(check: Check, facts: ClusterFacts, limits: Limits) -> None:
    """Raise NotApplicable, with the reason, when a check does not apply."""
    rule, nodes = check.rule, len(facts.nodes)
    if check.family and check.family not in facts.families:
        has = " and ".join(facts.families)
        raise NotApplicable(f"the cluster has no {check.family}, only {has}")
    if missing := rule.needs - facts.features:
        raise NotApplicable("; ".join(LACKING[one] for one in sorted(missing)))
    if rule.option and rule.option not in facts.given:
        switch = f"--k8snet-{rule.option.replace('_', '-')}"
        raise NotApplicable(f"asked only with {switch}")
    if not facts.dns_addresses and resolves(rule):
        raise NotApplicable("no cluster DNS: kube-system has no k8s-app=kube-dns")
    need = max(rule.min_nodes, 2 if check.path is PathKind.CROSS_NODE else 1)
    if nodes < need:
        raise NotApplicable(f"needs {need} Nodes that take Pods, there is {nodes}")
    roles = roles_of(rule)
    if not limits.host_network and roles & {Role.HOST, Role.EDGE}:
        raise NotApplicable("host-network Pods were refused (--k8snet-no-host-network)")
    if not limits.outside and Role.OUTSIDE in roles:
        raise NotApplicable("nothing is asked from outside (--k8snet-no-outside)")


def nodes_of(spread: Spread, facts: ClusterFacts) -> list[str]:
    """Give the names of the Nodes that a spread without pairs stands for."""
    names = [n.name for n in facts.nodes]
    return {
        Spread.AT_FIRST: names[:1],
        Spread.AT_SECOND: names[1:2],
        Spread.AT_OTHERS: names[1:],
        Spread.ALL_NODES: [*names, *(n.name for n in facts.left_out)],
    }.get(spread, names)


def _ring(names: list[str]) -> list[tuple[str, str]]:
    return [*zip(names, names, strict=True), *_next(names)]


def _next(names: list[str]) -> list[tuple[str, str]]:
    following = names[1:] + names[:1]
    return [pair for pair in zip(names, following, strict=True) if len(names) > 1]


PAIRED: Mapping[Spread, Callable[[list[str]], Iterable[tuple[str, str]]]] = {
    Spread.PAIRS: lambda names: product(names, names),
    Spread.RING: _ring,
    Spread.NEXT: _next,
}
"""The spreads that go from Node to Node, with their pairs."""


def uses_services(rule: Rule) -> bool:
    """Whether a rule brings Services, whose backends have to be ready."""
    changes = (change for step in rule.steps for change in step.changes)
    return bool(rule.services) or any(change.service for change in changes)


def resolves(rule: Rule) -> bool:
    """Whether a rule is about names, or gets to its targets by name."""
    asks = asks_of(rule)
    return rule.mark == "dns" or any(a.to.kind is Kind.NAME for a in asks)


def cells(ask: Ask, check: Check, facts: ClusterFacts) -> Iterator[tuple[str, str]]:
    """Give the (source Node, target Node) pairs that an Ask is spread over."""
    names = nodes_of(ask.spread, facts)
    if ask.spread is Spread.ONCE:
        yield "", ""
    elif ask.source is Role.OUTSIDE:
        yield from (("", name) for name in names)
    elif ask.spread in PAIRED:
        for source, target in PAIRED[ask.spread](names):
            kind = PathKind.SAME_NODE if source == target else PathKind.CROSS_NODE
            if check.path in (None, kind):
                yield source, target
    else:
        yield from zip(names, names, strict=True)


def probes(ask: Ask, check: Check, facts: ClusterFacts) -> Iterator[Probe]:
    """Make one Probe per cell and attempt out of an Ask."""
    protocol, family = ask.protocol or check.protocol, ask.family or check.family
    if family and family not in facts.families:
        return
    if len(facts.nodes) < ask.min_nodes:
        return
    for source, node in cells(ask, check, facts):
        actor = Actor(ask.source, source, ask.container)
        for target in _targets(ask, node, facts):
            for number in range(ask.count):
                yield Probe(ask, actor, target, protocol, family, number)


def _targets(ask: Ask, node: str, facts: ClusterFacts) -> Iterator[Target]:
    if ask.spread is Spread.REPLICAS:
        for address in facts.dns_replicas:
            yield Target(Kind.DNS_SERVER, address, ask.to.name)
    else:
        yield replace(ask.to, node=node)


@dataclass(frozen=True)
class CheckPlan:
    """What one check asks.

    Attributes:
        check: the check.
        controls: each control with its probes.
        probes: asked once.
        steps: each step with its probes.

    """

    check: Check
    controls: tuple[tuple[Control, tuple[Probe, ...]], ...] = ()
    probes: tuple[Probe, ...] = ()
    steps: tuple[tuple[Step, tuple[Probe, ...]], ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a run lays out and asks.

    Attributes:
        facts: what discovery found.
        checks: what each check asks.
        skipped: (check, reason) of those that do not apply.
        roles: the parts to be played.
        services: the Services to be made, without repetition.
        policies: the NetworkPolicies to be made, likewise.
        entries: the Ingresses and Gateways to be made, likewise.

    """

    facts: ClusterFacts
    checks: tuple[CheckPlan, ...] = ()
    skipped: tuple[tuple[Check, str], ...] = ()
    roles: frozenset[Role] = frozenset()
    services: tuple[Service, ...] = ()
    policies: tuple[Policy, ...] = ()
    entries: tuple[Entry, ...] = ()

    @property
    def late_roles(self) -> frozenset[Role]:
        """Give the roles whose Pods are made by a rule's own step."""
        changes = (c for p in self.checks for s, _ in p.steps for c in s.changes)
        return frozenset(c.role for c in changes if c.kind == "create")

    @property
    def probe_count(self) -> int:
        """Count the probes that are sent once; equal ones are sent once."""
        return len(
            {p for c in self.checks for p in c.probes}
            | {p for c in self.checks for _, ps in c.controls for p in ps}
            | {p for c in self.checks for _, ps in c.steps for p in ps}
        )


def make_plan(
    selected: Sequence[Check], facts: ClusterFacts, limits: Limits | None = None
) -> Plan:
    """Lay out all selected checks together."""
    limits = limits or Limits()
    planned, skipped = [], []
    for check in selected:
        try:
            check_applies(check, facts, limits)
        except NotApplicable as reason:
            skipped.append((check, str(reason)))
        else:
            planned.append(plan_check(check, facts))
    rules = {p.check.rule.id: p.check.rule for p in planned}.values()
    services = {s.name: s for rule in rules for s in rule.services}
    policies = {p.name: p for rule in rules for p in rule.policies}
    entries = {e.name: e for rule in rules for e in rule.entries}
    return Plan(
        facts=facts,
        checks=tuple(planned),
        skipped=tuple(skipped),
        roles=frozenset(role for rule in rules for role in roles_of(rule)),
        services=tuple(services.values()),
        policies=tuple(policies.values()),
        entries=tuple(entries.values()),
    )


def plan_check(check: Check, facts: ClusterFacts) -> CheckPlan:
    """Give everything that one check asks."""
    rule = check.rule
    return CheckPlan(
        check=check,
        controls=tuple(
            (control, tuple(probes(control.ask, check, facts)))
            for control in rule.provided
        ),
        probes=tuple(p for ask in rule.probes for p in probes(ask, check, facts)),
        steps=tuple(
            (step, tuple(p for ask in step.asks for p in probes(ask, check, facts)))
            for step in rule.steps
        ),
    )
