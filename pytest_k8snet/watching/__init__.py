"""A watch: agents that go on asking along every path, and what they saw."""

from __future__ import annotations

from .watch import LIFETIME, Watch

__all__ = ["LIFETIME", "Watch"]
