"""From the lab's results to what pytest and people see of them."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_k8snet.model import Word

if TYPE_CHECKING:
    from pytest_k8snet.model import Check, ClusterFacts
    from pytest_k8snet.plugin.session import Run
    from pytest_k8snet.report.recording import Recording

JUDGED = frozenset({Word.PASS, Word.FAIL, Word.KNOWN_DEVIATION})


def result_of(check: Check, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Wait for the result of a check, and turn its word into pytest's outcome."""
    found = _fetch(check, request.config)
    request.node.user_properties.extend(found.get("properties", {}).items())
    if found["word"] == Word.NOT_APPLICABLE:
        pytest.skip(found["text"])
    if found.get("excused"):
        pytest.xfail(found["excused"])
    if found["word"] == Word.INCONCLUSIVE:
        text = f"{check.id} is inconclusive: {found['text']}"
        pytest.fail(text, pytrace=False)
    if found["word"] == Word.KNOWN_DEVIATION:
        pytest.xfail(found["text"])
    return found


def _fetch(check: Check, config: pytest.Config) -> dict[str, Any]:
    from pytest_k8snet.plugin import PATIENCE, RUN, WORKER_KEY  # noqa: PLC0415
    from pytest_k8snet.plugin.session import wait_for_result  # noqa: PLC0415

    run = config.stash.get(RUN, None)
    if run is not None and run.lab is not None:
        result = run.lab.result(check, PATIENCE)
        run.show_progress()
        return run.gate.on_the_wire(result)
    folder = getattr(config, "workerinput", {}).get(WORKER_KEY, {}).get("folder")
    if folder is None:
        pytest.fail("no cluster was named: see --k8s-context", pytrace=False)
    return wait_for_result(Path(folder), check.id, PATIENCE)


def judged_nothing(run: Run) -> bool:
    """Whether not a single check was judged: such a run is never green."""
    return not any(one.word in JUDGED for one in run.results)


def finish(run: Run) -> None:
    """Write what the run is to be remembered by."""
    wanted = run.settings["report"] or run.gate.baseline or step_summary()
    if run.lab is not None and wanted:
        run.recording = record(run)
        try:
            write_files(run, run.recording)
        except OSError as error:
            run.unwritten = f"no report: {error}"


def describe_in_junit(run: Run, config: pytest.Config) -> None:
    """Say what is tested in the file of ``--junitxml``, if there is to be one."""
    properties = suite_properties(run.facts) if run.facts else {}
    for plugin in config.pluginmanager.get_plugins():
        # The public way to it is a fixture, and does nothing with xdist.
        if hasattr(plugin, "add_global_property"):
            for name, said in properties.items():
                plugin.add_global_property(name, said)


def suite_properties(facts: ClusterFacts) -> dict[str, str]:
    """Say, for JUnit's file, what was tested."""
    return {
        "k8snet.context": facts.context,
        "k8snet.kubernetes": facts.version,
        "k8snet.network_plugin": facts.network_plugin,
        "k8snet.service_proxy": facts.service_proxy,
        "k8snet.families": " ".join(facts.families),
        "k8snet.nodes": str(len(facts.nodes)),
    }


def step_summary() -> str:
    """Give the file that GitHub shows beside a job; "" elsewhere."""
    return os.environ.get("GITHUB_STEP_SUMMARY", "")


