"""The first connection that a container tries, before anything else is done there."""

from __future__ import annotations

import os
import threading
import time

from .operations import load, run
from .outcomes import CONNECTED
from .processes import FIRST, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SECONDS = 1.0  # for which a container that was just started keeps dialling


def dial_first(address: str, port: int, folder: str) -> None:
    """Begin to dial, and have what came of it written down in a folder."""
    request = {"op": "connect", "address": address, "port": port}
    request["timeout"] = SECONDS / 10
    load(request)
    path = os.path.join(folder, FIRST)
    threading.Thread(target=keep_dialling, args=(request, path), daemon=True).start()


def keep_dialling(request: dict[str, Any], path: str) -> None:
    """Dial until somebody answers, or for as long as that may take."""
    end = time.monotonic() + SECONDS
    while True:
        reply = run(request).reply
        if reply["outcome"] == CONNECTED or time.monotonic() > end:
            break
        time.sleep(0.01)
    write_json(path, {"outcome": reply["outcome"]})
