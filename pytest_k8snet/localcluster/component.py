"""What is built from Go: programs that a go.mod pins, and what belongs to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import paths

if TYPE_CHECKING:
    from pathlib import Path

KUBERNETES_VERSION = "v1.36.1"
_VERSION = "-X k8s.io/component-base/version"
_KUBERNETES = "k8s.io/kubernetes/cmd"
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
COMPONENTS = (
    Component("pause", (".",)),
    CNI,
    Component("etcd", ("go.etcd.io/etcd/server/v3",)),
    Component("coredns", (".",)),
    Component(
        "kubernetes",
        tuple(
            f"{_KUBERNETES}/{program}"
            for program in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-proxy",
                "kube-scheduler",
                "kubelet",
            )
        ),
        f"-s -w {_VERSION}.gitVersion={KUBERNETES_VERSION} {_VERSION}.gitMajor=1 "
        f"{_VERSION}.gitMinor=36 {_VERSION}.gitTreeState=clean",
    ),
)
"""What every netns cluster consists of."""
