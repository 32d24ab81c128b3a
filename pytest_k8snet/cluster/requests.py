"""Requests on their way to an agent: what waits for each, and how they are written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from concurrent.futures import Future

LINE = 48 * 1024  # a message fits in one websocket frame of every server


@dataclass
class Pending:
    """A request that was handed over, and what waits for it."""

    request: Mapping[str, object]
    future: Future[Mapping[str, Any]]
    deadline: float = 0.0
    handed_over: float = 0.0
    repeated: bool = False

    @property
    def timeout(self) -> float:
        value = self.request.get("timeout")
        return float(value) if isinstance(value, (int, float)) else 4.0

    @property
    def ends_something(self) -> bool:
        """Whether asking twice is more than asking once."""
        return self.request.get("op") == "restart"


def messages(requests: Iterable[Mapping[str, object]]) -> list[bytes]:
    """Spread requests over lines of a limited length."""
    lines: list[bytes] = []
    batch: list[str] = []
    size = 0
    for request in requests:
        text = json.dumps(request)
        if batch and size + len(text) > LINE:
            lines.append(_message(batch))
            batch, size = [], 0
        batch.append(text)
        size += len(text) + 2
    return [*lines, _message(batch)] if batch else lines


def _message(batch: Sequence[str]) -> bytes:
    return ('{"requests": [' + ", ".join(batch) + "]}\n").encode()
