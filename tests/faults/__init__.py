"""What the suite must say of the faults that it is shipped with."""

from __future__ import annotations

from faults.catalogue import BY_THEMSELVES, EXPECTED, ROUNDS
from faults.expected import Expected, Round, injected, seen, surprises

__all__ = [
    "BY_THEMSELVES",
    "EXPECTED",
    "ROUNDS",
    "Expected",
    "Round",
    "injected",
    "seen",
    "surprises",
]
