"""Removes a cluster, or whatever a killed `up` has left of one."""

from __future__ import annotations

import shutil
from pathlib import Path

from . import cgroups, fabric, kubeconfig, paths, state, sysctls
from .commands import wait_for
from .errors import LocalClusterError


def exists(name: str) -> bool:
    """Say whether anything of a netns cluster is there."""
    return (
        name in state.names()
        or name in cgroups.clusters()
        or bool(fabric.namespaces(name))
    )


def sweep(name: str) -> None:
    """Remove everything that belongs to a cluster; does nothing when nothing does."""
    record = state.load(name)
    # Only what is in our own control groups is killed. A Node's mounts live in its
    # mount namespace and go with its last process.
    cgroups.kill(name)
    cgroups.remove(name)
    fabric.remove(name)
    problem = _remove_context(name, record)
    wait_for(f"removal of {name}'s folder", lambda: _folder_gone(name), timeout=20)
    with state.locked():
        sysctls.restore_limits()
    state.remove_home_if_empty()
    if problem:
        raise problem


def _remove_context(
    name: str, record: state.ClusterRecord | None
) -> LocalClusterError | None:
    """Remove the cluster's contexts; a file that cannot be read stops nothing else."""
    files = {kubeconfig.default_file()}
    if record and record.kubeconfig:
        files.add(Path(record.kubeconfig))
    problem = None
    for file in files:
        try:
            kubeconfig.remove(file, f"k8snet-{name}")
        except LocalClusterError as error:
            problem = error
    return problem


def _folder_gone(name: str) -> bool:
    # The kernel takes a moment to let go of the mounts of a killed Node.
    state.remove(name)
    return not (paths.state_home() / name).exists()


def save_logs(name: str) -> Path | None:
    """Keep the logs of a cluster that failed; return where."""
    found = sorted((paths.state_home() / name).glob("nodes/*/log/*.log"))
    if not found:
        return None
    target = paths.cache_home() / "logs" / name
    shutil.rmtree(target, ignore_errors=True)
    for log in found:
        folder = target / log.parent.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(log, folder)
    return target
