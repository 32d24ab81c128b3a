"""Looks closer at what failed, before everything is removed; never in its way."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from pytest_k8snet.cluster.errors import ClusterError
from pytest_k8snet.diagnose import suspects

if TYPE_CHECKING:
    from pytest_k8snet.lab import Lab
    from pytest_k8snet.plugin.session import Run

MOST_SAID = 3


def look(run: Run, lab: Lab) -> None:
    """Gather evidence of what may be the cause of what is wrong; say what lacks.

    Whatever goes wrong here, the results stay as they are.
    """
    questions = suspects(lab.plan.facts, run.results, lab.problems)
    if not questions:
        return
    started = time.monotonic()
    run.say(f"k8snet: looking closer at what is wrong: {len(questions)} questions")
    try:
        run.evidence = lab.gather(
            questions,
            inspect=run.settings["inspect-nodes"],
            seconds=run.settings["timeout-evidence"],
        )
    except KeyboardInterrupt:
        run.say("k8snet: interrupted: the findings are without evidence")
        return
    except ClusterError as error:
        run.say(f"k8snet: no evidence could be gathered: {error}")
        return
    problems = Counter(a.problem for a in run.evidence.values() if a.problem)
    known = len(questions) - problems.total()
    took = time.monotonic() - started
    run.say(f"k8snet: answered {known} of {len(questions)}  {took:.1f} s")
    for why, count in problems.most_common(MOST_SAID):
        run.say(f"k8snet: {count} not answered: {why}")
