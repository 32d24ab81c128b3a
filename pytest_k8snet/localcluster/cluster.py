"""A local cluster, as everybody else sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_k8snet.model import Feature

Provider = Literal["netns", "kind"]
PROBE_IMAGE = "k8snet.local/probe:1"
"""Pods of our clusters can use it; there is no registry to pull another from."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that this machine runs.

    `outside` is the argv prefix that runs a command where no Node and no Pod is, but
    from where the Nodes can be reached; empty when the provider has no such place.
    `features` are those that the cluster file claims. `image` is one with Python that
    all Nodes have; empty when none is known.
    """

    name: str
    context: str
    kubeconfig: Path
    provider: Provider
    nodes: tuple[str, ...]
    outside: tuple[str, ...] = ()
    features: frozenset[Feature] = frozenset()
    image: str = ""
