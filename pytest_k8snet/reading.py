"""The subcommands that need no cluster: rules, and what was recorded of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001


class Unusable(Exception):  # noqa: N818 - reads as what is wrong
    """What was named is not there, or not what it should be; says why."""


def _explain(commands: Subparsers) -> None:
    summary = "explain a rule"
    parser = commands.add_parser(
        "explain",
        help=summary,
        description="What a rule demands, by which document, how it is asked, and what "
        "usually breaks it.",
    )
    parser.add_argument("id", metavar="ID", help="of a rule, or of a check")
    parser.set_defaults(run=_run_explain)


def _run_explain(options: argparse.Namespace) -> int:
    from pytest_k8snet.report import rules  # noqa: PLC0415 - only when asked

    try:
        print(rules.explain(options.id), end="")
    except rules.UnknownRule as error:
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
        help="print the JSON Schema of report.json",
        description="Print the JSON Schema of report.json.",
    )
    parser.set_defaults(run=_run_schema)


def _run_schema(options: argparse.Namespace) -> int:
    from pytest_k8snet.report.schema import json_schema  # noqa: PLC0415

    del options
    print(json_schema(), end="")
    return 0


SUBCOMMANDS: tuple[Callable[[Subparsers], None], ...] = (_explain, _rules, _schema)
