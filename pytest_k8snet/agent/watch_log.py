"""What a watch saw and nobody fetched yet."""

from __future__ import annotations

from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

GAP = 1.0
"""Seconds without a question after which what was seen before is no longer the same."""

RUNS = 50_000
"""How much is kept for a controller that does not fetch it; the oldest goes first."""


class Log:
    """What was seen and not fetched yet.

    A run is [number of the path, outcome, first sent, last sent, count]: as many
    questions in a row with the same outcome.
    """

    def __init__(self) -> None:
        self.number = 0
        self.kept: list[dict[str, Any]] = []
        self._clear()

    def _clear(self) -> None:
        self.runs: deque[list[Any]] = deque(maxlen=RUNS)
        self.broken: deque[list[Any]] = deque(maxlen=RUNS)
        self.late: deque[list[float]] = deque(maxlen=RUNS)
        self._last: dict[int, list[Any]] = {}

    def note(self, number: int, outcome: str, sent: float) -> None:
        """Add one outcome."""
        last = self._last.get(number)
        if last and last[1] == outcome and sent - last[3] <= GAP:
            last[3] = sent
            last[4] += 1
            return
        run = self._last[number] = [number, outcome, sent, sent, 1]
        self.runs.append(run)

    def fetch(self, after: int) -> list[dict[str, Any]]:
        """Give every batch later than that number: what came before has arrived."""
        self.kept = [batch for batch in self.kept if batch["number"] > after]
        if self.runs or self.broken or self.late:
            self.number += 1
            parts = {"runs": self.runs, "broken": self.broken, "late": self.late}
            lists = {name: list(part) for name, part in parts.items()}
            self.kept.append({"number": self.number, **lists})
            self._clear()
        return self.kept
