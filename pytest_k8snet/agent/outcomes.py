"""The words for what came of a probe: those of ``model.Outcome``."""

from __future__ import annotations

import errno
import socket

# Python 3.9 is the floor here, whatever the rest of the project asks for, and there
# socket.timeout is no TimeoutError yet.

TimedOut = (socket.timeout, TimeoutError)

CONNECTED, ANSWERED, REFUSED, RESET = "connected", "answered", "refused", "reset"
TIMED_OUT, UNREACHABLE, TOO_BIG = "timed out", "unreachable", "too big"
NAME_NOT_FOUND, ANSWERED_WRONGLY = "name not found", "answered wrongly"
NOT_PROBED, UNSUPPORTED = "not probed", "not supported"

OUTCOME_OF_ERRNO = {
    errno.ECONNREFUSED: REFUSED,
    errno.ECONNRESET: RESET,
    errno.ECONNABORTED: RESET,
    errno.EPIPE: RESET,
    errno.ETIMEDOUT: TIMED_OUT,
    errno.EHOSTUNREACH: UNREACHABLE,
    errno.ENETUNREACH: UNREACHABLE,
    errno.EHOSTDOWN: UNREACHABLE,
    errno.ENETDOWN: UNREACHABLE,
    errno.EACCES: UNREACHABLE,  # a prohibit route
    errno.EINVAL: UNREACHABLE,  # a blackhole route
    errno.EPERM: UNREACHABLE,  # dropped by the sender's own OUTPUT chain
}


class Stop(Exception):  # noqa: N818 - an answer, not an error
    """Ends a probe with an outcome that is not an operating system error."""

    def __init__(self, outcome: str, detail: str = "") -> None:
        super().__init__(outcome, detail)
        self.outcome = outcome
        self.detail = detail
