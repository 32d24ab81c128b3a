"""The table of faults and rules: which failed under which, in real runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_k8snet.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

INTRODUCTION = """\
# Seen red

A check that has never failed is not known to work. This is which rules failed under
which faults, on local clusters of three Nodes, and in how many cells; the tests assert
that no others did. A run of these writes what it saw, and leaves the rest as it is:

```sh
SEEN_RED=docs/seen-red.md uv run pytest tests/cluster/test_faults.py tests/cluster/test_edge.py
```
"""  # noqa: E501 - one command
NEVER = "never"
RULE = re.compile(r"([A-Z0-9-]+) (\d+)")
ROW = re.compile(
    r"^\| `(?P<fault>[a-z0-9-]+)` \| (?P<breaks>[^|]*) \| (?P<seconds>\d+) "
    r"\| (?P<red>[^|]*) \|$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Sighting:
    """What was seen of one fault.

    Attributes:
        fault: its id.
        breaks: what it breaks.
        seconds: the suite took, with all faults that were made together.
        red: cells that failed, by rule.

    """

    fault: str
    breaks: str
    seconds: int
    red: Mapping[str, int]


def write(path: Path, new: Iterable[Sighting], known: Iterable[str]) -> None:
    """Put what was seen into the table; faults that are not known any more leave it."""
    rows = {s.fault: s for s in read(path.read_text())} if path.exists() else {}
    rows |= {s.fault: s for s in new}
    path.write_text(render([rows[fault] for fault in sorted(known) if fault in rows]))


def render(sightings: Iterable[Sighting]) -> str:
    """Write the table by rule, and the one by fault."""
    found = list(sightings)
    lines = [
        INTRODUCTION,
        "| rule | level | faults, each with the cells that failed |",
        "|---|---|---|",
    ]
    for rule in RULES:
        seen = [f"{s.fault} {s.red[rule.id]}" for s in found if rule.id in s.red]
        lines.append(f"| {rule.id} | {rule.level} | {', '.join(seen) or NEVER} |")
    lines += [
        "",
        "| fault | what it breaks | suite, s | rules, with the cells that failed |",
        "|---|---|---|---|",
    ]
    for s in found:
        red = ", ".join(f"{rule} {count}" for rule, count in sorted(s.red.items()))
        lines.append(f"| `{s.fault}` | {s.breaks} | {s.seconds} | {red} |")
    return "\n".join(lines) + "\n"


def read(text: str) -> list[Sighting]:
    """Read the table by fault."""
    return [
        Sighting(
            row["fault"],
            row["breaks"],
            int(row["seconds"]),
            {rule: int(count) for rule, count in RULE.findall(row["red"])},
        )
        for row in ROW.finditer(text)
    ]
