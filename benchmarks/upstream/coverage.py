"""Which of our rules cover which of upstream's tests: reads ``coverage.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE = Path(__file__).with_name("coverage.toml")


class Covered(BaseModel):
    """One of upstream's tests, by its full name.

    Attributes:
        rules: ids of ours that assert the same.
        left: what only upstream asserts; never empty where there are no rules.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    rules: tuple[str, ...] = ()
    left: str = ""


def selection(table: Iterable[Covered]) -> str:
    """Write the rules in the table as pytest's ``-k`` takes them, by how they begin."""
    return " or ".join(sorted({f"[{rule}" for test in table for rule in test.rules}))


def load(file: Path = FILE) -> tuple[Covered, ...]:
    """Read the table."""
    tests = tomllib.loads(file.read_text(encoding="utf-8"))["test"]
    return tuple(Covered.model_validate(test) for test in tests)
