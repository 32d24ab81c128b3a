"""What the suite must say of the faults that it is shipped with."""

from __future__ import annotations

from faults.catalogue import EXPECTED, ROUNDS
from faults.expected import Expected, Round, injected, seen, surprises

__all__ = [
    "EXPECTED",
    "ROUNDS",
    "Expected",
    "Round",
    "injected",
    "seen",
    "surprises",
]
