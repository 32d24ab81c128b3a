"""The table of rules and of the faults under which each was seen to fail."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_k8snet.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from faults.fault import Fault

INTRODUCTION = """\
# Seen red

A check that has never failed is not known to work. This is which rules failed under
which faults, on a local cluster of three Nodes, and in how many cells. No other rule
failed, and in no other cell: the test asserts that, too. Written by

```sh
SEEN_RED=docs/seen-red.md uv run pytest tests/cluster/test_faults.py
```
"""

NEVER = "never"
ROW = re.compile(r"\| (?P<rule>[A-Z0-9-]+) \| [A-Z]+ \| (?P<faults>.*) \|")
FAULT = re.compile(r"`([a-z0-9-]+)`")


@dataclass(frozen=True)
class Sighting:
    """What was seen of one fault.

    Attributes:
        fault: the fault.
        red: cells that failed, by rule.
        seconds: the suite took, with all faults of the round.

    """

    fault: Fault
    red: Mapping[str, int]
    seconds: float


def render(sightings: Iterable[Sighting]) -> str:
    """Write the table by rule, and the one by fault."""
    found = sorted(sightings, key=lambda s: s.fault.id)
    lines = [
        INTRODUCTION,
        "| rule | level | faults, with the cells that failed |",
        "|---|---|---|",
    ]
    for rule in RULES:
        seen = [f"`{s.fault}` {s.red[rule.id]}" for s in found if rule.id in s.red]
        lines.append(f"| {rule.id} | {rule.level} | {', '.join(seen) or NEVER} |")
    lines += [
        "",
        "| fault | what it breaks | rules red | cells | suite, s |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| `{s.fault}` | {s.fault.breaks} | {len(s.red)} | {sum(s.red.values())} "
        f"| {s.seconds:.0f} |"
        for s in found
    ]
    return "\n".join(lines) + "\n"


def read(text: str) -> dict[str, set[str]]:
    """Give the faults that a table has for each rule."""
    return {m["rule"]: set(FAULT.findall(m["faults"])) for m in ROW.finditer(text)}
