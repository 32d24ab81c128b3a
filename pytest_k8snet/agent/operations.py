"""Every operation by its name, and how a request becomes a reply."""

from __future__ import annotations

import errno
import time
from contextlib import suppress
from importlib import import_module

from .outcomes import (
    NOT_PROBED,
    OUTCOME_OF_ERRNO,
    TIMED_OUT,
    TOO_BIG,
    UNREACHABLE,
    Stop,
    TimedOut,
)
from .probe import Probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .probe import Reply

OUTCOME_OF = {
    **OUTCOME_OF_ERRNO,
    errno.ENOPROTOOPT: UNREACHABLE,  # ICMP protocol unreachable
    errno.EADDRNOTAVAIL: UNREACHABLE,  # the address family is off in this Pod
    errno.EAFNOSUPPORT: UNREACHABLE,
    errno.EPROTONOSUPPORT: UNREACHABLE,  # the kernel has no such transport
    errno.EMSGSIZE: TOO_BIG,
}

MODULES = {
    "connect": "connecting",
    "hold": "connecting",
    "resume": "connecting",
    "full-size": "connecting",
    "bulk": "bulk",
    "ping": "icmp",
    "trace": "icmp",
    "http": "web",
    "fetch": "fetching",
    "tls": "tls",
    "dns": "dns",
    "lookup": "dns",
    "fact": "container",
    "bind": "container",
    "restart": "container",
    "look": "node",
}
"""Where each operation is: what nobody asks for is never imported."""


def operation(name: str) -> Callable[[Probe], str]:
    """Find the function that works on requests of that name."""
    module = import_module(f".{MODULES[name]}", __package__)
    found: Callable[[Probe], str] = getattr(module, "op_" + name.replace("-", "_"))
    return found


def load(request: Any) -> None:
    """Import what a request needs, before its time begins.

    To be called where threads with small stacks are about to run it, too: compiling
    takes more.
    """
    name = request.get("op") if isinstance(request, dict) else None
    if isinstance(name, str) and name in MODULES:
        with suppress(ImportError):  # which working on it will tell
            operation(name)


def attempt(probe: Probe) -> None:
    """Run a probe and put its outcome into the reply."""
    try:
        time.sleep(probe.seconds("wait"))
        outcome, detail = operation(probe.text("op"))(probe), probe.reply["detail"]
        probe.phase("")
    except Stop as stop:
        outcome, detail = stop.outcome, stop.detail
    except TimedOut:
        outcome, detail = TIMED_OUT, f"no answer within {probe.timeout:g} s"
    except OSError as error:
        number = error.errno or 0
        outcome = OUTCOME_OF.get(number, NOT_PROBED)
        detail = errno.errorcode.get(number, repr(error))
        if number == errno.EADDRNOTAVAIL and probe.request.get("source_port"):
            # The port pair is still in TIME_WAIT: that says nothing of the network.
            outcome = NOT_PROBED
    except Exception as error:  # noqa: BLE001 - our bug is never evidence
        outcome, detail = NOT_PROBED, repr(error)
    probe.reply["outcome"], probe.reply["detail"] = outcome, detail
    probe.reply["seconds"] = round(time.monotonic() - probe.begin, 6)


def run(request: Any, state_dir: str = "", state: Reply | None = None) -> Probe:
    """Work on one request. Whatever it is, there is a reply."""
    load(request)
    try:
        probe = Probe(request, state_dir, state or {})
    except (TypeError, ValueError, AttributeError) as error:
        number = request.get("id") if isinstance(request, dict) else None
        probe = Probe({"id": number}, state_dir, {})
        probe.reply["detail"] = repr(error)
        return probe
    attempt(probe)
    return probe
