"""The subcommands that need no cluster: rules, and what was recorded of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from pytest_k8snet.report.recording import Recording

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001


class Unusable(Exception):  # noqa: N818 - reads as what is wrong
    """What was named is not there, or not what it should be; says why."""


def _explain(commands: Subparsers) -> None:
    summary = "explain a rule, or a cause that a finding names"
    parser = commands.add_parser(
        "explain",
        help=summary,
        description="What a rule demands, by which document, how it is asked, and what "
        "usually breaks it; how a cause shows, and what to look at next.",
    )
    parser.add_argument("id", metavar="ID", help="of a rule, a check or a cause")
    parser.set_defaults(run=_run_explain)


def _run_explain(options: argparse.Namespace) -> int:
    from pytest_k8snet.report import explain  # noqa: PLC0415 - only when asked

    try:
        print(explain.explain(options.id), end="")
    except explain.UnknownId as error:
        raise Unusable(str(error)) from None
    return 0


def _rules(commands: Subparsers) -> None:
    summary = "list the rules"
    parser = commands.add_parser(
        "rules", help=summary, description="List what the suite asserts."
    )
    parser.add_argument(
        "--format",
        choices=("table", "markdown", "json"),
        default="table",
        help="default: table; markdown is docs/rules.md",
    )
    parser.set_defaults(run=_run_rules)


def _run_rules(options: argparse.Namespace) -> int:
    from pytest_k8snet.report import rules  # noqa: PLC0415 - only when asked

    if options.format == "table":
        from pytest_k8snet.report.terminal import columns  # noqa: PLC0415

        print(columns(rules.table()), end="")
    else:
        forms = {"markdown": rules.markdown, "json": rules.as_json}
        print(forms[options.format](), end="")
    return 0


def _schema(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "schema",
        help="print the JSON Schema of report.json or watch.json",
        description="Print the JSON Schema of report.json, or of watch.json.",
    )
    parser.add_argument(
        "of",
        metavar="WHICH",
        nargs="?",
        choices=("report", "watch"),
        default="report",
        help="report or watch (default: report)",
    )
    parser.set_defaults(run=_run_schema)


def _run_schema(options: argparse.Namespace) -> int:
    from pytest_k8snet.report import schema, watch_schema  # noqa: PLC0415

    forms = {"report": schema.json_schema, "watch": watch_schema.json_schema}
    print(forms[options.of](), end="")
    return 0


def _compare(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "compare",
        help="compare recorded runs",
        description="Compare the report.json files of two or more runs: one cluster "
        "before and after, or the same suite on several. Changes are those since the "
        "first one.",
    )
    parser.add_argument("files", metavar="REPORT", nargs="+", type=Path)
    parser.add_argument(
        "--format",
        choices=("terminal", "markdown", "html"),
        default="terminal",
        help="default: terminal",
    )
    parser.set_defaults(run=_run_compare)


def _run_compare(options: argparse.Namespace) -> int:
    from pytest_k8snet.report import versus  # noqa: PLC0415 - only when asked

    if len(options.files) == 1:
        raise Unusable("one run is nothing to compare: name two or more")
    runs = {name: _read(path) for name, path in _named(options.files).items()}
    forms = {
        "terminal": versus.terminal,
        "markdown": versus.markdown,
        "html": versus.html,
    }
    print(forms[options.format](versus.sections(runs)), end="")
    return 0


def _named(files: Sequence[Path]) -> dict[str, Path]:
    """Name files as shortly as tells them apart."""
    ways = (lambda p: p.stem, lambda p: p.parent.name, str)
    for way in ways:
        names = [way(path) for path in files]
        if len(set(names)) == len(names):
            return dict(zip(names, files, strict=True))
    raise Unusable("a run compared with itself is no news: name different files")


def _read(path: Path) -> Recording:
    from pytest_k8snet.report.recording import Unreadable, read  # noqa: PLC0415

    try:
        return read(path.read_text(encoding="utf-8"))
    except Unreadable as error:
        raise Unusable(f"{path}: {error}") from None


SUBCOMMANDS: tuple[Callable[[Subparsers], None], ...] = (
    _compare,
    _explain,
    _rules,
    _schema,
)
