"""Real Kubernetes clusters on this machine, from a kind configuration file."""

from __future__ import annotations

from .cluster import Cluster, Provider
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
from .inspect import NodeStatus, Status, kubeconfig_text, logs_command, status
from .lifecycle import (
    clusters,
    down,
    find,
    incomplete,
    load_probe_image,
    node_command,
    prepare,
    require,
    up,
)

# Pods of a local cluster can use this image; there is no registry to pull another from.
PROBE_IMAGE = "k8snet.local/probe:1"

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
    "load_probe_image",
    "logs_command",
    "node_command",
    "prepare",
    "require",
    "status",
    "up",
]
