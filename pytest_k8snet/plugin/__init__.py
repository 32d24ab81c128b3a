"""The pytest hooks: a table of contents. What they do is in the modules beside it.

Inert until a cluster is named; nothing heavy is imported before.
"""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_k8snet.plugin import options

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from types import FrameType

    from pytest_k8snet.model import Check
    from pytest_k8snet.plugin.session import Run
    from pytest_k8snet.workbench import Workbench

SUITE = Path(__file__).parent.parent / "checks"
SETTINGS = pytest.StashKey[options.Settings]()
RUN: pytest.StashKey[Run] = pytest.StashKey()
HANDLER = pytest.StashKey[Any]()
LEFT_OUT = pytest.StashKey[bool]()
WORKER_KEY = "k8snet"
PATIENCE = 600.0
"""Seconds until a worker stops waiting for a result: the lab's own limits are lower."""

MARKERS = (
    "rule1: containers of a Pod share localhost",
    "rule2: every Pod reaches every Pod without NAT",
    "rule3: Pods reach Services",
    "rule4: the outside reaches Services",
    "dns: the DNS conventions",
    "control: the paths of the control plane",
    "policy: what a NetworkPolicy allows gets through, and nothing else",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options."""
    options.add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Read the settings, and choose the shipped suite when no path was given."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    settings = config.stash[SETTINGS] = options.read(config)
    if not settings.active:
        return
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = [str(SUITE)]
        config.args_source = pytest.Config.ArgsSource.ARGS
    if settings["plan"]:
        config.option.dist = "no"
    if not is_worker(config) and threading.current_thread() is threading.main_thread():
        config.stash[HANDLER] = signal.signal(signal.SIGTERM, interrupt)


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Treat SIGTERM as Ctrl-C, so that everything is cleaned up."""
    raise KeyboardInterrupt("SIGTERM")


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is one of xdist's workers."""
    return hasattr(config, "workerinput")


def contacts_cluster(config: pytest.Config) -> bool:
    """Whether this process is the one that talks to the cluster, in this run."""
    option = config.option
    only_looks = option.collectonly or option.showfixtures
    only_looks = only_looks or option.show_fixtures_per_test or option.setupplan
    return config.stash[SETTINGS].active and not is_worker(config) and not only_looks


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Handle ``--k8snet-cleanup``, which runs no tests."""
    if not (config.getoption("k8snet_cleanup") and not is_worker(config)):
        return None
    from pytest_k8snet.plugin.cleanup import clean_up  # noqa: PLC0415

    return clean_up(options.read(config))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Connect and discover, in the controller, before the header is written."""
    config = session.config
    if not contacts_cluster(config):
        return
    from pytest_k8snet.plugin.session import Run  # noqa: PLC0415 - when asked

    run = config.stash[RUN] = Run(config.stash[SETTINGS], say=writer(config))
    try:
        run.open()
    except BaseException:
        run.close()
        raise
    from pytest_k8snet.plugin.outcome import describe_in_junit  # noqa: PLC0415

    describe_in_junit(run, config)


def writer(config: pytest.Config) -> Any:
    """Give what writes a line to the terminal."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")

    def write(line: str) -> None:
        if reporter is not None:
            reporter.ensure_newline()
            if reporter._tw.width_of_current_line:  # noqa: SLF001 - no public way
                reporter.write_line("")
            reporter.write_line(line)

    return write


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Name what is tested: context, server, versions, network and Nodes."""
    run = config.stash.get(RUN, None)
    if run is None or run.facts is None:
        return []
    from pytest_k8snet.report.terminal import header  # noqa: PLC0415

    lines = header(run.facts, run.settings.origin.get("context", ""))
    return lines + run.gate.header()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Deselect what the chosen profile leaves out of what -k and -m select."""
    settings = config.stash[SETTINGS]
    if not settings.active:
        return
    from pytest_k8snet.plugin.session import left_out  # noqa: PLC0415 - when asked

    if out := [item for item in items if left_out(item, settings["profile"])]:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]
        config.stash[LEFT_OUT] = True


def pytest_report_collectionfinish(
    config: pytest.Config, items: Sequence[pytest.Item]
) -> list[str]:
    """Say so where the chosen profile has nothing of what was selected."""
    if items or not config.stash.get(LEFT_OUT, False):
        return []
    profile = config.stash[SETTINGS]["profile"]
    beyond = f"whatever was selected is beyond the profile {profile}"
    return [f"k8snet: {beyond}: add --k8snet-profile=full"]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the lab as soon as it is known which checks were selected."""
    config = session.config
    ids = [item.nodeid for item in session.items if "k8snet_result" in fixtures(item)]
    run = config.stash.get(RUN, None)
    if run is None:
        # A worker's usage error would be an internal one of the controller.
        if not is_worker(config):
            refuse_without_cluster(config, ids)
    elif config.stash[SETTINGS]["plan"]:
        from pytest_k8snet.report.terminal import plan_text  # noqa: PLC0415

        inspect = run.settings["inspect-nodes"]
        run.say(plan_text(run.plan(ids), run.spec(), inspect=inspect))
    elif config.getoption("dist", "no") == "no":
        run.start(ids, threaded_output=False)


def fixtures(item: pytest.Item) -> Sequence[str]:
    """Name the fixtures that a test uses."""
    return getattr(item, "fixturenames", ())


def refuse_without_cluster(config: pytest.Config, ids: Sequence[str]) -> None:
    """Never let the shipped suite pass for want of a cluster."""
    settings = config.stash[SETTINGS]
    if ids and not settings.active and not config.option.collectonly:
        raise pytest.UsageError(
            "the checks of pytest_k8snet need a cluster: --k8s-context=NAME or "
            "--k8snet-cluster=FILE"
        )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Show the set-up's progress before the first test."""
    run = session.config.stash.get(RUN, None)
    if run is not None and session.config.stash[SETTINGS]["plan"]:
        session.items.clear()
    elif run is not None and session.config.getoption("dist", "no") == "no":
        run.wait_until_ready()
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Clean up, write the report, and never let a run that judged nothing be green."""
    run = session.config.stash.get(RUN, None)
    if run is None:
        return
    if session.exitstatus != pytest.ExitCode.INTERRUPTED:
        look_closer(run)
    run.close()
    if run.lab is None or run.settings["plan"]:
        return
    from pytest_k8snet.plugin.outcome import finish, judged_nothing  # noqa: PLC0415

    finish(run)
    if session.exitstatus == pytest.ExitCode.OK and judged_nothing(run):
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


def look_closer(run: Run) -> None:
    """Gather evidence while all is still there, when something failed."""
    if run.lab is not None and run.ended is None:
        from pytest_k8snet.plugin.closer import look  # noqa: PLC0415 - when asked

        look(run, run.lab)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Clean up what an error kept ``pytest_sessionfinish`` from cleaning up."""
    run = config.stash.get(RUN, None)
    if run is not None:
        run.close()
    previous = config.stash.get(HANDLER, None)
    if previous is not None:
        signal.signal(signal.SIGTERM, previous)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the table per area, and the failures grouped by place."""
    run = terminalreporter.config.stash.get(RUN, None)
    if run is None or run.lab is None:
        return
    from pytest_k8snet.plugin.outcome import summarize  # noqa: PLC0415

    summarize(run, terminalreporter)


# ------------------------------------------------------------------------------- xdist


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where the results will be."""
    run = node.config.stash.get(RUN, None)
    if run is not None:
        node.workerinput[WORKER_KEY] = run.worker_input()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: Sequence[str]) -> None:
    """Start the lab when the first worker has collected; all collect the same."""
    run = node.config.stash.get(RUN, None)
    if run is None:
        refuse_without_cluster(node.config, shipped(ids))
    elif run.lab is None:
        run.start(ids, threaded_output=True)


