"""The judges, on literal observations."""

from __future__ import annotations

from dataclasses import replace

from pytest_k8snet.model import (
    Actor,
    Ask,
    Kind,
    Observation,
    Op,
    Outcome,
    Probe,
    Protocol,
    Role,
    Target,
    Verdict,
)
from pytest_k8snet.verdict import (
    all_answered,
    all_connected,
    all_equal,
    all_included,
    all_refused,
    all_silent,
    all_unique,
    all_unknown,
    as_asked,
    came_to_somebody,
    changes,
    connected_and_source_preserved,
    destination_preserved,
    every_backend,
    fair_share,
    improbable,
    is_as_allowed,
    judged,
    none_lost,
    settled,
    source_preserved,
    sticks,
)

ASK = Ask(Role.CLIENT, Op.CONNECT, Target(Kind.POD, Role.SERVER))
BACKENDS = ("server@a", "server@b")


def seen(
    outcome: Outcome = Outcome.CONNECTED,
    who: str = "",
    *,
    node: str = "a",
    number: int = 0,
) -> Observation:
    probe = Probe(ASK, Actor(Role.CLIENT, node), ASK.to, number=number)
    return Observation(probe, outcome, answered_by=who)


def served_by(*who: str, node: str = "a") -> tuple[Observation, ...]:
    drawn = (seen(who=one, node=node, number=n) for n, one in enumerate(who))
    return tuple(
        replace(
            one,
            may_answer=BACKENDS,
            probe=replace(one.probe, ask=replace(one.probe.ask, count=len(who))),
        )
        for one in drawn
    )


TIMED_OUT = seen(Outcome.TIMED_OUT)
REFUSED = seen(Outcome.REFUSED)
MISSING = seen(Outcome.NOT_PROBED)
GOOD = replace(
    seen(),
    peer="10.0.0.1",
    source_addresses=("10.0.0.1", "fd00::1"),
    local="10.0.0.9",
    dialled="10.0.0.9 8080",
)
ANSWER = replace(seen(Outcome.ANSWERED), values=("b", "a"), expected=("a", "b"))


def test_what_was_not_probed_is_unjudged_whatever_the_judge() -> None:
    judges = (all_connected, all_silent, all_unique, every_backend, settled(bool))

    assert {judged(judge, (MISSING,)) for judge in judges} == {
        Verdict(unjudged=(MISSING,))
    }


def test_a_violation_beside_a_hole_is_still_a_violation() -> None:
    verdict = judged(all_connected, (GOOD, MISSING, TIMED_OUT))

    assert verdict == Verdict(violations=(TIMED_OUT,), unjudged=(MISSING,))
    assert not verdict.conforms


def test_silence_is_any_outcome_that_nobody_served() -> None:
    unreachable, reset = seen(Outcome.UNREACHABLE), seen(Outcome.RESET)

    assert all_silent((TIMED_OUT, REFUSED, unreachable, reset)).conforms
    assert all_silent((GOOD,)).violations == (GOOD,)
    assert all_refused((REFUSED, TIMED_OUT)).violations == (TIMED_OUT,)


def test_what_came_to_another_port_came_to_somebody() -> None:
    came = {one for one in Outcome if came_to_somebody(seen(one))}

    assert came == {Outcome.CONNECTED, Outcome.REFUSED, Outcome.RESET}


def test_a_connection_counts_only_with_whom_the_rule_named() -> None:
    (stranger,) = served_by("client@b")

    assert all_connected(served_by(*BACKENDS)).conforms
    assert all_connected((stranger,)).violations == (stranger,)


def test_a_connection_counts_only_with_the_values_that_were_expected() -> None:
    wrong = replace(seen(), expected=("8080",), values=("8084",))

    assert all_connected((wrong,)).violations == (wrong,)
    assert all_connected((replace(wrong, values=("8080",)),)).conforms


def test_an_answer_is_exactly_the_expected_one_in_any_order() -> None:
    more = replace(ANSWER, values=("a", "b", "c"))

    assert all_answered((ANSWER,)).conforms
    assert all_answered((more,)).violations == (more,)
    assert all_included((more,)).conforms
    assert all_unknown((ANSWER,)).violations == (ANSWER,)
    assert all_unknown((seen(Outcome.NAME_NOT_FOUND),)).conforms


