"""The k8snet command: a table of subcommands, each a function or two."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING

from . import reading, watch_options
from .faults import command as faults
from .localcluster import LocalClusterError
from .localcluster import subcommands as localcluster

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = parse(sys.argv[1:] if argv is None else list(argv))
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return int(options.run(options))
    except KeyboardInterrupt as error:
        _complain(error, "interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has seen enough; keep Python from trying again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (LocalClusterError, reading.Unusable, OSError) as error:
        # An OSError names the file that could not be used; nobody needs a traceback.
        _complain(error)
        return FAILED
    finally:
        signal.signal(signal.SIGTERM, previous)


def parse(words: list[str]) -> argparse.Namespace:
    """Understand the words; what follows "--" is a command for `shell` or `watch`.

    argparse itself would take an option between NODE and the command for its end.
    """
    end = words.index("--") if "--" in words else len(words)
    parser = build_parser()
    options = parser.parse_args(words[:end])
    options.command = words[end + 1 :]
    if options.command and "takes_command" not in options:
        parser.error(f"unrecognized arguments: {' '.join(options.command)}")
    return options


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Take SIGTERM for Ctrl-C: CI sends it, and cleaning up is the same."""
    del number, frame
    raise KeyboardInterrupt("SIGTERM")


def _complain(error: BaseException, text: str = "") -> None:
    print(f"k8snet: error: {text or error}", file=sys.stderr)
    for note in getattr(error, "__notes__", ()):
        print(f"  {note}", file=sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser: each subcommand adds itself."""
    parser = argparse.ArgumentParser(
        prog="k8snet",
        description="Real Kubernetes clusters on this machine, for pytest-k8snet; "
        "its rules, and its reports.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in SUBCOMMANDS:
        add(commands)
    return parser


def _watch(commands: Subparsers) -> None:
    summary = "ask along every path while a command runs, and report outages"
    parser = commands.add_parser(
        "watch",
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. "
        "Asks five times a second, from every Node and from outside, by new and by "
        "kept connections, until COMMAND ends, the time is over, or Ctrl-C. Exits "
        "with the COMMAND's own status if that failed, 1 when a path was out for "
        "longer than allowed or was not measured, 5 when nothing was measured.",
    )
    parser.set_defaults(run=_run_watch, takes_command=True)
    watch_options.add_arguments(parser)


def _run_watch(options: argparse.Namespace) -> int:
    from . import watch_command  # noqa: PLC0415 - needs a Kubernetes client

    return watch_command.run(options)


# Adding a subcommand: write a function that adds its parser, and name it here.
SUBCOMMANDS: tuple[Callable[[Subparsers], None], ...] = (
    localcluster.add,
    faults.add,
    _watch,
    *reading.SUBCOMMANDS,
)


if __name__ == "__main__":
    sys.exit(main())
