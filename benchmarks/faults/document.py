"""What the benchmark prints, and docs/faults.md. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from faults.benchmark import BENCHMARK, CONFUSABLE, LIKE_THEM

from benchmarks.faults.scoring import confused

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.faults.run import Healthy, Results
    from benchmarks.faults.scoring import Score

INTRODUCTION = """\
# Faults

What the suite says of real faults, each made by itself on a local cluster of three
Nodes: which rules it turned red, with their checks that failed, what the first finding
blamed, and how long the whole run took. `k8snet fault inject NAME --cluster CLUSTER`
shows one by hand, `k8snet explain CAUSE` what a finding says. The last ones are made
only to be told apart from another of the table.

This writes what it sees, and leaves the other rows as they are:

```sh
uv run python -m benchmarks.faults --confusable --document docs/faults.md
```

"""
HEAD = (
    *("fault", "what it breaks", "rules red", "first finding", "right"),
    *("without a look into Nodes", "s"),
)
ROW = re.compile(r"^\| `(?P<fault>[a-z0-9-]+)` \|.*\|$", re.MULTILINE)
COLUMNS = ("fault", "detected", "clean", "right", "unaided", "s", "first finding")
MOST_CELLS = 5
WORDS = {True: "yes", False: "**no**"}


def table(results: Results) -> str:
    """Write what was seen as text, with totals."""
    wide = "{:36} {:9} {:6} {:6} {:8} {:>5}  {}"
    lines = [wide.format(*COLUMNS)]
    for one in results.scores:
        marks = ("yes" if x else "NO" for x in one.marks)
        said = one.said or "-"
        if not one.right:
            said += f" (should be {one.wanted})"
        lines.append(wide.format(one.fault, *marks, f"{one.seconds:.0f}", said))
        lines += _misses(one)
    counted = [one for one in results.scores if one.fault not in LIKE_THEM]
    for title, held in (
        ("detected", [s.detected for s in counted]),
        ("clean", [s.clean for s in counted]),
        ("first finding right", [s.right for s in counted]),
        ("without a look into Nodes", [s.unaided for s in counted]),
    ):
        lines.append(f"{title}: {sum(held)}/{len(counted)}")
    confusions = confused(results.scores, CONFUSABLE)
    lines += [f"of a confusable set, right: {line}" for line in confusions]
    lines += [
        f"at once: {' and '.join(one.faults)}: {one.seconds:.0f} s, "
        f"not named: {', '.join(one.unsaid) or 'none'}"
        for one in results.at_once
    ]
    lines += slowest(results)
    lines += [f"{fault}: {why}" for fault, why in results.problems.items()]
    lines += healthy(results.healthy)
    return "\n".join(lines)


def _misses(one: Score) -> list[str]:
    lines = [
        f"  {title}: {' '.join(rules)}"
        for title, rules in (("not red", one.missed), ("unexpected", one.unexpected))
        if rules
    ]
    return [*lines, *(f"  {line}" for line in one.cells[:MOST_CELLS])]


def slowest(results: Results) -> list[str]:
    """Compare the longest run on each kind of cluster with the healthy ones there."""
    lines = []
    for kind in dict.fromkeys(one.cluster for one in results.scores):
        broken = max(one.seconds for one in results.scores if one.cluster == kind)
        line = f"slowest on {kind}: {broken:.1f} s"
        runs = [
            r.seconds for r in results.healthy if (r.cluster, r.control) == (kind, "")
        ]
        if runs:
            well = median(runs)
            line += f", {broken / well:.2f} x the healthy median {well:.1f} s"
        lines.append(line)
    return lines


def healthy(runs: Sequence[Healthy]) -> list[str]:
    """Say how many runs on clusters that are well raised an alarm, and which."""
    raised = [run for run in runs if run.alarms]
    return [
        f"healthy runs and controls with an alarm: {len(raised)}/{len(runs)}",
        *(
            f"  {run.cluster} {run.control}: {alarm}"
            for run in raised
            for alarm in run.alarms
        ),
    ]


@dataclass(frozen=True)
class Line:
    """A row of the table in the document, by its fault."""

    fault: str
    text: str


def row(one: Score) -> Line:
    """Write what was seen of a fault as a row."""
    red = ", ".join(f"{rule} {count}" for rule, count in one.red.items())
    cells = (f"`{one.fault}`", one.breaks, red or "none", one.said or "none")
    end = f"{WORDS[one.right]} | {WORDS[one.unaided]} | {one.seconds:.0f}"
    return Line(one.fault, f"| {' | '.join(cells)} | {end} |")


def read(text: str) -> list[Line]:
    """Read the rows of a document."""
    return [Line(found["fault"], found[0]) for found in ROW.finditer(text)]


def document(known: str, scores: Iterable[Score]) -> str:
    """Put what was seen into a document, in the order of the benchmark."""
    rows = {line.fault: line.text for line in read(known)}
    rows |= {one.fault: row(one).text for one in scores}
    ordered = [rows[fault] for fault in (*BENCHMARK, *LIKE_THEM) if fault in rows]
    head = [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
    return INTRODUCTION + "\n".join([*head, *ordered]) + "\n"
