"""Real Kubernetes clusters on this machine, from a kind configuration file."""

from __future__ import annotations

from .cluster import PROBE_IMAGE, Cluster, Provider
from .errors import (
    BuildError,
    ClusterConfigError,
    ClusterExistsError,
    CommandError,
    LocalClusterError,
    MissingPackagesError,
    TimedOutError,
    UnknownClusterError,
    UnsupportedMachineError,
)
from .inspect import (
    NodeStatus,
    Status,
    kubeconfig_text,
    logs_command,
    status,
    versions,
)
from .lifecycle import (
    clusters,
    down,
    find,
    incomplete,
    node_command,
    prepare,
    require,
    restart,
    up,
    upgrade,
)

__all__ = [
    "PROBE_IMAGE",
    "BuildError",
    "Cluster",
    "ClusterConfigError",
    "ClusterExistsError",
    "CommandError",
    "LocalClusterError",
    "MissingPackagesError",
    "NodeStatus",
    "Provider",
    "Status",
    "TimedOutError",
    "UnknownClusterError",
    "UnsupportedMachineError",
    "clusters",
    "down",
    "find",
    "incomplete",
    "kubeconfig_text",
    "logs_command",
    "node_command",
    "prepare",
    "require",
    "restart",
    "status",
    "up",
    "upgrade",
    "versions",
]
