"""The specification: well-formed, complete, and unable to pass without evidence."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from observations import (
    ELSEWHERE,
    good,
    is_question,
    masqueraded,
    served,
    silent,
)
from scenes import DUAL, GIVEN, facts, plan_of, reply_of, scene, seen

from pytest_k8snet.model import NO_ANSWER, Family, Feature, Op, Outcome, Rule, Word
from pytest_k8snet.plan import checks
from pytest_k8snet.plugin import MARKERS
from pytest_k8snet.result import conclude
from pytest_k8snet.rules import (
    RULES,
    control_plane,
    dns,
    dns_service,
    entry,
    external,
    load_balancer,
    localhost,
    pod_end,
    pod_network,
    pod_traffic,
    policy,
    policy_changes,
    service,
    service_variants,
)
from pytest_k8snet.verdict import (
    all_as_allowed,
    all_equal,
    all_refused,
    all_silent,
    all_unique,
    all_unknown,
    destination_preserved,
    source_preserved,
)
from pytest_k8snet.wire import not_probed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_k8snet.model import (
        Control,
        Observation,
        Observations,
        Probe,
        Scene,
    )
    from pytest_k8snet.plan import CheckPlan

MODULES = (
    localhost,
    pod_network,
    pod_traffic,
    pod_end,
    service,
    service_variants,
    external,
    load_balancer,
    entry,
    dns,
    dns_service,
    control_plane,
    policy,
    policy_changes,
)

CATALOGUE = [
    "LOCALHOST-TCP",
    "LOCALHOST-UDP",
    "LOCALHOST-IPV6",
    "LOCALHOST-SHARED-PORTS",
    "LOCALHOST-PRIVATE",
    "LOCALHOST-NOT-NODE",
    "LOCALHOST-ONE-ADDRESS",
    "LOCALHOST-HOSTS-FILE",
    "SANDBOX-SURVIVES-RESTART",
    "POD-TO-POD",
    "POD-SOURCE-PRESERVED",
    "POD-DESTINATION-PRESERVED",
    "POD-ADDRESS-AGREED",
    "POD-ADDRESS-UNIQUE",
    "NODE-TO-LOCAL-POD",
    "NODE-TO-REMOTE-POD",
    "POD-TO-HOST-NETWORK",
    "POD-FULL-SIZE",
    "POD-BULK",
    "POD-NEW-REACHABLE",
    "POD-ADDRESS-IN-RANGE",
    "POD-TO-NODE-ADDRESS",
    "POD-MTU-CONSISTENT",
    "POD-FRAGMENTS",
    "POD-LOSS",
    "POD-PING",
    "POD-IDLE-CONNECTION",
    "POD-TERMINATING",
    "POD-ADDRESS-RELEASED",
    "SERVICE-CLUSTER-IP",
    "SERVICE-FROM-NODE",
    "SERVICE-BY-NAME",
    "SERVICE-TARGET-PORT",
    "SERVICE-TWO-PROTOCOLS",
    "SERVICE-ALL-BACKENDS",
    "SERVICE-SOURCE-PRESERVED",
    "SERVICE-HAIRPIN",
    "SERVICE-NO-ENDPOINTS",
    "SERVICE-READY-ONLY",
    "SERVICE-PUBLISH-NOT-READY",
    "SERVICE-BACKEND-ADDED",
    "SERVICE-BACKEND-REMOVED",
    "SERVICE-UDP-REMAP",
    "SERVICE-SESSION-AFFINITY",
    "SERVICE-INTERNAL-LOCAL",
    "SERVICE-SELECTORLESS",
    "SERVICE-HEADLESS",
    "SERVICE-API-SERVER",
    "SERVICE-BALANCE",
    "SERVICE-PROGRAMMING-TIME",
    "SERVICE-TYPE-CHANGE",
    "SERVICE-AFFINITY-TIMEOUT",
    "SERVICE-TRAFFIC-DISTRIBUTION",
    "SERVICE-TERMINATING-FALLBACK",
    "SERVICE-EXTERNAL-IPS",
    "SERVICE-DUAL-STACK",
    "SERVICE-API-FIRST-IP",
    "NODEPORT-EVERY-NODE",
    "NODEPORT-FROM-POD",
    "NODEPORT-FROM-NODE",
    "NODEPORT-SOURCE-LOCAL",
    "NODEPORT-LOCAL-ONLY",
    "HOSTPORT",
    "NODEPORT-HEALTH-CHECK",
    "LOADBALANCER-REACH",
    "LOADBALANCER-SOURCE-RANGES",
    "LOADBALANCER-SOURCE-LOCAL",
    "LOADBALANCER-STATUS",
    "CLUSTER-IP-NOT-EXPOSED",
    "INGRESS-STATUS",
    "INGRESS-HOST-PATH",
    "INGRESS-TLS",
    "INGRESS-CERT-VALID",
    "INGRESS-NO-BACKEND",
    "GATEWAY-HTTP",
    "GATEWAY-TLS",
    "GATEWAY-STATUS",
    "EGRESS-TARGET",
    "DNS-SERVICE",
    "DNS-SEARCH-PATH",
    "DNS-RESOLV-CONF",
    "DNS-API-SERVER",
    "DNS-HEADLESS",
    "DNS-HEADLESS-NOT-READY",
    "DNS-POD-HOSTNAME",
    "DNS-SRV",
    "DNS-SRV-HEADLESS",
    "DNS-PTR",
    "DNS-EXTERNAL-NAME",
    "DNS-NXDOMAIN",
    "DNS-NODATA",
    "DNS-EVERY-REPLICA",
    "DNS-POLICY-NONE",
    "DNS-POLICY-DEFAULT",
    "DNS-HOST-NETWORK",
    "DNS-LARGE",
    "DNS-NO-STALL",
    "DNS-UPDATE-TIME",
    "DNS-POD-RECORD",
    "DNS-UPSTREAM",
    "DNS-TENTH-IP",
    "KUBELET-EXEC",
    "KUBELET-LOGS",
    "KUBELET-PROBES",
    "NODE-READY",
    "CONTROL-PLANE-TO-POD",
    "NP-DEFAULT-ALLOW",
    "NP-INGRESS-DEFAULT-DENY",
    "NP-EGRESS-DEFAULT-DENY",
    "NP-ISOLATION-PER-DIRECTION",
    "NP-POD-SELECTOR",
    "NP-NAMESPACE-SELECTOR",
    "NP-BOTH-SELECTORS",
    "NP-PEER-LIST",
    "NP-MATCH-EXPRESSIONS",
    "NP-PORT",
    "NP-NAMED-PORT",
    "NP-END-PORT",
    "NP-PROTOCOL",
    "NP-IP-BLOCK",
    "NP-IP-BLOCK-EXCEPT",
    "NP-ADDITIVE",
    "NP-REPLIES-ALLOWED",
    "NP-LABEL-CHANGE",
    "NP-NAMESPACE-LABEL-CHANGE",
    "NP-UPDATE",
    "NP-DELETE",
    "NP-NEW-POD",
    "NP-NODE-TO-LOCAL-POD",
    "NP-EGRESS-DNS",
    "NP-SELF",
]

COMPARES = "compares a container's own view with the API: no path that could be dead"
ASKS_API = "asks the API server itself: an answer is the evidence"
NAMES_ITSELF = "passes only on a value that no broken network gives by chance"
WITHOUT_CONTROLS = {
    "LOCALHOST-ONE-ADDRESS": COMPARES,
    "LOCALHOST-HOSTS-FILE": COMPARES,
    "SANDBOX-SURVIVES-RESTART": "its first step is the control of the later ones",
    "POD-ADDRESS-AGREED": COMPARES,
    "POD-ADDRESS-UNIQUE": ASKS_API,
    "SERVICE-API-SERVER": NAMES_ITSELF,  # a certificate of the published CA
    "DNS-RESOLV-CONF": COMPARES,
    "DNS-NXDOMAIN": NAMES_ITSELF,  # NXDOMAIN from the server, not silence
    "DNS-EVERY-REPLICA": NAMES_ITSELF,  # ClusterIPs, expected from the API
    "DNS-POLICY-NONE": COMPARES,
    "DNS-POLICY-DEFAULT": COMPARES,
    "KUBELET-EXEC": ASKS_API,
    "NODE-READY": ASKS_API,
    "POD-GETS-ADDRESS": ASKS_API,
    "POD-ADDRESS-IN-RANGE": ASKS_API,
    "POD-MTU-CONSISTENT": COMPARES,
    "SERVICE-API-FIRST-IP": ASKS_API,
    "DNS-TENTH-IP": ASKS_API,
    "LOADBALANCER-STATUS": ASKS_API,
    "INGRESS-STATUS": ASKS_API,
    "GATEWAY-STATUS": ASKS_API,
}

RFC_2119 = r"\b(?:MUST|SHOULD)(?: NOT)?\b|\bMAY\b"
every_rule = pytest.mark.parametrize("rule", RULES, ids=str)
CHECKS = checks(RULES)


# --------------------------------------------------------------- as the values stand


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__.split(".")[-1])
def test_every_rule_of_a_module_is_in_its_list_once(module: object) -> None:
    written = [value for value in vars(module).values() if isinstance(value, Rule)]

    assert Counter(module.RULES) == Counter(written)  # type: ignore[attr-defined]


def test_every_list_is_in_the_specification_once() -> None:
    listed = [rule for module in MODULES for rule in module.RULES]

    assert Counter(RULES) == Counter(listed)
    assert set(Counter(rule.id for rule in RULES).values()) == {1}


def test_an_id_is_upper_case_words() -> None:
    assert [r for r in RULES if not re.fullmatch(r"[A-Z]+(-[A-Z0-9]+)*", str(r))] == []


def test_a_requirement_is_one_sentence_with_one_word_of_rfc_2119() -> None:
    asked = {rule.id: rule.requirement for rule in RULES}

    assert {i for i, said in asked.items() if not said.endswith(".")} == set()
    assert {i for i, said in asked.items() if ". " in said} == set()
    assert {
        i for i, said in asked.items() if len(re.findall(RFC_2119, said)) != 1
    } == set()


def test_a_requirement_says_where_kubernetes_asks_for_it() -> None:
    url = r"https://[a-z0-9.-]+/[\w./-]*(#[\w-]+)?"

    assert [rule.id for rule in RULES if not re.fullmatch(url, rule.spec)] == []


def test_a_rule_says_what_usually_breaks_it() -> None:
    assert [rule.id for rule in RULES if not rule.usually] == []


def test_the_mark_of_a_rule_is_registered() -> None:
    registered = {marker.partition(":")[0] for marker in MARKERS}

    assert {rule.mark for rule in RULES} == registered


def test_a_rule_has_controls_unless_it_is_listed_here_with_the_reason() -> None:
    assert {r.id for r in RULES if not r.provided} == set(WITHOUT_CONTROLS)


def test_every_rule_that_the_catalogue_demands_is_there() -> None:
    assert set(CATALOGUE) - {rule.id for rule in RULES} == set()


def test_test_ids_are_unique_and_say_nothing_of_any_cluster() -> None:
    ids = [check.id for check in CHECKS]
    axes = "(-(tcp|udp|sctp))?(-(ipv4|ipv6))?(-(same|cross)-node)?"

    assert set(Counter(ids).values()) == {1}
    assert [i for i in ids if not re.fullmatch(rf"[A-Z]+(-[A-Z0-9]+)*{axes}", i)] == []


# ------------------------------------------------------------------- as they are judged

EVERYTHING: dict[str, Any] = {"features": frozenset(Feature), "given": GIVEN}
CLUSTERS = {
    "one-node": facts(1, **EVERYTHING),
    "two-nodes-ipv6": facts(2, (Family.IPV6,), **EVERYTHING),
    "three-nodes-dual": facts(3, DUAL, **EVERYTHING),
}
SCENES = {name: scene(of) for name, of in CLUSTERS.items()}
LARGEST = "three-nodes-dual"

every_cluster = pytest.mark.parametrize("on", SCENES.values(), ids=SCENES)

ACCEPTED = {all_silent: NO_ANSWER, all_as_allowed: NO_ANSWER}
"""The outcomes that conform beside the usual one, by judge."""


def resolved(right: Observation) -> Observation:
    return replace(right, outcome=Outcome.ANSWERED, values=(ELSEWHERE,))


def redirected(right: Observation) -> Observation:
    return replace(right, local=ELSEWHERE)


def differs(right: Observation) -> Observation:
    return replace(right, values=("9000",))


def taken_twice(right: Observation) -> Observation:
    values = tuple(f"{ELSEWHERE} somebody/{n}" for n in ("one", "two"))
    return replace(right, values=values)


VIOLATION: dict[object, Callable[[Observation], Observation]] = {
    all_silent: served,
    all_refused: silent,
    all_unknown: resolved,
    all_unique: taken_twice,
    all_equal: differs,
    source_preserved: masqueraded,
    destination_preserved: redirected,
}
"""What breaks a rule, by its judge; every other is broken by silence."""


def violation(rule: Rule) -> Callable[[Observation], Observation]:
    def broken(right: Observation) -> Observation:
        if rule.steps and right.probe.ask.timeout == "silence":
            return resolved(right) if is_question(right.probe) else served(right)
        return VIOLATION.get(rule.judge, otherwise)(right)

    return broken


def when_violated(rule: Rule, right: Observations) -> Word:
    """Give the word for a violation: some are reported, and let pass anywhere."""
    wrong = list(map(violation(rule), right))
    anywhere = any(
        not d.network_plugin and all(map(d.excuses, wrong)) for d in rule.deviations
    )
    return Word.KNOWN_DEVIATION if anywhere else Word.FAIL


def otherwise(right: Observation) -> Observation:
    """Have blocked what is allowed, and served what is not."""
    return served(right) if right.probe.ask.blocked else silent(right)


def is_judged(one: Observation) -> bool:
    return not (one.probe.ask.op is Op.RESUME and one.probe.ask.blocked)


def control_holds(control: Control, probe: Probe, on: Scene) -> Observation:
    """Give an observation with which a control holds."""
    rotated = seen(probe, on, reply_of(probe, on, rotate=control.several))
    refused = seen(probe, on, {"outcome": Outcome.REFUSED, "phase": "connect"})
    unknown = seen(probe, on, {"outcome": Outcome.NAME_NOT_FOUND})
    if probe.target.port == "closed" or probe.ask.blocked:
        return refused
    if "no-such-service" in probe.target.name:
        return unknown
    if "unpublished" in str(probe.ask.settings):
        return seen(probe, on, {"outcome": Outcome.ANSWERED_WRONGLY})
    assert control.holds(rotated)
    return rotated


def control_breaks(control: Control, right: Observation) -> Observation:
    """Give an observation with which it does not."""
    ways = (silent(right), served(right), resolved(right))
    return next(way for way in ways if not control.holds(way))


def questions(planned: CheckPlan) -> tuple[Probe, ...]:
    return planned.probes + tuple(p for _, probes in planned.steps for p in probes)


Controls = list[tuple["Control", "Observations"]]


def all_is_well(planned: CheckPlan, on: Scene) -> tuple[Controls, Observations]:
    controls = [
        (control, tuple(control_holds(control, p, on) for p in probes))
        for control, probes in planned.controls
    ]
    return controls, tuple(good(planned, p, on) for p in questions(planned))


def each_one_other(
    of: Observations, other: Callable[[Observation], Observation]
) -> Iterator[Observations]:
    """Give the observations again for each cell, with its first or last changed."""
    for at, one in enumerate(of):
        if other is not unasked and not is_judged(one):
            continue
        if 0 < one.probe.number < one.probe.ask.count - 1:
            continue
        yield (*of[:at], other(one), *of[at + 1 :])


def broken_answers(control: Control, answers: Observations) -> Iterator[Observations]:
    """Give the ways in which a control may fail to hold."""
    yield ()
    yield from each_one_other(answers, unasked)
    yield from each_one_other(answers, lambda o: control_breaks(control, o))


def unasked(right: Observation) -> Observation:
    return not_probed(right.probe, SCENES[LARGEST], "the agent is gone")


def checks_of(rule: Rule, on: Scene) -> tuple[CheckPlan, ...]:
    return plan_of(on.facts, checks([rule])).checks


@cache
def on_the_largest(rule: str) -> list[tuple[CheckPlan, Controls, Observations]]:
    """Give each check of a rule with its controls and its probes, all as it should."""
    found = next(r for r in RULES if r.id == rule)
    on = SCENES[LARGEST]
    return [(p, *all_is_well(p, on)) for p in checks_of(found, on)]


def words(
    planned: CheckPlan, controls: Controls, sets: Iterable[Observations]
) -> set[Word]:
    """Give the words that sets of observations are judged with."""
    on = SCENES[LARGEST]
    return {conclude(planned.check, controls, seen, on).word for seen in sets}


@every_rule
@every_cluster
def test_a_check_that_applies_asks_something_and_controls_something(
    rule: Rule, on: Scene
) -> None:
    for planned in checks_of(rule, on):
        assert questions(planned)
        assert all(probes for _, probes in planned.controls)
        assert all(probes for _, probes in planned.steps)


@every_rule
@every_cluster
def test_where_the_rule_holds_its_checks_pass(rule: Rule, on: Scene) -> None:
    for planned in checks_of(rule, on):
        controls, right = all_is_well(planned, on)

        result = conclude(planned.check, controls, right, on)

        assert (result.word, result.verdict.violations) == (Word.PASS, ())


@every_rule
def test_one_violation_in_any_cell_fails_the_check(rule: Rule) -> None:
    for planned, controls, right in on_the_largest(rule.id):
        broken = each_one_other(right, violation(rule))

        assert words(planned, controls, broken) == {when_violated(rule, right)}


@every_rule
def test_one_cell_that_was_not_probed_keeps_a_check_from_passing(rule: Rule) -> None:
    for planned, controls, right in on_the_largest(rule.id):
        holed = each_one_other(right, unasked)

        assert words(planned, controls, holed) == {Word.INCONCLUSIVE}


@every_rule
def test_a_check_of_which_nothing_was_probed_is_inconclusive(rule: Rule) -> None:
    for planned, controls, right in on_the_largest(rule.id):
        nothing = tuple(unasked(one) for one in right)

        assert words(planned, controls, [nothing, ()]) == {Word.INCONCLUSIVE}


NODE_ANSWERS = frozenset({Outcome.CONNECTED, Outcome.REFUSED, Outcome.RESET})


@every_rule
def test_no_outcome_but_the_named_ones_lets_a_check_pass(rule: Rule) -> None:
    named = ACCEPTED.get(rule.judge, frozenset())
    if rule.id == "POD-TO-NODE-ADDRESS":
        named = NODE_ANSWERS
    for planned, controls, right in on_the_largest(rule.id):
        others = set(Outcome) - named - {one.outcome for one in right}
        wrong = (tuple(replace(o, outcome=w) for o in right) for w in others)

        assert Word.PASS not in words(planned, controls, wrong)


@every_rule
def test_a_control_that_does_not_hold_leaves_nothing_to_say(rule: Rule) -> None:
    on = SCENES[LARGEST]
    for planned, controls, right in on_the_largest(rule.id):
        for one, answers in controls:
            others = [pair for pair in controls if pair[0] is not one]
            for broken in broken_answers(one, answers):
                result = conclude(planned.check, [*others, (one, broken)], right, on)

                assert result.word is Word.INCONCLUSIVE
                assert one.says in result.reason


@every_rule
def test_a_violation_counts_for_nothing_where_a_control_does_not_hold(
    rule: Rule,
) -> None:
    for planned, controls, right in on_the_largest(rule.id):
        violated = tuple(violation(rule)(one) for one in right)
        for one, answers in controls:
            broken = next(broken_answers(one, answers))

            assert words(planned, [(one, broken)], [violated]) == {Word.INCONCLUSIVE}


@pytest.mark.parametrize("at", [0, 1], ids=["address", "namespace"])
def test_a_container_that_came_back_elsewhere_breaks_the_rule(at: int) -> None:
    planned, controls, right = on_the_largest("SANDBOX-SURVIVES-RESTART")[0]
    kind = ("addresses", "netns")[at]
    last = max(n for n, o in enumerate(right) if o.probe.target.name == kind)
    moved = replace(right[last], values=("elsewhere",))

    result = conclude(
        planned.check,
        controls,
        (*right[:last], moved, *right[last + 1 :]),
        SCENES[LARGEST],
    )

    assert result.word is Word.FAIL
    assert result.reason == "the address or the namespace changed"


@every_rule
def test_a_step_waits_for_what_conforms_and_for_nothing_less(rule: Rule) -> None:
    on = SCENES[LARGEST]
    for planned, _, _ in on_the_largest(rule.id):
        for step, probes in planned.steps:
            right = [good(planned, probe, on) for probe in probes]

            other = violation(rule)
            assert all(step.until(one) for one in right)
            judged = filter(is_judged, right)
            assert not any(step.until(other(one)) for one in judged)
            assert not any(step.until(unasked(one)) for one in right)


ADDRESSES = "judges addresses only: POD-TO-POD and SERVICE-CLUSTER-IP judge the peer"
FROM_ANYBODY = {
    "POD-SOURCE-PRESERVED": ADDRESSES,
    "POD-DESTINATION-PRESERVED": ADDRESSES,
    "SERVICE-SOURCE-PRESERVED": ADDRESSES,
    "SERVICE-API-SERVER": "the certificate says who answered",
    "POD-TO-NODE-ADDRESS": "any answer shows that the Node is reached",
    "EGRESS-TARGET": "the target is not ours, and does not say who it is",
}


def by_a_stranger(right: Observation) -> Observation:
    return replace(right, answered_by="stranger@nowhere")


@every_rule
def test_a_connection_to_somebody_else_fails_the_check(rule: Rule) -> None:
    for planned, controls, right in on_the_largest(rule.id):
        connected = tuple(o for o in right if o.outcome is Outcome.CONNECTED)
        if not connected or rule.id in FROM_ANYBODY:
            continue
        strayed = each_one_other(connected, by_a_stranger)

        assert words(planned, controls, strayed) == {Word.FAIL}
