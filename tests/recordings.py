"""Recorded runs: real ones, kept as files, and ones of any size, made on paper."""

from __future__ import annotations

import gzip
import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenes import DUAL, facts, plan_of

from pytest_k8snet.model import Observation, Outcome, Verdict, Word
from pytest_k8snet.plan import checks, in_profile
from pytest_k8snet.report.document import document
from pytest_k8snet.report.recording import read
from pytest_k8snet.report.schema import SuiteDocument
from pytest_k8snet.result import Result, not_applicable
from pytest_k8snet.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_k8snet.model import Probe, Profile, Rule
    from pytest_k8snet.report.recording import Recording
    from pytest_k8snet.report.schema import Report

FOLDER = Path(__file__).parent / "recordings"
FIGURES: dict[str, Any] = {
    "total": 7.25,
    "phases": {"create": 0.5, "probe": 1.25},
    "settle": 0.75,
    "unsettled": 0,
    "probes": 100,
    "api_requests": 20,
    "controller_rss_mib": 61.4,
}
SUITE = SuiteDocument(version="0.1.0", rules=len(RULES))


def real(name: str) -> Recording:
    """Give a recorded run: of three Nodes, healthy or with one cut off."""
    return read((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def of_fault(name: str) -> Recording:
    """Give a recorded run of the fault tests: the faults were on worker or worker2."""
    packed = (FOLDER / "faults" / f"{name}.json.gz").read_bytes()
    return read(gzip.decompress(packed).decode())


def looked_at(name: str) -> Recording:
    """Give a recorded run with a fault and what was looked at because of it."""
    packed = (FOLDER / "evidence" / f"{name}.json.gz").read_bytes()
    return read(gzip.decompress(packed).decode())


def rules_of(profile: Profile) -> list[Rule]:
    return [rule for rule in RULES if in_profile(rule, profile)]


def on_paper(
    nodes: int, rules: Iterable[Rule], *, cut_off: str = "", seed: int = 1
) -> Report:
    """Give a run in which all is well, but for what crosses to or from one Node."""
    chance = random.Random(seed)  # noqa: S311 - of times, and nothing else
    plan = plan_of(facts(nodes, DUAL), checks(rules))
    ranks = {n.name: rank for rank, n in enumerate(plan.facts.nodes)} | {"": 0}
    seen: dict[Probe, Observation] = {}

    def see(probe: Probe) -> Observation:
        if probe not in seen:
            seconds = chance.lognormvariate(-7.5, 0.6)
            seen[probe] = answer(probe, ranks, seconds, cut_off)
        return seen[probe]

    results = [not_applicable(check, why) for check, why in plan.skipped]
    for one in plan.checks:
        asked = [*one.probes, *(p for _, probes in one.steps for p in probes)]
        told = tuple(see(probe) for probe in asked)
        wrong = tuple(o for o in told if o.outcome is Outcome.TIMED_OUT)
        word = Word.FAIL if wrong else Word.PASS
        results.append(Result(one.check, word, "", Verdict(wrong), told))
    return document(plan, results, FIGURES, started=0.0, suite=SUITE, problems={})


def answer(
    probe: Probe, ranks: dict[str, int], seconds: float, cut_off: str
) -> Observation:
    """Give an observation with every field that a real one has."""
    source, target = probe.source.node, probe.target.node
    of_source, of_target = (
        f"10.{rank // 250}.{rank % 250}.7"
        for rank in (ranks[source], ranks.get(target, 0))
    )
    if source != target and cut_off and cut_off in (source, target):
        return Observation(probe, Outcome.TIMED_OUT, phase="connect", seconds=4.0)
    well = Observation(
        probe,
        Outcome.CONNECTED,
        seconds=seconds,
        dialled=f"{of_target} 8080",
        answered_by=f"server@{target}",
        peer=of_source,
        local=of_target,
        source_addresses=(of_source, f"fd00::{ranks[source]:x}"),
        may_answer=(f"server@{target}",),
    )
    return replace(well, after=seconds) if probe.ask.timeout == "poll" else well
