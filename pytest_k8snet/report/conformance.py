"""A ConformanceReport, in the shape of Gateway API's, for publishing. Pure.

A profile is an area; its core are the MUSTs, what is extended are the features and
the SHOULDs. A core in which something was not judged is at most partial.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_k8snet.model import Level, Word
from pytest_k8snet.report.areas import AREAS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_k8snet.report.recording import Recording
    from pytest_k8snet.result import Result

API_VERSION = "k8snet/v1alpha1"


def conformance(recording: Recording) -> str:
    """Write the report as YAML."""
    import yaml  # noqa: PLC0415 - only when asked

    report, env = recording.report, recording.report.environment
    made = {
        "apiVersion": API_VERSION,
        "kind": "ConformanceReport",
        "date": report.started,
        "implementation": {
            # Who stands behind it, only its publisher knows.
            "organization": "",
            "project": env.network_plugin,
            "url": "",
            "version": env.network_plugin_version,
            "contact": [],
        },
        "kubernetesVersion": env.kubernetes,
        "serviceProxy": env.service_proxy,
        "ipFamilies": list(env.families),
        "suiteVersion": report.suite.version,
        "mode": report.suite.profile,
        "supportedFeatures": list(env.features),
        "profiles": [_profile(mark, recording) for mark in AREAS],
    }
    return yaml.safe_dump(made, sort_keys=False, allow_unicode=True)


def _profile(mark: str, recording: Recording) -> dict[str, Any]:
    mine = [r for r in recording.results if r.check.rule.mark == mark]
    core = [r for r in mine if r.check.rule.level is Level.MUST]
    extended = [r for r in mine if r.check.rule.level is not Level.MUST]
    return {
        "name": mark,
        "summary": AREAS[mark],
        "core": _part(core),
        "extended": _part(extended),
    }


def _part(results: Sequence[Result]) -> dict[str, Any]:
    words = Counter(r.word for r in results)
    failed = [r for r in results if r.word is Word.FAIL]
    deviating = [r for r in results if r.word is Word.KNOWN_DEVIATION]
    unjudged = [r for r in results if r.word is Word.INCONCLUSIVE]
    passed = words[Word.PASS]
    left_out = sorted(
        r.check.id
        for r in results
        if r.word in {Word.NOT_APPLICABLE, Word.INCONCLUSIVE}
    )
    if failed:
        result = "failure"
    else:
        result = "success" if passed and not unjudged and not deviating else "partial"
    made: dict[str, Any] = {
        "result": result,
        "statistics": {
            "passed": passed,
            "failed": len(failed),
            "skipped": len(left_out),
            "deviating": len(deviating),
        },
    }
    lists = {
        "failedTests": sorted(r.check.id for r in failed),
        "skippedTests": left_out,
        "deviatingTests": {r.check.id: r.reason for r in deviating},
    }
    return made | {name: found for name, found in lists.items() if found}
