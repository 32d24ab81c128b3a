"""Real faults for the local cluster, each with what the suite must say of it."""

from __future__ import annotations

from faults.catalogue import FAULTS
from faults.fault import Fault, surprises
from faults.site import Site

__all__ = ["FAULTS", "Fault", "Site", "surprises"]
