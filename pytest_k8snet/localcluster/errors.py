"""What can go wrong with a local cluster; every message says what to do."""

from __future__ import annotations


class LocalClusterError(Exception):
    """A local cluster could not be made, found or removed."""


class ClusterConfigError(LocalClusterError):
    """The cluster file is wrong, or asks for what the provider cannot give."""


class UnsupportedMachineError(LocalClusterError):
    """The provider cannot run on such a machine."""


class MissingPackagesError(UnsupportedMachineError):
    """Programs of the distribution are missing."""


class BuildError(LocalClusterError):
    """A component could not be built."""


class ClusterExistsError(LocalClusterError):
    """A cluster of that name runs, or is just being made."""


class UnknownClusterError(LocalClusterError):
    """No cluster, Node or component has that name."""


class CommandError(LocalClusterError):
    """A command that had to work did not."""


class TimedOutError(LocalClusterError):
    """Something did not happen in time."""