def shipped(ids: Sequence[str]) -> list[str]:
    """Keep the test ids of the shipped checks; others may have parameters named so.

    Outside of the root directory an id has no more of a path than the file's name.
    """
    tests = [f"{file.name}::{file.stem}[" for file in SUITE.glob("test_*.py")]
    return [one for one in ids if any(test in one for test in tests)]


# ---------------------------------------------------------------------------- fixtures


@pytest.fixture(scope="session")
def k8snet(request: pytest.FixtureRequest) -> Generator[Workbench]:
    """Give probe Pods and Services on demand, and what they see: see ``Workbench``."""
    config = request.config
    run = config.stash.get(RUN, None)
    if run is None and is_worker(config) and WORKER_KEY in config.workerinput:  # type: ignore[attr-defined]
        from pytest_k8snet.plugin.session import Run  # noqa: PLC0415 - when asked

        folder = Path(config.workerinput[WORKER_KEY]["folder"])  # type: ignore[attr-defined]
        run = Run.in_worker(config.stash[SETTINGS], folder)
    if run is None:
        pytest.fail(
            "the fixture k8snet needs a cluster: --k8s-context=NAME or "
            "--k8snet-cluster=FILE",
            pytrace=False,
        )
    bench = run.workbench(getattr(config, "workerinput", {}).get("workerid", "main"))
    yield bench
    if not run.settings["keep"]:
        bench.close()


@pytest.fixture
def k8snet_result(check: Check, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Give the result of a check as ``{"id", "word", "text"}``.

    Skips when the check does not apply, and is an error when it is inconclusive:
    what could not be judged is neither passed nor failed.
    """
    from pytest_k8snet.plugin.outcome import result_of  # noqa: PLC0415

    return result_of(check, request)
