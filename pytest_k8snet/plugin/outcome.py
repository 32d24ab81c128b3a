"""From the lab's results to what pytest and people see of them."""

from __future__ import annotations

import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_k8snet.model import Word

if TYPE_CHECKING:
    from pytest_k8snet.model import Check
    from pytest_k8snet.plugin.session import Run
    from pytest_k8snet.report.recording import Recording

JUDGED = frozenset({Word.PASS, Word.FAIL, Word.KNOWN_DEVIATION})


def result_of(check: Check, config: pytest.Config) -> dict[str, Any]:
    """Wait for the result of a check, and turn its word into pytest's outcome."""
    found = _fetch(check, config)
    if found["word"] == Word.NOT_APPLICABLE:
        pytest.skip(found["text"])
    if found["word"] == Word.INCONCLUSIVE:
        text = f"{check.id} is inconclusive: {found['text']}"
        pytest.fail(text, pytrace=False)
    if found["word"] == Word.KNOWN_DEVIATION:
        pytest.xfail(found["text"])
    return found


def _fetch(check: Check, config: pytest.Config) -> dict[str, Any]:
    from pytest_k8snet.plugin import PATIENCE, RUN, WORKER_KEY  # noqa: PLC0415
    from pytest_k8snet.plugin.session import (  # noqa: PLC0415
        result_on_the_wire,
        wait_for_result,
    )

    run = config.stash.get(RUN, None)
    if run is not None and run.lab is not None:
        result = run.lab.result(check, PATIENCE)
        run.show_progress()
        return result_on_the_wire(result)
    folder = getattr(config, "workerinput", {}).get(WORKER_KEY, {}).get("folder")
    if folder is None:
        pytest.fail("no cluster was named: see --k8s-context", pytrace=False)
    return wait_for_result(Path(folder), check.id, PATIENCE)


def judged_nothing(run: Run) -> bool:
    """Whether not a single check was judged: such a run is never green."""
    results = run.lab.results.values() if run.lab else ()
    return not any(r.word in JUDGED for r in results)


def record(run: Run) -> Recording:
    """Give what the report says of a run."""
    from pytest_k8snet.report.document import document  # noqa: PLC0415
    from pytest_k8snet.report.recording import recorded  # noqa: PLC0415
    from pytest_k8snet.report.schema import SuiteDocument  # noqa: PLC0415
    from pytest_k8snet.rules import RULES  # noqa: PLC0415

    lab = run.require_lab()
    suite = SuiteDocument(
        version=metadata.version("pytest-k8snet"),
        profile=run.settings["profile"],
        rules=len(RULES),
    )
    made = document(
        lab.plan,
        tuple(lab.results.values()),
        figures(run),
        started=time.time() - (time.monotonic() - run.started),
        suite=suite,
        problems=lab.problems,
    )
    return recorded(made)


def write_report(run: Run) -> None:
    """Write every format where the user asked for it."""
    if not run.settings["report"] or run.lab is None:
        return
    from pytest_k8snet.report.formats import FORMATS  # noqa: PLC0415

    folder = Path(run.settings["report"])
    folder.mkdir(parents=True, exist_ok=True)
    recording = record(run)
    for name, form in FORMATS.items():
        (folder / name).write_text(form(recording), encoding="utf-8")


def figures(run: Run) -> dict[str, Any]:
    """Give what was measured: times in seconds, counts, memory in MiB."""
    import resource  # noqa: PLC0415 - Unix only, and so are our clusters

    lab, api = run.lab, run.api
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "total": round((run.ended or time.monotonic()) - run.started, 3),
        "phases": {
            k: round(v, 3) for k, v in (lab.timings.phases if lab else {}).items()
        },
        "settle": round(lab.timings.settle, 3) if lab else 0.0,
        "unsettled": len(lab.timings.unsettled) if lab else 0,
        "probes": lab.probes_sent if lab else 0,
        "api_requests": api.requests if api else 0,
        "controller_rss_mib": round(peak, 1),
    }


def summarize(run: Run, reporter: pytest.TerminalReporter) -> None:
    """Write the summary through pytest's own reporter."""
    from pytest_k8snet.report.terminal import summary  # noqa: PLC0415

    if run.lab is None:
        return
    reporter.section("Kubernetes network")
    text = summary(
        tuple(run.lab.results.values()),
        figures(run),
        problems=run.lab.problems,
        width=reporter._tw.fullwidth,  # noqa: SLF001 - no public way to ask
        colour=reporter.hasmarkup,
    )
    reporter.write(text)
    if kept := run.kept():
        reporter.write_line(f"kept: namespaces {', '.join(kept)}")
    if run.terminating:
        reporter.write_line(f"being removed: {', '.join(run.terminating)}")
    if run.settings["report"]:
        reporter.write_line(f"report: {Path(run.settings['report']) / 'report.json'}")
