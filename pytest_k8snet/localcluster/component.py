"""What is built from Go: programs that a go.mod pins, and what belongs to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import paths

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

KUBERNETES_VERSION = "v1.36.1"
PREVIOUS_VERSION = "v1.35.4"
_CNI = "github.com/containernetworking/plugins/plugins"


@dataclass(frozen=True)
class Edit:
    """A change to a module's file, without which it would not build or not run."""

    module: str
    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Source:
    """A file or folder of a module that is kept beside the programs, under its name."""

    module: str
    path: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Component:
    """Programs that one go.mod pins, and what else of their modules is needed.

    `tests` are packages whose tests make a program, too: NAME.test. The go.mod is in
    `home`, in a folder of the component's name.
    """

    name: str
    packages: tuple[str, ...]
    ldflags: str = "-s -w"
    tags: str = ""
    edits: tuple[Edit, ...] = ()
    sources: tuple[Source, ...] = ()
    tests: tuple[str, ...] = ()
    home: Path = paths.COMPONENTS

    @property
    def folder(self) -> Path:
        return self.home / self.name


def _kubernetes(name: str, version: str, programs: Sequence[str]) -> Component:
    """Return programs of Kubernetes that say of themselves which version they are."""
    package = "-X k8s.io/component-base/version"
    major, minor, _ = version.removeprefix("v").split(".")
    return Component(
        name,
        tuple(f"k8s.io/kubernetes/cmd/{program}" for program in programs),
        f"-s -w {package}.gitVersion={version} {package}.gitMajor={major} "
        f"{package}.gitMinor={minor} {package}.gitTreeState=clean",
    )


CNI = Component(
    "cni",
    tuple(
        f"{_CNI}/{plugin}"
        for plugin in (
            "main/bridge",
            "ipam/host-local",
            "main/loopback",
            "meta/portmap",
        )
    ),
)
KUBERNETES = _kubernetes(
    "kubernetes",
    KUBERNETES_VERSION,
    (
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
        "kubelet",
    ),
)
PREVIOUS = _kubernetes("kubernetes-1.35", PREVIOUS_VERSION, ("kube-proxy", "kubelet"))
NODE_VERSIONS = {KUBERNETES_VERSION: KUBERNETES, PREVIOUS_VERSION: PREVIOUS}
"""Where the kubelet and kube-proxy of each version come from that a Node can run."""
COMPONENTS = (
    Component("pause", (".",)),
    CNI,
    Component("etcd", ("go.etcd.io/etcd/server/v3",)),
    Component("coredns", (".",)),
    KUBERNETES,
)
"""What every netns cluster consists of."""
