"""What the kernel of this machine has."""

from __future__ import annotations

import socket

from pytest_k8snet.agent.sockets import TRANSPORTS


def has_sctp() -> bool:
    """Whether a program may open an SCTP socket."""
    try:
        socket.socket(socket.AF_INET, *TRANSPORTS["sctp"]).close()
    except OSError:
        return False
    return True