def test_the_source_is_preserved_when_the_server_saw_one_of_the_clients_own() -> None:
    masqueraded = replace(GOOD, peer="192.0.2.1")

    assert source_preserved((GOOD, replace(GOOD, peer="fd00::1"))).conforms
    assert source_preserved((masqueraded,)).violations == (masqueraded,)
    assert source_preserved((TIMED_OUT,)) == Verdict(unjudged=(TIMED_OUT,))
    assert connected_and_source_preserved((TIMED_OUT,)).violations == (TIMED_OUT,)


def test_the_destination_is_preserved_when_it_is_the_one_that_was_dialled() -> None:
    redirected = replace(GOOD, local="10.0.0.8")

    assert destination_preserved((GOOD,)).conforms
    assert destination_preserved((redirected,)).violations == (redirected,)
    assert destination_preserved((REFUSED,)).unjudged == (REFUSED,)


def test_a_backend_that_got_nothing_from_one_source_is_named() -> None:
    both = served_by(*BACKENDS, node="a")
    one = served_by("server@a", "server@a", node="b")

    verdict = every_backend(both + one)

    assert verdict.violations == (one[-1],)
    assert verdict.note == "server@b got none of 2 from client@b"
    assert every_backend(both).conforms


def test_a_backend_is_not_missed_where_not_every_draw_was_probed() -> None:
    first, second = served_by("server@a", "server@a")
    unprobed = replace(second, outcome=Outcome.NOT_PROBED)

    verdict = judged(every_backend, (first, unprobed))

    assert (verdict.violations, verdict.unjudged) == ((), (unprobed,))


def test_a_backend_is_not_missed_where_connections_failed() -> None:
    failed = replace(TIMED_OUT, may_answer=BACKENDS)

    verdict = every_backend((*served_by("server@a"), failed))

    assert verdict == Verdict(violations=(failed,))


def test_a_client_that_is_served_by_several_does_not_stick() -> None:
    strays = served_by("server@a", "server@b", "server@a")

    verdict = sticks(strays)

    assert verdict.violations == (strays[1],)
    assert verdict.note == "client@a was answered by server@a, server@b"


def test_each_client_may_stick_to_another_backend() -> None:
    first = served_by("server@a", "server@a", node="a")
    second = served_by("server@b", "server@b", node="b")

    assert sticks(first + second).conforms
    assert sticks((TIMED_OUT,)).violations == (TIMED_OUT,)


def test_an_address_with_two_owners_is_named_with_both() -> None:
    one = replace(ANSWER, values=("10.0.0.1 x/one", "10.0.0.2 x/two"))
    other = replace(ANSWER, values=("10.0.0.1 y/other",))

    verdict = all_unique((one, other))

    assert verdict.violations == (other,)
    assert verdict.note == "10.0.0.1 is both x/one and y/other"
    assert all_unique((one, one)).conforms


def test_no_address_at_all_does_not_show_that_addresses_are_unique() -> None:
    empty = replace(ANSWER, values=())

    assert all_unique((empty,)) == Verdict(unjudged=(empty,))


def test_a_change_is_reported_with_the_time_until_it_showed_everywhere() -> None:
    judge = settled(lambda o: o.outcome is Outcome.CONNECTED)
    early, late = replace(GOOD, after=0.5), replace(GOOD, after=1.25)

    assert judge((early, late)) == Verdict(note="shown everywhere after 1.25 s")
    assert judge((TIMED_OUT,)) == Verdict(violations=(TIMED_OUT,))
    assert judge((early, TIMED_OUT)).note == "shown elsewhere after 0.50 s"


def drawn(first: int, second: int, *, node: str = "a") -> tuple[Observation, ...]:
    return served_by(*["server@a"] * first, *["server@b"] * second, node=node)


def test_a_fair_share_is_what_chance_gives() -> None:
    assert fair_share(drawn(20, 20)).conforms
    assert fair_share(drawn(28, 12)).conforms


def test_a_share_that_chance_does_not_give_is_named() -> None:
    verdict = fair_share(drawn(39, 1))

    assert not verdict.conforms
    assert "server@b got 1 of 40 from client@a" in verdict.note


