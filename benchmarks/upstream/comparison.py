"""Puts upstream's verdicts and times beside ours: plain values in, plain values out."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from benchmarks.suite import spread, summarize

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from .coverage import Covered
    from .run import UpstreamRun

# Of the rules that cover a test, the worst speaks; not-applicable says nothing.
WORST_FIRST = ("fail", "known-deviation", "inconclusive", "pass", "not-applicable")
SAYS_NO = {"fail", "known-deviation"}
NO_RULE = "no rule"

PROBLEMS = ("disagreements", "not shown", "unaccounted")
"""Where a comparison has any of these, it has not shown that both sides agree."""


def compare(
    names: Collection[str],
    table: Sequence[Covered],
    ours: Mapping[str, Sequence[dict[str, Any]]],
    upstream: Mapping[str, UpstreamRun],
) -> dict[str, Any]:
    """Compare, as far as it was run.

    Args:
        names: of the tests that upstream counts as network conformance.
        table: which rules cover which of them.
        ours: runs of our suite, as ``suite.run_once`` gives them, by what was run;
            at least one of each.
        upstream: upstream's runs, by how they were run.

    """
    words: dict[str, set[str]] = {}
    for one in (run for runs in ours.values() for run in runs):
        for rule, said in one["rules"].items():
            words.setdefault(rule, set()).update(said)
    tests = [one_test(covered, words, upstream) for covered in table]
    return {
        "ours": {what: summarize(list(runs)) for what, runs in ours.items()},
        "upstream": {kind: of_run(run, names) for kind, run in upstream.items()},
        "ratios": {
            kind: {
                what: spread([run.wall / mine["wall"] for mine in runs])
                for what, runs in ours.items()
            }
            for kind, run in upstream.items()
        },
        "tests": tests,
        "uncovered": [t["name"] for t in tests if not t["rules"]],
        "partly covered": [t["name"] for t in tests if t["rules"] and t["left"]],
        "disagreements": [t["name"] for t in tests if not t["agree"]],
        "not shown": [t["name"] for t in tests if not is_shown(t)],
        "unaccounted": sorted(set(names) ^ {covered.name for covered in table}),
    }


def one_test(
    covered: Covered,
    words: Mapping[str, Collection[str]],
    upstream: Mapping[str, UpstreamRun],
) -> dict[str, Any]:
    """Put the verdicts on one test side by side."""
    said = {kind: word_of(run, covered.name) for kind, run in upstream.items()}
    rules = {rule: sorted(words.get(rule, ())) for rule in covered.rules}
    mine = worst([word for found in rules.values() for word in found])
    return {
        "name": covered.name,
        "upstream": said,
        "seconds": {
            kind: round(run.tests[covered.name].seconds, 1)
            for kind, run in upstream.items()
            if covered.name in run.tests
        },
        "ours": mine,
        "rules": rules,
        "left": covered.left,
        "agree": agree(mine, said.values()),
    }


def word_of(run: UpstreamRun, name: str) -> str:
    """Say what became of a test in a run."""
    ran = run.tests.get(name)
    return ran.word if ran else "not run"


def worst(words: Collection[str]) -> str:
    """Give the one word for all rules that cover a test."""
    return next((word for word in WORST_FIRST if word in words), NO_RULE)


def agree(mine: str, theirs: Collection[str]) -> bool:
    """Whether both say the same, of what both have judged; runs must agree, too."""
    judged = {word == "pass" for word in theirs if word in {"pass", "fail"}}
    if mine == "pass" or mine in SAYS_NO:
        judged.add(mine == "pass")
    return len(judged) < len({True, False})


def is_shown(test: Mapping[str, Any]) -> bool:
    """Whether every side came to its end; who has nothing to judge did, too."""
    return test["ours"] != "inconclusive" and "not run" not in test["upstream"].values()


def of_run(run: UpstreamRun, names: Collection[str]) -> dict[str, Any]:
    """Give the figures of one of upstream's runs."""
    counts = Counter(word_of(run, name) for name in names)
    return {"wall": round(run.wall, 3), "results": dict(sorted(counts.items()))}


def table(document: Mapping[str, Any]) -> str:
    """Write the comparison as text."""
    kinds = list(document["upstream"])
    lines = [f"{'seconds':34}{'min':>8}{'median':>8}{'max':>8}  results"]
    for what, mine in document["ours"].items():
        title = f"{mine['runs']} x ours, {what}"
        found = f"{_three(mine['figures']['wall'])}  {_counts(mine['results'])}"
        lines.append(f"{title:34}{found}")
    for kind, run in document["upstream"].items():
        title = f"1 x upstream, {kind}"
        lines.append(f"{title:34}{run['wall']:16.1f}{'':8}  {_counts(run['results'])}")
    lines += ["", f"{'upstream / ours':34}{'min':>8}{'median':>8}{'max':>8}"]
    for kind, ratios in document["ratios"].items():
        lines += [f"{f'{kind} / {w}':34}{_three(ratio)}" for w, ratio in ratios.items()]
    lines.append("")
    heads = "".join(f"{kind:>15}" for kind in kinds)
    lines.append(f"{heads}  {'ours':14} test of upstream: rules of ours")
    lines += [_line(test, kinds) for test in document["tests"]]
    for title, chosen in (
        ("covered by no rule", "uncovered"),
        ("covered in part", "partly covered"),
    ):
        names = set(document[chosen])
        lines += ["", f"{title}: {len(names)}"]
        lines += [
            f"  {short(test['name'])}: {test['left']}"
            for test in document["tests"]
            if test["name"] in names
        ]
    for title in PROBLEMS:
        listed = "; ".join(map(short, document[title]))
        lines += ["", f"{title}: {listed or 'none'}"]
    return "\n".join(lines)


def _line(test: Mapping[str, Any], kinds: Sequence[str]) -> str:
    cells = "".join(
        f"{test['upstream'][kind]:>8}{test['seconds'].get(kind, 0):>7.1f}"
        for kind in kinds
    )
    rules = " ".join(test["rules"]) or "-"
    return f"{cells}  {test['ours']:14} {short(test['name'])}: {rules}"


def _three(spread: Mapping[str, float]) -> str:
    return "".join(f"{spread[name]:8.1f}" for name in ("min", "median", "max"))


def _counts(results: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in results.items())


def short(name: str) -> str:
    """Leave out what the names of all of upstream's tests have in common."""
    return name.removeprefix("[sig-network] ").removesuffix(" [Conformance]")
