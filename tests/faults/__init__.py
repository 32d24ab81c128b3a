"""Real faults for the local cluster, each with what the suite must say of it."""

from __future__ import annotations

from faults.catalogue import FAULTS, ROUNDS
from faults.fault import Fault, Round, injected, seen, surprises
from faults.site import Site

__all__ = [
    "FAULTS",
    "ROUNDS",
    "Fault",
    "Round",
    "Site",
    "injected",
    "seen",
    "surprises",
]
