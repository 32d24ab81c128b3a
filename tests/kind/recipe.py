"""What the tier is made of, each part made once per content and kept in the cache."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from kind import node_image
from pytest_k8snet.localcluster import images, packages, paths
from pytest_k8snet.localcluster.build import build_all
from pytest_k8snet.localcluster.component import COMPONENTS, Component, Source
from pytest_k8snet.localcluster.errors import MissingPackagesError

if TYPE_CHECKING:
    from pytest_k8snet.localcluster.progress import Progress

HERE = Path(__file__).parent
MOBY = "github.com/moby/moby/v2"
CONTAINERD = "github.com/containerd/containerd/v2/cmd"
# Its command line cannot be built: a module of it is not to be had.
DOCKER_CLI = "docker"
KUBERNETES = next(c for c in COMPONENTS if c.name == "kubernetes")

ENGINE = Component(
    "engine",
    (f"{MOBY}/cmd/dockerd", f"{MOBY}/cmd/docker-proxy"),
    f"-s -w -X {MOBY}/dockerversion.Version=29.0.0-k8snet",
    home=HERE / "components",
)
CONTAINERD_OF_BOTH = Component(
    "containerd",
    tuple(
        f"{CONTAINERD}/{program}"
        for program in ("containerd", "containerd-shim-runc-v2", "ctr")
    ),
    home=HERE / "components",
)
"""The engine's, and the Nodes'."""
KIND = Component(
    "kind",
    ("sigs.k8s.io/kind",),
    sources=(Source("sigs.k8s.io/kind", "images/base/files"),),
    home=HERE / "components",
)
KUBEADM = Component(
    "kubeadm",
    ("k8s.io/kubernetes/cmd/kubeadm", "k8s.io/kubernetes/cmd/kubectl"),
    KUBERNETES.ldflags,
    home=HERE / "components",
)


@dataclass(frozen=True)
class Materials:
    """Folders of programs, for PATH; and the archive of the node image."""

    programs: tuple[Path, ...]
    node_image: Path


def prepare(progress: Progress, *, install_packages: bool) -> Materials:
    """Build whatever of it the cache does not hold: six minutes, or a second.

    Raises:
        LocalClusterError: when something cannot be built, or is missing.

    """
    packages.require_machine()
    packages.require(install=install_packages, say=progress.stage)
    if absent := packages.missing((DOCKER_CLI, "debootstrap")):
        raise MissingPackagesError(
            f"missing programs: {', '.join(absent)}; the tests with kind need "
            "debootstrap, and docker's command line, version 25 or newer"
        )
    mine = (ENGINE, CONTAINERD_OF_BOTH, KIND, KUBEADM)
    binaries = build_all(progress, (*COMPONENTS, *mine))
    progress.stage("images of a Node")
    archives = images.archives(node_image.contents(binaries), progress)
    home = paths.cache_home() / "kind"
    home.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(Path(node_image.__file__).read_bytes())
    for made_of in (*binaries.folders.values(), *archives.values()):
        # Their names say their content.
        key.update(f"\0{made_of.name}".encode())
    archive = home / f"node-{key.hexdigest()[:16]}.tar"
    with FileLock(home / ".lock"):
        if not archive.exists():
            paths.remove_unfinished(home)
            for old in home.glob("node-*"):
                old.unlink()
            node_image.build(archive, binaries, archives, progress)
    engine = (binaries[c.name] for c in (ENGINE, CONTAINERD_OF_BOTH, KIND))
    return Materials(tuple(engine), archive)
