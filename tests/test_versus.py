"""Runs side by side: what a person has to know who chooses between networks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from recordings import of_fault, real

from pytest_k8snet.model import Word
from pytest_k8snet.report import versus
from pytest_k8snet.report.recording import Recording, recorded

if TYPE_CHECKING:
    from pytest_k8snet.model import Observation


def rows(title: str, **runs: Recording) -> dict[str, tuple[str, ...]]:
    """Give the rows of a section, by their first cell."""
    (found,) = [one for one in versus.sections(runs) if one.title == title]
    return {first: tuple(others) for first, *others in found.rows}


def lines(title: str, **runs: Recording) -> list[str]:
    return list(rows(title, **runs))


def answering(run: Recording, seconds: float, after: float = 0.0) -> Recording:
    """Give a run in which all answers take so much more, and all changes."""
    late: dict[int, Observation] = {}
    for o in (o for one in run.results for o in one.seen):
        then = None if o.after is None else o.after + after
        # What several rules judge is one and the same.
        late.setdefault(id(o), replace(o, seconds=o.seconds + seconds, after=then))
    results = tuple(
        replace(one, seen=tuple(late[id(o)] for o in one.seen)) for one in run.results
    )
    return replace(run, results=results)


def deviating(run: Recording, rule: str, reason: str) -> Recording:
    """Give a run in which a rule is known not to be kept."""
    results = tuple(
        replace(one, word=Word.KNOWN_DEVIATION, reason=reason)
        if one.check.rule.id == rule
        else one
        for one in run.results
    )
    return replace(run, results=results)


def test_what_was_tested_is_told() -> None:
    about = rows("Runs", one=real("healthy"), two=real("version1"))

    assert about["Pods' MTU"] == ("1500", "not asked")
    assert about["kubelets"] == ("v1.36.1 x 3", "v1.36.1 x 3")


def test_features_are_told_one_by_one() -> None:
    run = real("healthy")
    less = run.report.environment.model_copy(update={"features": ["DualStack"]})
    other = replace(run, report=run.report.model_copy(update={"environment": less}))

    told = rows("Features", one=other, two=run)

    assert told["DualStack"] == ("yes", "yes")
    assert told["HealthCheckNodePort"] == ("-", "yes")


def test_the_fastest_answers_are_compared_and_marked_beyond_noise() -> None:
    run = real("healthy")

    times = rows("Fastest answers", a=run, b=answering(run, 0.001))
    far = rows("Fastest answers", a=run, b=answering(run, 0.5), c=run)
    back = rows("Fastest answers", a=answering(run, 0.5), b=run)

    assert "connect to Pod tcp cross-node" in times
    assert not any("slower" in cell for row in times.values() for cell in row)
    assert all(b.endswith(" ms slower") for _, b, _ in far.values())
    assert all(a == c for a, _, c in far.values())
    assert all(b.endswith(" ms faster") for _, b in back.values())


def test_answers_that_take_no_network_or_are_too_few_are_left_out() -> None:
    times = rows("Fastest answers", a=real("healthy"), b=real("healthy"))

    assert {"fact", "status", "bind to loopback tcp"}.isdisjoint(times)
    assert "exec" not in times, "there are three of them"


def test_changes_that_show_later_are_marked() -> None:
    run = real("healthy")

    shown = rows("Time until a change shows", a=run, b=answering(run, 0.0, 5.0))

    assert shown["SERVICE-BACKEND-ADDED"][1].endswith(" s slower")
    assert "slower" not in shown["SERVICE-BACKEND-ADDED"][0]


def test_what_does_not_pass_is_told_with_its_reason() -> None:
    well = real("healthy")
    odd = deviating(well, "SERVICE-HAIRPIN", "no hairpin: some/project#1")

    said = lines("What does not pass", bridge=well, other=odd)

    assert said == [
        "bridge: all that applies passes",
        "other",
        "  known-deviation: no hairpin: some/project#1",
        "    SERVICE-HAIRPIN",
    ]


def test_what_fails_is_told_by_its_cause_with_some_of_its_rules() -> None:
    said = lines(
        "What does not pass", a=real("healthy"), b=of_fault("pod-traffic-dropped")
    )

    assert said[1] == "b"
    assert any(line.endswith(" more") for line in said)
    assert len(said) == len(set(said))


def test_only_rules_that_apply_to_one_of_the_runs_are_told() -> None:
    well = real("healthy")
    policies = {r.check.rule.id for r in well.results if r.check.rule.mark == "policy"}
    results = tuple(
        replace(r, word=Word.PASS) if r.check.rule.id in policies else r
        for r in well.results
    )

    both = deviating(replace(well, results=results), "SERVICE-HAIRPIN", "no hairpin")
    differing = list(rows("Rules that differ", a=well, b=both))
    alone = lines("What does not pass", a=well, b=well)
    beside = lines("What does not pass", a=well, b=replace(well, results=results))

    assert alone == ["a: all that applies passes", "b: all that applies passes"]
    assert differing[0] == "SERVICE-HAIRPIN", "what is not kept comes first"
    assert set(differing[1:]) == policies
    assert beside[:2] == [
        "a",
        "  not-applicable: no network plugin enforces NetworkPolicy",
    ]


def test_the_nodes_of_another_cluster_stand_for_nobody() -> None:
    one = real("healthy")
    text = one.report.model_dump_json().replace("worker2", "worker9")
    replaced = recorded(type(one.report).model_validate_json(text))
    elsewhere = text.replace(one.report.environment.context, "k8snet-other")
    other = recorded(type(one.report).model_validate_json(elsewhere))

    same = lines("From a to b", a=one, b=replaced)
    apart = lines("From a to b", a=one, b=other)

    assert "  stands for worker2: worker9" in same
    assert len(apart) == 1


def test_what_changed_is_told_by_rule() -> None:
    said = lines("From a to b", a=real("healthy"), b=real("worker2-cut-off"))

    assert said[0].startswith("170 regressed, 0 fixed, 0 new, 0 gone, of ")
    assert "  regressed  POD-TO-POD  pass -> fail in 4 checks, 16 cells" in said
    back = lines("From a to b", a=real("worker2-cut-off"), b=real("healthy"))
    assert "  fixed      POD-TO-POD  fail -> pass in 4 checks, 16 cells" in back


def test_results_are_counted_in_the_words_of_every_format() -> None:
    about = rows("Runs", a=real("healthy"), b=real("worker2-cut-off"))

    assert about["fail"][0] == "0"
    assert int(about["pass"][0]) > int(about["pass"][1]) > 0
