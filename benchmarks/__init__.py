"""What is measured, most of it on real clusters: by hand, and by none of the tests.

What is expected, and what is made up on paper, is said where the tests say it.
"""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"

sys.path[:0] = [str(TESTS), str(TESTS / "cluster")]
