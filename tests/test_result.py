"""From observations to words and lines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scenes import DUAL, GIVEN, facts, plan_of, reply_of, scene, seen

from pytest_k8snet import wire
from pytest_k8snet.agent.by_hand import spelled
from pytest_k8snet.agent.dns_messages import reverse_name
from pytest_k8snet.model import (
    Actor,
    Check,
    Deviation,
    Feature,
    Kind,
    Observation,
    Op,
    Outcome,
    Role,
    Verdict,
    Word,
)
from pytest_k8snet.plan import checks
from pytest_k8snet.pulses import before, most_late
from pytest_k8snet.result import (
    Result,
    broken,
    by_cell,
    by_place,
    conclude,
    describe,
    does_so,
    excused,
    explain,
    heirs,
    inconclusive,
    not_applicable,
    reproduction,
    shape,
    withdrawn,
)
from pytest_k8snet.rules import RULES
from pytest_k8snet.rules.pod_network import POD_TO_HOST_NETWORK
from pytest_k8snet.verdict import is_connected

ON = scene(facts(3, DUAL, given=GIVEN, features=frozenset(Feature)))
PLANS = {p.check.id: p for p in plan_of(ON.facts).checks}


def probes_of(check: str) -> tuple[Observation, ...]:
    """Give what the probes of a check see where all is well."""
    return tuple(seen(p, ON, reply_of(p, ON)) for p in PLANS[check].probes)


def dead(one: Observation) -> Observation:
    return replace(
        one, outcome=Outcome.TIMED_OUT, phase="connect", answered_by="", peer=""
    )


CROSS = probes_of("POD-TO-POD-tcp-ipv4-cross-node")
SAME = probes_of("POD-TO-POD-tcp-ipv4-same-node")
CHECK = PLANS["POD-TO-POD-tcp-ipv4-cross-node"].check


def failed(*violations: Observation, check: Check = CHECK) -> Result:
    return conclude(check, [], violations, ON)


def on(*pairs: str) -> tuple[Observation, ...]:
    """Give one observation for each pair of Nodes, as "ab"."""
    every = {
        f"{o.probe.source.node}{o.probe.target.node}": dead(o) for o in CROSS + SAME
    }
    return tuple(every[pair] for pair in pairs)


# ----------------------------------------------------------------------------- words


def test_a_check_that_does_not_apply_says_why() -> None:
    assert not_applicable(CHECK, "why").word is Word.NOT_APPLICABLE
    assert inconclusive(CHECK, "why").reason == "why"


def test_a_hole_is_described_and_the_others_are_counted() -> None:
    holes = [wire.not_probed(o.probe, ON, "it is gone") for o in CROSS[:3]]

    result = conclude(CHECK, [], (*holes, *CROSS[3:]), ON)

    assert result.word is Word.INCONCLUSIVE
    assert result.reason == (
        "not judged: client@a -> server@b tcp/ipv4  not probed (it is gone) "
        "(and 2 more)"
    )


def test_a_control_with_several_backends_needs_more_than_one_to_answer() -> None:
    planned = PLANS["SERVICE-SESSION-AFFINITY-tcp-ipv4"]
    control, probes = planned.controls[-1]
    one = tuple(seen(p, ON, reply_of(p, ON)) for p in probes)
    more = tuple(seen(p, ON, reply_of(p, ON, rotate=True)) for p in probes)

    assert broken(control, one) == "client@a saw one only"
    assert broken(control, more) == ""


# ------------------------------------------------------------------- known deviations

KINDNET = replace(ON, facts=replace(ON.facts, network_plugin="kindnet"))
DEVIATES = Check(
    replace(
        POD_TO_HOST_NETWORK, deviations=(Deviation("kindnet", "known", is_connected),)
    )
)
MASQUERADED = replace(
    probes_of("POD-TO-HOST-NETWORK-tcp-ipv4-cross-node")[0], peer="192.0.2.10"
)


def test_what_a_network_plugin_is_known_to_do_is_let_pass_there_only() -> None:
    known = conclude(DEVIATES, [], (MASQUERADED,), KINDNET)

    assert (known.word, known.reason) == (Word.KNOWN_DEVIATION, "known")
    assert conclude(DEVIATES, [], (MASQUERADED,), ON).word is Word.FAIL


@pytest.mark.parametrize(
    ("version", "known"),
    [("", True), ("1.9.12", True), ("1.17.0", False), ("1.18", False), ("2.0", False)],
)
def test_a_deviation_ends_with_the_version_that_has_it_no_more(
    version: str, known: bool
) -> None:
    deviation = Deviation("Cilium", "before 1.17", is_connected, before="1.17")
    facts = replace(ON.facts, network_plugin="Cilium", network_plugin_version=version)

    assert does_so(facts, deviation) is known


def test_a_deviation_excuses_no_other_violation() -> None:
    lost = dead(MASQUERADED)

    assert conclude(DEVIATES, [], (MASQUERADED, lost), KINDNET).word is Word.FAIL


def test_a_deviation_hides_nothing_that_was_not_probed() -> None:
    hole = wire.not_probed(MASQUERADED.probe, ON, "gone")

    result = conclude(DEVIATES, [], (MASQUERADED, hole), KINDNET)

    assert result.word is Word.INCONCLUSIVE


# --------------------------------------------------------------------- starved agents


@pytest.mark.parametrize(
    ("starved", "outcome"),
    [
        ({}, Outcome.TIMED_OUT),
        ({"b": 1.9}, Outcome.TIMED_OUT),
        ({"b": 2.0}, Outcome.NOT_PROBED),
        ({"c": 9.0}, Outcome.TIMED_OUT),
    ],
)
def test_a_time_out_counts_only_where_both_agents_were_let_run(
    starved: dict[str, float], outcome: Outcome
) -> None:
    (lost,) = on("ab")

    assert excused(lost, lambda _: starved).outcome is outcome
    assert excused(CROSS[0], lambda _: starved) is CROSS[0]


def test_a_transfer_had_the_time_for_which_it_went_on() -> None:
    stuck = replace(dead(probes_of("POD-BULK-ipv4-cross-node")[0]), seconds=4.7)
    node = stuck.probe.target.node

    assert excused(stuck, lambda _: {node: 2.5}).outcome is Outcome.NOT_PROBED
    assert excused(stuck, lambda _: {node: 2.3}) is stuck


@pytest.mark.parametrize(
    ("within", "worst"), [(0.5, 0.5), (2.0, 2.0), (4.0, 2.5), (10.0, 3.0)]
)
def test_lateness_adds_up_within_the_time_that_a_probe_had(
    within: float, worst: float
) -> None:
    late = [(10.0, 0.5), (14.0, 0.5), (16.0, 2.0)]

    assert most_late(late, within) == worst


def test_lateness_counts_until_a_probe_was_over() -> None:
    late = [(3.0, 1.0), (5.0, 1.5), (9.0, 2.0)]

    assert before(late, 4.0) == [(3.0, 1.0), (4.0, 0.5)]
    assert before(late, 10.0) == late


def test_a_replica_that_was_replaced_owes_no_answer() -> None:
    answered = probes_of("DNS-EVERY-REPLICA-udp-ipv4")[0]
    silent = dead(answered)
    replica = silent.probe.target.name

    assert withdrawn(silent, ["192.0.2.99"]).outcome is Outcome.NOT_PROBED
    assert withdrawn(silent, [replica]) is silent
    assert withdrawn(answered, []) is answered
    # Nobody else is a replica.
    assert withdrawn(dead(CROSS[0]), []).outcome is Outcome.TIMED_OUT


def test_in_place_of_a_replica_that_is_gone_a_new_one_is_asked() -> None:
    answers = [
        one
        for check in ("DNS-EVERY-REPLICA-udp-ipv4", "DNS-EVERY-REPLICA-tcp-ipv4")
        for one in probes_of(check)
    ]
    names = sorted(
        {o.probe.target.name for o in answers if ":" not in o.probe.target.name}
    )
    gone, *left = names
    told = tuple(dead(o) if o.probe.target.name == gone else o for o in answers)

    instead = heirs(told, [*left, "192.0.2.99", "2001:db8::99"])

    assert {p.target.name for p in instead} == {gone}
    assert {p.target.name for p in instead.values()} == {"192.0.2.99"}
    assert {p.target.port for p in instead} == {p.target.port for p in instead.values()}
    # It is nobody's heir that was asked itself, and there is none while all are there.
    assert heirs(told, left) == {}
    assert heirs(told, names) == {}


def test_a_time_out_through_a_service_counts_only_where_all_were_let_run() -> None:
    lost = dead(probes_of("SERVICE-CLUSTER-IP-tcp-ipv4-cross-node")[0])

    assert excused(lost, lambda _: {"c": 9.0}).outcome is Outcome.NOT_PROBED


@pytest.mark.parametrize(
    ("outcome", "there"),
    [
        (Outcome.CONNECTED, True),
        (Outcome.REFUSED, True),
        (Outcome.TIMED_OUT, False),
        (Outcome.UNREACHABLE, False),
    ],
)
def test_a_node_that_answers_a_handshake_is_there(
    outcome: Outcome, there: bool
) -> None:
    control, probes = PLANS["NODEPORT-EVERY-NODE-tcp-ipv4"].controls[-1]

    assert wire.request(probes[0], ON)["handshake"]
    assert control.holds(seen(probes[0], ON, {"outcome": outcome})) is there


def test_what_was_asked_for_long_is_excused_by_a_long_pause_only() -> None:
    (lost,) = on("ab")

    longer = replace(lost, seconds=10.0)

    assert excused(longer, lambda _: {"b": 2.0}).outcome is Outcome.TIMED_OUT


def test_shorter_attempts_are_excused_by_shorter_pauses() -> None:
    (lost,) = on("ab")

    assert excused(lost, lambda _: {"b": 0.6}).outcome is Outcome.TIMED_OUT
    assert excused(lost, lambda _: {"b": 0.6}, 0.25).outcome is Outcome.NOT_PROBED


# ------------------------------------------------------------------------ descriptions


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (
            CROSS[0],
            (
                "client@a -> server@b tcp/ipv4 [10.244.1.4 8080]  connected, "
                "answered by server@b"
            ),
        ),
        (
            replace(dead(CROSS[0]), detail="EHOSTUNREACH"),
            (
                "client@a -> server@b tcp/ipv4 [10.244.1.4 8080]  timed out "
                "(connect, EHOSTUNREACH)"
            ),
        ),
        (
            replace(CROSS[0], answered_by="server@c", peer="192.0.2.10"),
            (
                "client@a -> server@b tcp/ipv4 [10.244.1.4 8080]  connected, "
                "answered by server@c, should be server@b, "
                "source seen is 192.0.2.10, should be 10.244.0.2"
            ),
        ),
        (
            replace(CROSS[0], peer="10.9.9.9", source_addresses=("fd00::2",)),
            (
                "client@a -> server@b tcp/ipv4 [10.244.1.4 8080]  connected, "
                "answered by server@b, source seen is 10.9.9.9, should be fd00::2"
            ),
        ),
        (
            replace(probes_of("DNS-SERVICE-udp-ipv4")[0], values=()),
            (
                "client@a -> two-protocols.k8snet-r1-server.svc.cluster.local udp/ipv4"
                "  answered, got nothing, should be 10.96.1.4"
            ),
        ),
        (
            replace(
                probes_of("DNS-NODATA-tcp")[0], values=tuple("abcdef"), expected=()
            ),
            (
                "client@a -> two-protocols.k8snet-r1-server.svc.cluster.local TXT/tcp"
                "  answered, got a, b, c, d and 2 more"
            ),
        ),
        (
            replace(probes_of("NODE-READY")[0], values=("KubeletNotReady",)),
            (
                "api@a  answered, got KubeletNotReady, "
                "should be ready, network available, address"
            ),
        ),
    ],
)
def test_one_line_says_what_was_seen_and_what_should_have_been(
    one: Observation, text: str
) -> None:
    assert describe(one) == text


def test_a_failure_reads_from_the_requirement_to_the_command_that_repeats_it() -> None:
    result = conclude(CHECK, [], (*on("ab", "cb"), *CROSS[1:3]), ON)

    assert explain(replace(result, reason="a note")).splitlines() == [
        (
            "POD-TO-POD-tcp-ipv4-cross-node: Every Pod MUST reach every other Pod at "
            "its Pod IP."
        ),
        "  2 of 4 cells: to b",
        "  client@c -> server@b tcp/ipv4 [10.244.1.4 8080]  timed out (connect)",
        "  client@a -> server@b tcp/ipv4 [10.244.1.4 8080]  timed out (connect)",
        "  seen: a note",
        f"  usually: {CHECK.rule.usually}",
        f"  spec: {CHECK.rule.spec}",
        (
            "  reproduce: kubectl --context paper -n k8snet-r1-client exec client-0 "
            "-c main -- python3 -m agent tcp 10.244.1.4 8080"
        ),
    ]


def test_a_long_failure_shows_the_first_cells_and_counts_the_rest() -> None:
    rule = replace(CHECK.rule, usually="")
    every = on("aa", "ab", "ac", "ba", "bb", "bc", "ca", "cb", "cc")

    lines = explain(failed(*every, check=Check(rule))).splitlines()

    assert lines[1] == "  9 of 9 cells: 9 pairs of Nodes"
    assert "  ... and 3 more cells" in lines
    assert not [line for line in lines if "usually" in line]


def test_what_nobody_can_repeat_by_hand_ends_with_the_specification() -> None:
    wrong = replace(probes_of("NODE-READY")[0], values=("KubeletNotReady",))

    lines = explain(failed(wrong, check=PLANS["NODE-READY"].check)).splitlines()

    assert lines[-1].startswith("  spec: https://")


def test_attempts_at_one_pair_are_one_cell() -> None:
    attempts = probes_of("SERVICE-ALL-BACKENDS-tcp-ipv4")

    result = failed(*attempts)

    assert result.cells == 3
    assert len(by_cell(attempts)) == 3


# -------------------------------------------------------------------------------- shape


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ((), "nowhere"),
        (("aa",), "on a"),
        (("ab",), "from a to b"),
        (("ab", "ac"), "from a"),
        (("ab", "cb"), "to b"),
        (("ab", "bc"), "to and from b"),
        (("ab", "bc", "ca"), "3 pairs of Nodes"),
    ],
)
def test_violations_are_placed_as_narrowly_as_can_be(
    pairs: tuple[str, ...], words: str
) -> None:
    assert shape(on(*pairs)) == words


def test_what_is_unsupported_in_one_place_hides_no_violation_elsewhere() -> None:
    lacking = replace(dead(CROSS[0]), outcome=Outcome.UNSUPPORTED, detail="no SCTP")

    harmless = conclude(CHECK, [], (lacking, *CROSS[1:]), ON)
    broken_too = conclude(CHECK, [], (lacking, dead(CROSS[1]), *CROSS[2:]), ON)

    assert harmless.word is Word.NOT_APPLICABLE
    assert "no SCTP" in harmless.reason
    assert broken_too.word is Word.FAIL


def test_what_has_no_node_at_either_end_is_on_none() -> None:
    (one,) = on("ab")
    source = replace(one.probe.source, node="")
    target = replace(one.probe.target, node="")
    nowhere = replace(one, probe=replace(one.probe, source=source, target=target))

    assert shape([nowhere]) == "at no Node"


def test_what_has_one_end_only_is_on_its_node() -> None:
    outside = probes_of("NODEPORT-EVERY-NODE-tcp-ipv4")[0]
    facts_of_a = probes_of("DNS-RESOLV-CONF")[0]

    assert shape([outside]) == "on a"
    assert shape([facts_of_a]) == "on a"


def test_failures_are_grouped_by_place_the_largest_group_first() -> None:
    results = [failed(*on("ab")), failed(*on("cc")), failed(*on("cc")), failed(*SAME)]

    groups = by_place(results)

    assert list(groups) == ["on c", "from a to b"]
    assert groups["on c"] == results[1:3]


# ------------------------------------------------------------------------ reproduction

REPEATABLE = {Op.CONNECT, Op.BULK, Op.FULL_SIZE, Op.LOOKUP, Op.DNS, Op.FETCH}


@pytest.mark.parametrize("check", checks(RULES), ids=str)
def test_the_command_of_a_failure_asks_what_the_probe_asked(check: Check) -> None:
    for probe in PLANS[check.id].probes:
        line = reproduction(seen(probe, ON, reply_of(probe, ON)), ON)
        if probe.ask.op not in REPEATABLE:
            assert line == ""
            continue
        words = line.partition("-m agent ")[2].split()
        asked, again = wire.request(probe, ON), spelled(words[0], words[1:])
        same = {"op", "name", "type", "transport", "port", "protocol", "server"}
        same |= {"host", "path", "tls"}
        if probe.ask.op is Op.BULK:
            same.remove("op")
        if probe.target.kind is Kind.NAME and probe.ask.op is Op.CONNECT:
            asked = {**asked, "address": asked.pop("name")}
        if asked.get("reverse"):
            asked["name"] = reverse_name(asked["name"])
        wanted = {"server": "-"} | asked if probe.ask.op is Op.DNS else asked
        both = same & set(wanted) & set(again)

        assert {k: again[k] for k in both} == {k: wanted[k] for k in both}
        assert again.get("address") == wanted.get("address")


def test_nothing_repeats_a_probe_whose_pod_is_gone() -> None:
    assert reproduction(CROSS[0], replace(ON, pods={})) == ""


def test_what_the_outside_asked_is_repeated_there() -> None:
    (one, *_) = probes_of("NODEPORT-EVERY-NODE-udp-ipv6")

    line = reproduction(one, ON)

    assert line.startswith("outside -m agent udp 2001:db8::10 3")
    assert one.probe.source == Actor(Role.OUTSIDE)


def test_a_result_without_a_verdict_has_no_failed_cells() -> None:
    assert Result(CHECK, Word.PASS).failed_cells == 0
    assert Verdict().conforms
