"""Real faults, one at a time: which are seen, and of which is the cause named.

What is expected of each is said where the tests say it.
"""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parents[2] / "tests"

sys.path[:0] = [str(TESTS), str(TESTS / "cluster")]
