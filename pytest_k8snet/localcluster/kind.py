"""The kind provider: drives `kind` where a container engine answers."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import kubeconfig as kubeconfigs
from .cluster import PROBE_IMAGE, Cluster
from .commands import run, run_aloud
from .errors import (
    ClusterExistsError,
    CommandError,
    LocalClusterError,
    UnknownClusterError,
    UnsupportedMachineError,
)
from .packages import find as find_program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .config import ClusterSpec
    from .progress import Progress

ENGINES = ("docker", "podman", "nerdctl")
# kind's own variable to choose one of several.
CHOICE = "KIND_EXPERIMENTAL_PROVIDER"
# An engine that runs answers in much less; one that hangs must not hang us.
ENGINE_SECONDS = 5
WAIT_SECONDS = 180


def is_here() -> bool:
    """Whether kind is installed and has an engine to drive."""
    return find_program("kind") is not None and engine() is not None


def engine() -> str | None:
    """Return the container engine that answers, if one does."""
    chosen = os.environ.get(CHOICE)
    for name in [chosen] if chosen else ENGINES:
        if find_program(name) is None:
            continue
        try:
            if run([name, "info"], check=False, timeout=ENGINE_SECONDS).returncode == 0:
                return name
        except CommandError:
            # It hangs: as good as not there.
            continue
    return None


def up(
    spec: ClusterSpec,
    progress: Progress,
    *,
    kubeconfig: Path | None,
    retain: bool,
) -> Cluster:
    """Make a cluster with kind."""
    program = _require()
    if spec.name in _names():
        raise ClusterExistsError(
            f'node(s) already exist for a cluster with the name "{spec.name}"; remove '
            f"it with `k8snet cluster down {spec.name}`, or give this one another "
            "--name"
        )
    target = kubeconfig or kubeconfigs.default_file()
    with tempfile.TemporaryDirectory(prefix="k8snet-") as folder:
        # kind refuses a second document; ours is not for it.
        config = Path(folder) / "kind.yaml"
        config.write_text(spec.kind_document)
        argv = [program, "create", "cluster", "--name", spec.name]
        argv += ["--config", str(config), "--kubeconfig", str(target)]
        if spec.cni == "bridge":
            argv += ["--wait", f"{WAIT_SECONDS}s"]
        if retain:
            argv.append("--retain")
        progress.stage("kind create cluster")
        try:
            run_aloud(argv, progress.detail, name="kind create cluster")
        except BaseException:
            # kind cleans up after its own failures, but not when it is interrupted.
            if not retain:
                run([program, "delete", "cluster", "--name", spec.name], check=False)
            raise
    return _cluster(spec.name, target)


def exists(name: str) -> bool:
    """Say whether kind has a cluster of that name; False when it cannot be asked."""
    return find_program("kind") is not None and name in _names()


def down(name: str) -> None:
    """Remove a cluster of kind, and its context."""
    run([_require(), "delete", "cluster", "--name", name])


def clusters() -> list[Cluster]:
    """Return kind's clusters; none when it cannot be asked."""
    if find_program("kind") is None:
        return []
    return [_cluster(name, kubeconfigs.default_file()) for name in _names()]


def find(name: str) -> Cluster | None:
    """Return kind's cluster of that name."""
    found = _known(name)
    if found is None:
        return None
    return replace(found, image=PROBE_IMAGE if _has_probe_image(found) else "")


def _known(name: str) -> Cluster | None:
    return _cluster(name, kubeconfigs.default_file()) if exists(name) else None


def _has_probe_image(cluster: Cluster) -> bool:
    """Say whether it is a cluster that we made, or that somebody gave our image."""
    asked = ["ctr", "--namespace", "k8s.io", "images", "ls", f"name=={PROBE_IMAGE}"]
    program = engine()
    return program is not None and all(
        PROBE_IMAGE in run([program, "exec", node, *asked], check=False).stdout
        for node in cluster.nodes
    )


def api_ready(cluster: Cluster) -> bool:
    """Say whether a cluster's API server answers, as its own Node sees it."""
    argv = ["kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "get", "--raw"]
    inside = node_command(cluster.name, cluster.nodes[0], [*argv, "/readyz"])
    return run(inside, check=False, timeout=20).returncode == 0


def versions(cluster: Cluster) -> list[tuple[str, str]]:
    """Return the Kubernetes version of each Node, as its image says; "" for none."""
    program = engine()
    asked = ["cat", "/kind/version"]
    return [
        (
            node,
            run([program, "exec", node, *asked], check=False).stdout.strip()
            if program
            else "",
        )
        for node in cluster.nodes
    ]


def kubeconfig_text(name: str) -> str:
    """Return a kubeconfig with only that cluster in it."""
    return run([_require(), "get", "kubeconfig", "--name", name]).stdout


def load_image(name: str, archive: Path) -> None:
    """Give all Nodes of a cluster an image."""
    argv = [_require(), "load", "image-archive", str(archive), "--name", name]
    run(argv, timeout=300)


def node_command(
    name: str, node: str, argv: Sequence[str], *, terminal: bool = False
) -> list[str]:
    """Return argv that runs argv on a Node of a kind cluster."""
    program = engine()
    cluster = _known(name) if program else None
    if program is None or cluster is None:
        raise UnknownClusterError(
            f'no cluster "{name}" runs here; `k8snet cluster list` shows what does'
        )
    for known in cluster.nodes:
        if node in (known, known.removeprefix(f"{name}-")):
            return [program, "exec", "-it" if terminal else "-i", known, *argv]
    raise UnknownClusterError(
        f'the cluster "{name}" has no Node {node}, but it has '
        f"{', '.join(cluster.nodes)}"
    )


def _cluster(name: str, kubeconfig: Path) -> Cluster:
    said = run(["kind", "get", "nodes", "--name", name], check=False).stdout
    # The control plane first, as everywhere here.
    found = sorted(said.split(), key=lambda node: (not _control(name, node), node))
    return Cluster(
        name=name,
        context=f"kind-{name}",
        kubeconfig=kubeconfig,
        provider="kind",
        nodes=tuple(found),
    )


def _control(name: str, node: str) -> bool:
    return node.removeprefix(f"{name}-").startswith("control-plane")


def _names() -> list[str]:
    # With no engine kind fails, and then there are none.
    done = run(["kind", "get", "clusters"], check=False, timeout=30)
    return done.stdout.split() if done.returncode == 0 else []


def _require() -> str:
    program = find_program("kind")
    if program is None:
        raise UnsupportedMachineError(
            "kind was not found on PATH, but the kind provider drives it; install it "
            "(https://kind.sigs.k8s.io/docs/user/quick-start/#installation), or use "
            "--provider netns as root on Linux"
        )
    if engine() is None:
        raise LocalClusterError(
            "kind needs a container engine, but none of docker, podman and nerdctl "
            f"answers within {ENGINE_SECONDS} s; start one, or use --provider netns "
            "as root on Linux"
        )
    return program
