"""Holds a fault in force: a process of the cluster's that ends only to heal it.

Its control group says that it runs, so that ``cluster down`` ends it with the rest, and
a file that it has made the fault and not healed it.
"""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING

from pytest_k8snet import localcluster
from pytest_k8snet.cluster.errors import ClusterError
from pytest_k8snet.faults.catalogue import FAULTS
from pytest_k8snet.faults.site import Site, end
from pytest_k8snet.localcluster import LocalClusterError, UnknownClusterError, cgroups
from pytest_k8snet.localcluster.commands import start_detached, tail, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_k8snet.faults.fault import Fault
    from pytest_k8snet.localcluster import Cluster

SECONDS = 120
"""For a fault to be made, or healed: some start Pods of the cluster's anew."""


def find(name: str) -> Fault:
    """Return the fault of that id."""
    for fault in FAULTS:
        if fault.id == name:
            return fault
    alike = [fault.id for fault in FAULTS if name.lower() in fault.id]
    known = f"; there are {', '.join(alike)}" if alike else ""
    raise LocalClusterError(
        f'no fault is called "{name}"{known}; `k8snet fault list` shows all'
    )


def breakable(name: str) -> Cluster:
    """Return the local cluster of that name, if faults can be made on it."""
    cluster = localcluster.require(name)
    if cluster.provider != "netns":
        raise UnknownClusterError(
            f'the cluster "{name}" is made by {cluster.provider}, but faults are made '
            "only on local clusters on namespaces (--provider netns)"
        )
    return cluster


def inject(fault: Fault, cluster: Cluster) -> None:
    """Make a fault, and leave a process behind that holds it."""
    if _holders(fault, cluster):
        raise LocalClusterError(f'{fault} is in force on "{cluster.name}" already')
    _refuse_unhealed(fault, cluster)
    missing = set(fault.nodes) - {_short(node, cluster) for node in cluster.nodes}
    if missing:
        raise LocalClusterError(
            f'{fault} is made on {", ".join(sorted(missing))}, but "{cluster.name}" '
            f"has only {', '.join(cluster.nodes)}; clusters/{fault.cluster}.yaml has it"
        )
    made, log = _file(fault, cluster), _log(fault, cluster)
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    group = _group(fault)
    cgroups.make(cluster.name, group)
    argv = [sys.executable, "-m", "pytest_k8snet.faults.holder", fault.id, cluster.name]
    holder = start_detached(cgroups.joined(cluster.name, group, argv), log)
    try:
        wait_for(
            f"the making of {fault}",
            lambda: made.exists() or cgroups.dead(holder),
            timeout=SECONDS,
            hint=lambda: tail(log),
        )
    except BaseException:
        # It may be half made: then it is healed.
        end(holder, signal.SIGTERM)
        raise
    if not made.exists():
        cgroups.remove(cluster.name, group)
        raise LocalClusterError(f"{fault} could not be made: {tail(log).strip()}")


def heal(fault: Fault, cluster: Cluster) -> None:
    """End the process that holds a fault, and see to it that it has healed it."""
    holders = _holders(fault, cluster)
    if not holders:
        _refuse_unhealed(fault, cluster)
        raise LocalClusterError(f'{fault} is not in force on "{cluster.name}"')
    for pid in holders:
        end(pid, signal.SIGTERM)
    wait_for(
        f"the healing of {fault}",
        lambda: not _holders(fault, cluster),
        timeout=SECONDS,
        hint=lambda: tail(_log(fault, cluster)),
    )
    cgroups.remove(cluster.name, _group(fault))
    _refuse_unhealed(fault, cluster)


def in_force(cluster: Cluster) -> list[Fault]:
    """Return the faults that are held on a cluster."""
    return [fault for fault in FAULTS if _holders(fault, cluster)]


def _refuse_unhealed(fault: Fault, cluster: Cluster) -> None:
    if _file(fault, cluster).exists():
        said = tail(_log(fault, cluster)).strip().rpartition("\n")[2]
        raise LocalClusterError(
            f'{fault} was not healed on "{cluster.name}" '
            f"({said or 'what held it was killed'}); remove the cluster: "
            f"k8snet cluster down {cluster.name}"
        )


def _holders(fault: Fault, cluster: Cluster) -> list[int]:
    members = cgroups.processes(cluster.name, _group(fault))
    return [pid for pid in members if not cgroups.dead(pid)]


def _group(fault: Fault) -> str:
    return f"fault-{fault.id}"


def _short(node: str, cluster: Cluster) -> str:
    return node.removeprefix(f"{cluster.name}-")


def _file(fault: Fault, cluster: Cluster) -> Path:
    return cluster.kubeconfig.parent / "faults" / fault.id


def _log(fault: Fault, cluster: Cluster) -> Path:
    return _file(fault, cluster).with_suffix(".log")


def hold(fault: Fault, cluster: Cluster) -> None:
    """Make a fault, keep it until somebody sends SIGTERM, and heal it."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    made = _file(fault, cluster)
    site = Site.of(cluster)
    try:
        with fault.inject(site):
            made.touch()
            over.wait()
        made.unlink()
    finally:
        site.api.close()


def main() -> int:
    try:
        hold(find(sys.argv[1]), breakable(sys.argv[2]))
    except (LocalClusterError, ClusterError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
