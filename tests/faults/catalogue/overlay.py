"""What must be seen of faults of the tunnels between Nodes. See ``network``."""

from __future__ import annotations
