"""What can be wrong with a cluster as its API shows it.

Every message is one line: what is wrong, where, and what to do about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class ClusterError(Exception):
    """The cluster, or the way to it, does not do what was asked."""


class UnknownContext(ClusterError):  # noqa: N818 - reads as what is wrong
    """The kubeconfig has no such context, or cannot be read."""

    def __init__(self, context: str, where: str, known: Sequence[str]) -> None:
        there = ", ".join(sorted(known)) or "none"
        super().__init__(
            f"context {context!r} is not in {where}; contexts there are: {there}"
        )
        self.context = context
        self.known = tuple(known)


class Unreachable(ClusterError):  # noqa: N818
    """No answer from the API server."""

    def __init__(self, server: str, why: str, advice: str = "") -> None:
        advice = advice or "check that the cluster runs and that the context is right"
        super().__init__(f"cannot reach the API server at {server}: {why}; {advice}")
        self.server = server
        self.why = why


class NoStream(Unreachable):
    """No stream to a container in time: the API server, or who it asks, is silent."""

    def __init__(self, server: str, why: str) -> None:
        ClusterError.__init__(
            self,
            f"no stream through the API server at {server}: {why}; check that it runs, "
            "and that it reaches the kubelet of the Pod's Node",
        )
        self.server = server
        self.why = why


class StreamLost(ClusterError):  # noqa: N818
    """A stream into a container ended, or never came to be."""


class ApiError(ClusterError):
    """The API server refused a request.

    Attributes:
        status: the HTTP status.
        reason: the machine-readable reason, such as "Invalid".
        message: what the API server says.

    """

    def __init__(self, what: str, status: int, reason: str, message: str) -> None:
        said = " ".join(message.split()) or reason or "no reason given"
        super().__init__(f"{what}: {said} ({status}{reason and ' ' + reason})")
        self.status = status
        self.reason = reason
        self.message = message


class NotFound(ApiError):  # noqa: N818
    """There is no such object."""


class Conflict(ApiError):  # noqa: N818
    """The object exists already, or was changed meanwhile."""


class Forbidden(ApiError):  # noqa: N818
    """Role-based access control does not allow it."""

    def __init__(
        self, verb: str, resource: str, namespace: str, reason: str, message: str
    ) -> None:
        where = f"in namespace {namespace}" if namespace else "cluster-wide"
        what = (
            f"not allowed to {verb} {resource} {where}: grant the verb {verb!r} on "
            f"{resource!r} (--k8snet-plan, run by who may look around, prints the "
            "whole ClusterRole)"
        )
        super().__init__(what, 403, reason, message)
        self.verb = verb
        self.resource = resource
        self.namespace = namespace
