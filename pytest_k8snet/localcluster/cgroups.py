"""Control groups: they hold a cluster's processes together, and find them again.

`<hierarchy>/k8snet/<cluster>/<node>` in every mounted hierarchy. Membership is
inherited and cannot be left by accident, so that it is the one reliable answer to
"which processes belong to this cluster".
"""

from __future__ import annotations

import os
import shlex
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .commands import wait_for
from .errors import UnsupportedMachineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path("/sys/fs/cgroup")
OURS = "k8snet"


@dataclass(frozen=True)
class Hierarchies:
    """The mounted cgroup hierarchies: several of version 1, or one of version 2."""

    mounts: tuple[Path, ...]
    unified: bool


def hierarchies() -> Hierarchies:
    """Read which cgroup hierarchies this machine has mounted."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if kind == "cgroup2" and Path(point) == ROOT:
            return Hierarchies((ROOT,), unified=True)
        if kind == "cgroup" and Path(point).parent == ROOT:
            found.append(Path(point))
    if not found:
        raise UnsupportedMachineError(
            f"no cgroup hierarchy is mounted below {ROOT}, but the kubelet needs one"
        )
    return Hierarchies(tuple(sorted(set(found))), unified=False)


def folders(cluster: str, node: str) -> tuple[Path, ...]:
    """Return a Node's groups, one per hierarchy."""
    return tuple(mount / OURS / cluster / node for mount in hierarchies().mounts)


def make(cluster: str, node: str) -> None:
    """Make a Node's groups."""
    tree = hierarchies()
    for mount in tree.mounts:
        steps = (
            mount / OURS,
            mount / OURS / cluster,
            mount / OURS / cluster / node,
        )
        for step in steps:
            if tree.unified:
                _delegate(step.parent)
            step.mkdir(exist_ok=True)
            if not tree.unified and (step / "cpuset.cpus").exists():
                _inherit_cpus(step)
        if tree.unified:
            # With version 2 a group with children must have no process of its own.
            (steps[-1] / "init").mkdir(exist_ok=True)


def _inherit_cpus(group: Path) -> None:
    """A new version 1 cpuset is empty, and lets no process in until it is filled."""
    for key in ("cpuset.cpus", "cpuset.mems"):
        if not (group / key).read_text().strip():
            (group / key).write_text((group.parent / key).read_text())


def _delegate(group: Path) -> None:
    for controller in (group / "cgroup.controllers").read_text().split():
        try:
            (group / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError:
            # Not every controller can be delegated everywhere; the kubelet
            # names those that it misses.
            continue


def joined(cluster: str, node: str, argv: Sequence[str]) -> list[str]:
    """Return argv that runs argv as a member of the Node's groups."""
    leaf = "init" if hierarchies().unified else ""
    return _in(tuple(group / leaf for group in folders(cluster, node)), argv)


def rooted(cluster: str, node: str, argv: Sequence[str]) -> list[str]:
    """Return argv that runs argv in a new cgroup namespace, rooted at the Node's."""
    unshare = ["unshare", "--cgroup", *joined(cluster, node, argv)]
    return _in(folders(cluster, node), unshare)


def _in(groups: tuple[Path, ...], argv: Sequence[str]) -> list[str]:
    # A shell moves itself and becomes the command: unlike a function between fork
    # and exec in Python, that is safe in a program with threads.
    moves = "".join(f"echo 0 >{shlex.quote(str(g))}/cgroup.procs;" for g in groups)
    return ["/bin/sh", "-c", f'{moves} exec "$@"', "k8snet", *argv]


def clusters() -> set[str]:
    """Return the names of all clusters that have groups."""
    return {
        folder.name
        for mount in hierarchies().mounts
        if (mount / OURS).is_dir()
        for folder in (mount / OURS).iterdir()
        if folder.is_dir()
    }


def processes(cluster: str, node: str = "") -> set[int]:
    """Return the processes of a cluster, or of one Node."""
    found: set[int] = set()
    for mount in hierarchies().mounts:
        for group in _walk(mount / OURS / cluster / node):
            try:
                found |= set(map(int, (group / "cgroup.procs").read_text().split()))
            except OSError:
                # Gone since it was listed.
                continue
    # A member of an inner PID namespace that we cannot see is shown as 0.
    return found - {0}


def own_processes(cluster: str, node: str) -> set[int]:
    """Return the processes of a Node itself: those that are in no container."""
    leaf = "init" if hierarchies().unified else ""
    groups = [group / leaf / "cgroup.procs" for group in folders(cluster, node)]
    try:
        found = [set(map(int, group.read_text().split())) for group in groups]
    except OSError:
        # There is no such Node any more.
        return set()
    return set.intersection(*found)


def _walk(top: Path) -> Iterator[Path]:
    for folder, _, _ in os.walk(top, topdown=False):
        yield Path(folder)


def kill(cluster: str, node: str = "") -> None:
    """Kill every process of a cluster (or of one Node), and wait until all are gone."""

    def gone() -> bool:
        members = {pid for pid in processes(cluster, node) if not dead(pid)}
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not members

    wait_for(f"the end of the processes of {cluster}", gone, timeout=30, every=0.02)


def dead(pid: int) -> bool:
    """Say whether at most the entry in the process table is left of it."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        )
    except OSError:
        return True


def remove(cluster: str, node: str = "") -> None:
    """Remove the groups of a cluster (or of one Node), and ours above when empty."""
    for mount in hierarchies().mounts:
        top = mount / OURS / cluster / node
        wait_for(f"the removal of {top}", partial(_removed, top), timeout=10)
        try:
            (mount / OURS).rmdir()
        except OSError:
            # Not empty: other clusters run. Or not there.
            continue


def _removed(top: Path) -> bool:
    for group in _walk(top):
        try:
            group.rmdir()
        except OSError:
            # Busy until the kernel has let go of the last member.
            time.sleep(0.005)
    return not top.is_dir()
