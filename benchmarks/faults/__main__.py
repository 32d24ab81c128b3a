"""Breaks local clusters in the 25 ways of the benchmark, and asks what is wrong.

    uv run python -m benchmarks.faults --inspect-nodes --healthy 5

For each fault: are the expected rules red and no others, does the first finding name
the cause and the Node or object, and how long did the run take. Prints a table, then
JSON; the folder that ``--out`` names gets every report.json, and what was printed.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from faults import BY_THEMSELVES, EXPECTED
from faults.benchmark import AT_ONCE, BENCHMARK, LIKE_THEM
from faults.catalogue import by_rule
from faults.controls import CONTROLS
from faults.edge import EDGE_EXPECTED

from .document import document, table
from .run import Benchmark, Results

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from .scoring import Awaited

INTERRUPTED = 130


def main() -> int:
    """Run; 0 when every fault was detected, nothing else red, and nobody blamed."""
    given = options().parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    controls = [c for c in CONTROLS if given.controls and wanted(c.made.cluster, given)]
    faults = chosen([*given.only, *(LIKE_THEM if given.confusable else ())], given)
    benchmark = Benchmark(
        faults=faults,
        at_once=[chosen(pair, given) for pair in AT_ONCE] if given.at_once else [],
        controls=controls,
        healthy=given.healthy,
        clusters=given.clusters or (),
        inspect=given.inspect_nodes,
        out=given.out,
    )
    results = Results()
    interrupted = False
    try:
        (benchmark.replay if given.replay else benchmark.run)(results)
    except KeyboardInterrupt:
        # What was seen until then counts.
        interrupted = True
    if given.document:
        there = given.document.exists()
        known = given.document.read_text(encoding="utf-8") if there else ""
        text = document(known, results.scores)
        given.document.write_text(text, encoding="utf-8")
    print(table(results))
    print(json.dumps(asdict(results), indent=2))
    good = all(one.detected and one.clean for one in results.scores)
    quiet = not any(run.alarms for run in results.healthy)
    if interrupted:
        return INTERRUPTED
    return int(not (good and quiet) or bool(results.problems))


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="*", metavar="ID", default=BENCHMARK)
    parser.add_argument(
        "--confusable", action="store_true", help="also what looks like one of them"
    )
    parser.add_argument(
        "--at-once", action="store_true", help="also pairs of them on different Nodes"
    )
    parser.add_argument("--clusters", nargs="+", metavar="KIND", help="only on these")
    parser.add_argument(
        "--inspect-nodes", action="store_true", help="as --k8snet-inspect-nodes"
    )
    parser.add_argument(
        "--healthy", type=int, default=1, metavar="N", help="runs, on each cluster"
    )
    parser.add_argument("--controls", action="store_true", help="also what harms none")
    parser.add_argument(
        "--document", type=Path, metavar="FILE", help="put what is seen there, too"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/faults"), metavar="FOLDER"
    )
    parser.add_argument(
        "--replay",
        action="store_true",
        help="diagnose and judge the reports there again",
    )
    return parser


def chosen(ids: Sequence[str], given: argparse.Namespace) -> Sequence[Awaited]:
    """Give what is expected of faults, as far as their clusters are wanted."""
    everything: tuple[Awaited, ...] = (
        *EXPECTED,
        *BY_THEMSELVES,
        *EDGE_EXPECTED,
        *by_rule.EXPECTED,
    )
    by_id = {one.fault.id: one for one in everything}
    wrong = [fault for fault in ids if fault not in by_id]
    if wrong:
        raise SystemExit(f"error: nothing is expected of {', '.join(wrong)}")
    faults = [by_id[fault] for fault in ids]
    return [one for one in faults if wanted(one.fault.cluster, given)]


def wanted(cluster: str, given: argparse.Namespace) -> bool:
    """Whether faults are to be made on a kind of cluster."""
    return given.clusters is None or cluster in given.clusters


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Take SIGTERM for Ctrl-C: cleaning up is the same."""
    del number, frame
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
