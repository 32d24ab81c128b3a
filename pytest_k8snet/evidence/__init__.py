"""Looks closer at what failed: asks the API server, our agents, and Nodes. Does I/O."""

from __future__ import annotations

from pytest_k8snet.evidence.gathering import Sources, gather

__all__ = ["Sources", "gather"]
