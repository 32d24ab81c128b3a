"""Prometheus text, for a textfile collector: few series, none per pair. Pure."""

from __future__ import annotations

from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING

from pytest_k8snet.model import Word
from pytest_k8snet.report.compare import FEWEST, latencies, showing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_k8snet.report.recording import Recording
    from pytest_k8snet.result import Result

Sample = tuple["Mapping[str, str | None]", float]


def prometheus(recording: Recording) -> str:
    """Write a run as gauges: each check, each kind of path, and the run itself."""
    report = recording.report
    started = datetime.fromisoformat(report.started).timestamp()
    judged = [r for r in recording.results if r.word is not Word.NOT_APPLICABLE]
    fast = latencies(recording)
    metrics: Mapping[str, tuple[str, Iterable[Sample]]] = {
        "check": (
            "1 for the result word of each check that applies.",
            [(_labels(r) | {"result": str(r.word)}, 1) for r in judged],
        ),
        "check_cells": (
            "Cells of each check that was judged, by whether they conform.",
            [
                (_labels(r) | {"conforms": word}, count)
                for r in judged
                if r.word is not Word.INCONCLUSIVE
                for word, count in (
                    ("yes", r.cells - r.failed_cells),
                    ("no", r.failed_cells),
                )
            ],
        ),
        "answer_seconds": (
            "Time within which answers came: the fastest, and half of them.",
            [
                ({"path": path, "quantile": name}, took)
                for path, seconds in sorted(fast.items())
                if len(seconds) >= FEWEST
                for name, took in (("0", min(seconds)), ("0.5", median(seconds)))
            ],
        ),
        "change_seconds": (
            "Median time from a change until it showed, by the rule that watched it.",
            [({"rule": k}, median(v)) for k, v in sorted(showing(recording).items())],
        ),
        "settle_seconds": (
            "Time until everything had settled.",
            [({}, report.figures.settle)],
        ),
        "run_seconds": ("Time that the run took.", [({}, report.figures.total)]),
        "started_timestamp_seconds": ("When the run started.", [({}, started)]),
        "info": ("What was tested.", [(_environment(recording), 1)]),
    }
    return "".join(_metric(f"k8snet_{name}", *one) for name, one in metrics.items())


def _labels(result: Result) -> dict[str, str | None]:
    check = result.check
    return {
        "rule": check.rule.id,
        "protocol": check.protocol,
        "family": check.family,
        "path": check.path,
    }


def _environment(recording: Recording) -> dict[str, str | None]:
    environment = recording.report.environment
    return {
        "context": environment.context,
        "kubernetes": environment.kubernetes,
        "network_plugin": environment.network_plugin,
        "service_proxy": environment.service_proxy,
        "nodes": str(len(environment.nodes)),
        "profile": recording.report.suite.profile,
    }


def _metric(name: str, about: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {about}", f"# TYPE {name} gauge"]
    lines += [f"{name}{_braces(labels)} {value:.12g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _braces(labels: Mapping[str, str | None]) -> str:
    said = ",".join(f'{k}="{_escaped(v)}"' for k, v in labels.items() if v)
    return f"{{{said}}}" if said else ""


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
