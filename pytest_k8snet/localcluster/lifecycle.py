"""Makes, finds and removes local clusters, whichever provider has them.

The providers are imported when they are used: this module is imported by every
pytest run of the environment that we are installed in.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, cast

from .cluster import PROBE_IMAGE, Cluster, Provider
from .errors import ClusterConfigError, LocalClusterError, UnknownClusterError
from .progress import Lines, Live, Silent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from .progress import Progress
    from .state import ClusterRecord

CONTEXT = "k8snet-"
KIND_CONTEXT = "kind-"


def up(
    file: Path,
    *,
    progress: Progress | None = None,
    install_packages: bool = False,
    kubeconfig: Path | None = None,
    name: str | None = None,
    provider: str | None = None,
    retain: bool = False,
) -> Cluster:
    """Make the cluster that a file describes, and its kubeconfig context.

    Returns when all Nodes are ready and the cluster's DNS answers. On failure and on
    interruption nothing is left, unless `retain`.
    """
    from . import config  # noqa: PLC0415 - see above

    spec = config.load(file, name)
    chosen = choose_provider(provider)
    told = progress or Silent()
    with _alive(told):
        if chosen == "kind":
            from . import kind_addons  # noqa: PLC0415 - see above

            return kind_addons.up(spec, told, kubeconfig=kubeconfig, retain=retain)
        from . import netns  # noqa: PLC0415 - see above

        record = netns.up(
            spec,
            told,
            install_packages=install_packages,
            merge_into=kubeconfig,
            retain=retain,
        )
        return _netns_cluster(record)


def down(
    name: str, *, progress: Progress | None = None, provider: str | None = None
) -> bool:
    """Remove a cluster and all that belongs to it; say whether there was anything.

    It may be in any state, also half made or half removed.
    """
    told = progress or Silent()
    from . import kind, packages, sweep  # noqa: PLC0415 - see above

    found = False
    with _alive(told):
        if provider != "kind" and packages.is_linux() and sweep.exists(name):
            packages.require_machine()
            told.stage(f"remove {name}")
            sweep.sweep(name)
            found = True
        if provider != "netns" and kind.exists(name):
            told.stage(f"kind: remove {name}")
            kind.down(name)
            found = True
    return found


def upgrade(name: str, *, progress: Progress | None = None) -> tuple[str, list[str]]:
    """Bring a cluster's Nodes to the version of its control plane, one by one.

    Interrupted at any moment, it can be called again. Returns that version, and the
    Nodes that were behind.
    """
    from . import rolling  # noqa: PLC0415 - see above

    told = progress or Silent()
    with _alive(told):
        return rolling.Rolling(_netns_record(name), told).upgrade()


def restart(
    name: str,
    component: str,
    *,
    node: str | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Restart kubelets, kube-proxies or containerds one by one; return the Nodes."""
    from . import rolling  # noqa: PLC0415 - see above

    told = progress or Silent()
    with _alive(told):
        return rolling.Rolling(_netns_record(name), told).restart(component, node)


def prepare(
    file: Path | None = None,
    *,
    progress: Progress | None = None,
    install_packages: bool = False,
) -> None:
    """Build and collect all that a netns cluster is made of, and make none.

    With a file that includes what only its cluster needs.
    """
    from . import config, netns  # noqa: PLC0415 - see above

    told = progress or Silent()
    spec = config.load(file) if file else None
    with _alive(told):
        netns.prepare(told, spec, install_packages=install_packages)


def incomplete() -> list[str]:
    """Return the names of netns clusters that are just being made, or never were."""
    from . import state  # noqa: PLC0415 - see above

    running = {record.name for record in state.records() if record.running}
    return [name for name in state.names() if name not in running]


def clusters() -> list[Cluster]:
    """Return the clusters of this machine."""
    from . import kind, state  # noqa: PLC0415 - see above

    netns = [_netns_cluster(record) for record in state.records() if record.running]
    return [*netns, *kind.clusters()]


def find(context: str) -> Cluster | None:
    """Return the local cluster behind a kubeconfig context; None when it has none."""
    if context.startswith(CONTEXT):
        from . import state  # noqa: PLC0415 - see above

        record = state.load(context.removeprefix(CONTEXT))
        return _netns_cluster(record) if record and record.running else None
    if context.startswith(KIND_CONTEXT):
        from . import kind  # noqa: PLC0415 - see above

        return kind.find(context.removeprefix(KIND_CONTEXT))
    return None


def node_command(
    name: str, node: str, argv: Sequence[str], *, terminal: bool = False
) -> list[str]:
    """Return argv that runs argv on a Node, inside all of its namespaces.

    `terminal` says that somebody types into it, which an engine wants to know.
    """
    from . import kind, state  # noqa: PLC0415 - see above
    from .node import nodes  # noqa: PLC0415 - see above

    record = state.load(name)
    if record is None:
        return kind.node_command(name, node, argv, terminal=terminal)
    for each in nodes(record):
        if node in (each.name, each.record.short):
            return each.command(argv)
    known = ", ".join(each.name for each in record.nodes)
    raise UnknownClusterError(
        f'the cluster "{name}" has no Node {node}, but it has {known}'
    )


def choose_provider(asked: str | None) -> Provider:
    """Decide who makes the cluster: as asked, else kind where that can."""
    wanted = asked or os.environ.get("K8SNET_PROVIDER") or "auto"
    if wanted not in ("auto", "kind", "netns"):
        raise ClusterConfigError(
            f"the provider is {wanted!r}, but should be auto, kind or netns "
            "[--provider or K8SNET_PROVIDER]"
        )
    if wanted == "auto":
        from . import kind  # noqa: PLC0415 - see above

        return "kind" if kind.is_here() else "netns"
    return cast("Provider", wanted)


def require(name: str | None) -> Cluster:
    """Return the cluster of that name, or the only one there is."""
    found = clusters()
    if name is not None:
        found = [cluster for cluster in found if cluster.name == name]
    if len(found) == 1:
        return found[0]
    if name is not None:
        raise UnknownClusterError(
            f'no cluster "{name}" runs here; `k8snet cluster list` shows what does'
        )
    if not found:
        raise LocalClusterError(
            "no cluster runs here; make one: k8snet cluster up FILE"
        )
    names = ", ".join(cluster.name for cluster in found)
    raise LocalClusterError(f"several clusters run here ({names}): choose with --name")


def _netns_record(name: str) -> ClusterRecord:
    """Return the record of a cluster whose Nodes are ours to change."""
    from . import state  # noqa: PLC0415 - see above

    if require(name).provider == "kind":
        raise LocalClusterError(
            f'the cluster "{name}" is kind\'s, whose Nodes are never changed; make '
            "another one with another image"
        )
    record = state.load(name)
    assert record is not None
    return record


def _netns_cluster(record: ClusterRecord) -> Cluster:
    from pytest_k8snet.model import Feature  # noqa: PLC0415 - see above

    from . import fabric  # noqa: PLC0415 - see above

    return Cluster(
        name=record.name,
        context=f"{CONTEXT}{record.name}",
        kubeconfig=record.folder / "admin.conf",
        provider="netns",
        nodes=tuple(node.name for node in record.nodes),
        outside=fabric.outside_command(record),
        features=frozenset(map(Feature, record.features)),
        image=PROBE_IMAGE,
    )


def _alive(progress: Progress) -> AbstractContextManager[None]:
    return progress.alive() if isinstance(progress, Lines | Live) else nullcontext()