def test_a_small_skew_of_every_node_shows_in_all_of_them() -> None:
    skewed = [drawn(32, 8, node=node) for node in "abcd"]

    assert all(fair_share(one).conforms for one in skewed)
    verdict = fair_share(tuple(o for one in skewed for o in one))
    assert "server@b got 32 of 160 from all Nodes" in verdict.note


def test_a_draw_that_nobody_answered_is_no_fair_share() -> None:
    assert not fair_share((*drawn(20, 20), seen(Outcome.TIMED_OUT))).conforms


def test_chance_is_counted_exactly() -> None:
    assert not improbable(0, 26, 1 / 2)  # once in 67 million
    assert improbable(0, 27, 1 / 2)
    assert improbable(27, 27, 1 / 2)
    assert not improbable(5, 5, 1.0)
    assert not improbable(1333, 4000, 1 / 3)


def test_a_client_that_changes_sees_several() -> None:
    assert changes(drawn(1, 1)).conforms
    assert not changes(drawn(2, 0)).conforms
    assert not changes((*drawn(1, 1), seen(Outcome.REFUSED))).conforms
    # With attempts that were not probed, the other one may have been missed.
    assert changes(drawn(2, 0)[:1]).conforms


def test_a_client_has_to_change_each_way() -> None:
    by_tcp, by_udp = (
        tuple(
            replace(o, probe=replace(o.probe, protocol=protocol)) for o in drawn(2, 0)
        )
        for protocol in (Protocol.TCP, Protocol.UDP)
    )
    by_udp = tuple(replace(o, answered_by="server@b") for o in by_udp)

    assert changes(by_tcp + by_udp).violations == (by_tcp[-1], by_udp[-1])


def test_a_lost_datagram_is_counted() -> None:
    fine = drawn(2, 1)

    assert none_lost(fine).note == "0 of 3 lost"
    verdict = none_lost((*fine, seen(Outcome.TIMED_OUT)))
    assert (len(verdict.violations), verdict.note) == (1, "1 of 4 lost")


def told(*values: str, node: str = "a") -> Observation:
    return replace(seen(Outcome.ANSWERED, node=node), values=values)


def test_who_says_other_than_most_is_named() -> None:
    odd = told("1450", node="c")

    assert all_equal((told("1500"), told("1500", node="b"))).conforms
    verdict = all_equal((told("1500"), told("1500", node="b"), odd))
    assert (verdict.violations, verdict.note) == ((odd,), "1500 and 1450")


def test_who_says_nothing_is_not_judged() -> None:
    mute = replace(told(), outcome=Outcome.TIMED_OUT)

    assert all_equal((mute,)).unjudged == (mute,)


def asked(op: Op, timeout: str, outcome: Outcome) -> Observation:
    one = seen(outcome)
    ask = replace(ASK, op=op, timeout=timeout)
    return replace(one, probe=replace(one.probe, ask=ask))


def test_a_step_conforms_as_its_ask_means() -> None:
    assert as_asked(asked(Op.CONNECT, "poll", Outcome.CONNECTED))
    assert not as_asked(asked(Op.CONNECT, "poll", Outcome.REFUSED))
    assert as_asked(asked(Op.CONNECT, "silence", Outcome.TIMED_OUT))
    assert not as_asked(asked(Op.CONNECT, "silence", Outcome.CONNECTED))
    assert as_asked(asked(Op.DNS, "poll", Outcome.ANSWERED))
    assert not as_asked(asked(Op.DNS, "poll", Outcome.NAME_NOT_FOUND))
    assert as_asked(asked(Op.DNS, "silence", Outcome.NAME_NOT_FOUND))
    assert not as_asked(asked(Op.DNS, "silence", Outcome.TIMED_OUT))


def test_what_is_blocked_must_be_silent_and_all_else_must_answer() -> None:
    (open_one,) = served_by("server@a")
    ask = replace(open_one.probe.ask, blocked=True)
    shut = replace(open_one, probe=replace(open_one.probe, ask=ask))

    assert is_as_allowed(open_one)
    assert not is_as_allowed(shut)
    assert is_as_allowed(replace(shut, outcome=Outcome.TIMED_OUT))
    assert not is_as_allowed(replace(open_one, outcome=Outcome.TIMED_OUT))
    assert not is_as_allowed(replace(shut, outcome=Outcome.NOT_PROBED))
