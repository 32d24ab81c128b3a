"""The Nodes of the clusters that faults are made on, without the cluster's name."""

from __future__ import annotations

FIRST, ONE, OTHER = "control-plane", "worker", "worker2"