def record(run: Run) -> Recording:
    """Give what the report says of a run."""
    from pytest_k8snet.report.compare import baseline_document, compare  # noqa: PLC0415
    from pytest_k8snet.report.document import answer_document, document  # noqa: PLC0415
    from pytest_k8snet.report.recording import Recording  # noqa: PLC0415
    from pytest_k8snet.report.schema import (  # noqa: PLC0415
        DeviationDocument,
        FindingDocument,
        SuiteDocument,
    )
    from pytest_k8snet.rules import RULES  # noqa: PLC0415

    lab, results = run.require_lab(), run.results
    made = document(
        lab.plan,
        results,
        figures(run),
        started=time.time() - (time.monotonic() - run.started),
        suite=SuiteDocument(
            version=metadata.version("pytest-k8snet"),
            profile=run.settings["profile"],
            rules=len(RULES),
        ),
        problems=lab.problems,
    )
    uses = run.gate.uses(results)
    more: dict[str, Any] = {
        "findings": [FindingDocument(**vars(one)) for one in run.findings],
        "evidence": [answer_document(*one) for one in sorted(run.evidence.items())],
        "deviations": [
            DeviationDocument(
                **use.entry.model_dump(mode="json"),
                state=str(use.state),
                checks=list(use.checks),
            )
            for use in uses
        ],
    }
    # What reading the document would give, without a second copy of all that was seen.
    found = Recording(made, tuple(sorted(results, key=lambda r: r.check.id)))
    if run.gate.baseline is not None:
        more["baseline"] = baseline_document(compare(run.gate.baseline, found))
    return replace(found, report=made.model_copy(update=more))


def write_files(run: Run, recording: Recording) -> None:
    """Write every format where the user asked for it, and where GitHub shows it."""
    from pytest_k8snet.report.formats import FORMATS  # noqa: PLC0415
    from pytest_k8snet.report.markdown import markdown  # noqa: PLC0415

    if run.settings["report"]:
        folder = Path(run.settings["report"])
        folder.mkdir(parents=True, exist_ok=True)
        for name, form in FORMATS.items():
            (folder / name).write_text(form(recording), encoding="utf-8")
    if summary := step_summary():
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(markdown(recording))


def where_the_report_is(run: Run) -> str:
    """Name what to look at; "" when no report was asked for."""
    folder = run.settings["report"]
    return f"report: {Path(folder) / 'report.html'}" if folder else ""


def figures(run: Run) -> dict[str, Any]:
    """Give what was measured: times in seconds, counts, memory in MiB."""
    lab, api = run.lab, run.api
    return {
        "total": round((run.ended or time.monotonic()) - run.started, 3),
        "phases": {
            k: round(v, 3) for k, v in (lab.timings.phases if lab else {}).items()
        },
        "settle": round(lab.timings.settle, 3) if lab else 0.0,
        "unsettled": len(lab.timings.unsettled) if lab else 0,
        "probes": lab.probes_sent if lab else 0,
        "api_requests": api.requests if api else 0,
        "controller_rss_mib": round(peak_memory(), 1),
    }


def peak_memory() -> float:
    """Give the most memory that this process had resident, in MiB."""
    import resource  # noqa: PLC0415 - Unix only, and so are our clusters

    status = Path("/proc/self/status")
    if status.exists():  # getrusage knows of Linux's parent, too, before exec
        lines = status.read_text(encoding="utf-8").splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(peak) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def summarize(run: Run, reporter: pytest.TerminalReporter) -> None:
    """Write the summary through pytest's own reporter."""
    from pytest_k8snet.report.terminal import baseline_text, summary  # noqa: PLC0415

    if run.lab is None:
        return
    reporter.section("Kubernetes network")
    text = summary(
        run.results,
        figures(run),
        problems=run.lab.problems,
        findings=run.recording.report.findings if run.recording else run.findings,
        width=reporter._tw.fullwidth,  # noqa: SLF001 - no public way to ask
        colour=reporter.hasmarkup,
    )
    reporter.write(text)
    if run.recording and run.recording.report.baseline:
        reporter.write(baseline_text(run.recording.report.baseline))
    for use in run.gate.uses(run.results):
        if use.state in {"expired", "not needed"}:
            reporter.write_line(str(use))
    if kept := run.kept():
        reporter.write_line(f"kept: namespaces {', '.join(kept)}")
    if run.terminating:
        reporter.write_line(f"being removed: {', '.join(run.terminating)}")
    if said := run.unwritten or where_the_report_is(run):
        reporter.write_line(said)
    if run.recording and os.environ.get("GITHUB_ACTIONS") == "true":
        from pytest_k8snet.report.markdown import workflow_commands  # noqa: PLC0415

        for line in workflow_commands(run.recording):
            reporter.write_line(line)
