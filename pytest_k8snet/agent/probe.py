"""One request while it is worked on."""

from __future__ import annotations

import json
import socket
import threading
import time

from .addresses import plain
from .outcomes import ANSWERED_WRONGLY, NAME_NOT_FOUND, NOT_PROBED, TIMED_OUT, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Reply = dict[str, Any]


class Probe:
    """One request while it is worked on.

    What is learnt goes into the reply at once, so that it is there however the probe
    ends.
    """

    def __init__(self, request: dict[str, Any], state_dir: str, state: Reply) -> None:
        self.request = request
        self.state_dir = state_dir
        self.state = state
        self.begin = time.monotonic()
        self.timeout = float(request.get("timeout") or 4.0)
        self.after: Callable[[], None] | None = None
        self.reply: Reply = {
            "id": request.get("id"),
            "outcome": NOT_PROBED,
            "phase": "",
            "detail": "",
            "seconds": 0.0,
            "own": "",
            "who": "",
            "peer": "",
            "local": "",
            "values": [],
        }

    def text(self, key: str, default: str | None = None) -> str:
        """Give a field that must be a string."""
        value = self.request.get(key)
        if value is None or value == "":
            if default is None:
                raise ValueError(f"{key} is missing")
            return default
        if not isinstance(value, str):
            raise TypeError(f"{key} is not a string: {value!r}")
        return value

    def number(self, key: str, default: int | None = None) -> int:
        """Give a field that must be a number."""
        value = self.request.get(key)
        if value is None:
            if default is None:
                raise ValueError(f"{key} is missing")
            return default
        return int(value)

    def seconds(self, key: str) -> float:
        """Give a field that may be a number of seconds; none without it."""
        return float(self.request.get(key) or 0)

    def phase(self, name: str) -> None:
        """Note how far the probe has come."""
        self.reply["phase"] = name

    def left(self, most: float = 3600.0) -> float:
        """Give the seconds that are left, at most MOST; there is always some."""
        left = self.begin + self.timeout - time.monotonic()
        if left <= 0:
            raise Stop(TIMED_OUT, f"no answer within {self.timeout:g} s")
        return min(left, most)

    def address(self) -> str:
        """Give the address to dial; a name is resolved as a program would."""
        if self.request.get("address"):
            return self.text("address")
        self.phase("resolve")
        return self.resolve(self.text("name"), self.text("family", ""))[0]

    def resolve(self, name: str, family: str) -> list[str]:
        """Ask the C library, which knows no deadline, in a thread of its own."""
        wanted = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}.get(family, 0)
        answers: list[Any] = []
        done = threading.Event()

        def ask() -> None:
            try:
                kind = socket.SOCK_STREAM
                answers.append(socket.getaddrinfo(name, None, wanted, kind))
            except (OSError, UnicodeError) as error:
                answers.append(error)
            done.set()

        threading.Thread(target=ask, daemon=True).start()
        if not done.wait(self.left()):
            raise Stop(TIMED_OUT, f"no answer within {self.timeout:g} s")
        answer = answers[0]
        if isinstance(answer, socket.gaierror):
            raise resolver_stop(answer)
        if isinstance(answer, Exception):
            raise answer
        found = [plain(entry[4][0]) for entry in answer]
        return list(dict.fromkeys(found))

    def take_identity(self, data: bytes) -> Reply:
        """Note who answered; anything but an agent's answer is a wrong one."""
        try:
            seen = json.loads(data)
            self.reply["who"] = str(seen["who"])
            self.reply["peer"] = str(seen["peer"])
            self.reply["local"] = str(seen["local"])
            self.reply["values"] = [str(seen["port"])]
        except (ValueError, KeyError, TypeError):
            shown = data[:80].decode("latin-1").strip()
            raise Stop(ANSWERED_WRONGLY, f"not an agent: {shown!r}") from None
        assert isinstance(seen, dict)
        return seen


def resolver_stop(error: socket.gaierror) -> Stop:
    """Say what the C library's error means."""
    names = {getattr(socket, n): n for n in dir(socket) if n.startswith("EAI_")}
    detail = names.get(error.errno, str(error))
    # glibc's EAI_ADDRFAMILY: the name exists, in the other family only.
    if detail in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY"):
        return Stop(NAME_NOT_FOUND, detail)
    if detail == "EAI_AGAIN":
        return Stop(TIMED_OUT, detail)
    if detail == "EAI_FAIL":
        return Stop(ANSWERED_WRONGLY, detail)
    return Stop(NOT_PROBED, detail)
