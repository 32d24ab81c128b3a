"""What upstream's tests need on this machine and on the Nodes, built from source."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_k8snet import localcluster
from pytest_k8snet.localcluster import BuildError, packages
from pytest_k8snet.localcluster.build import build_all
from pytest_k8snet.localcluster.commands import run
from pytest_k8snet.localcluster.component import COMPONENTS, Component, Source
from pytest_k8snet.localcluster.images import USERS, Files, Image, archives
from pytest_k8snet.localcluster.userland import PATH, programs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_k8snet.localcluster import Cluster
    from pytest_k8snet.localcluster.build import Binaries
    from pytest_k8snet.localcluster.progress import Progress

KUBERNETES = "k8s.io/kubernetes"
PAUSE = next(component for component in COMPONENTS if component.name == "pause")
E2E = Component(
    "e2e",
    (
        "github.com/onsi/ginkgo/v2/ginkgo",
        f"{KUBERNETES}/cmd/kubectl",
        f"{KUBERNETES}/test/images/agnhost",
    ),
    sources=tuple(
        # With which agnhost serves HTTPS.
        Source(KUBERNETES, f"test/images/agnhost/porter/localhost.{kind}")
        for kind in ("crt", "key")
    ),
    tests=(f"{KUBERNETES}/test/e2e",),
    home=Path(__file__).parent,
)

# What the tests ask for: checked against what e2e.test says.
AGNHOST = "registry.k8s.io/e2e-test-images/agnhost:2.63.0"
GLIBC = "registry.k8s.io/e2e-test-images/glibc-dns-testing:2.0.0"
NGINX = "registry.k8s.io/e2e-test-images/nginx:1.15-4"
PAUSED = "registry.k8s.io/pause:3.10.2"

# What the tests call in their Pods, by the shell or by themselves.
SHELL = ("sh", "cat", "date", "echo", "grep", "hostname", "seq", "sleep", "test")
NETWORK = ("curl", "dig", "getent", "nc", "nslookup")

LOADING_SECONDS = 120


def build(progress: Progress, *, install_packages: bool) -> Binaries:
    """Return the programs; build what the cache does not hold, which takes minutes."""
    packages.require_machine()
    packages.require(
        (*packages.PROGRAMS, *NETWORK), install=install_packages, say=progress.stage
    )
    return build_all(progress, (PAUSE, E2E))


def images(binaries: Binaries, progress: Progress) -> dict[str, Path]:
    """Return the archive of each image, by the name that upstream's tests use."""
    known = run([str(binaries["e2e"] / "e2e.test"), "--list-images"]).stdout.split()
    if unknown := {AGNHOST, GLIBC, NGINX, PAUSED} - set(known):
        raise BuildError(f"upstream's tests use no {', '.join(sorted(unknown))}")
    tools = programs((*SHELL, *NETWORK))
    files = {**tools.files, **USERS, "etc/nsswitch.conf": b"hosts: files dns\n"}
    folders = ("dev", "proc", "sys", "tmp", "uploads")
    server: dict[str, bytes | Path] = {
        name: binaries["e2e"] / name
        for name in ("agnhost", "localhost.crt", "localhost.key")
    }
    environment = {"Env": PATH, "WorkingDir": "/"}
    pause = Image(
        Files({"pause": binaries["pause"] / "pause"}),
        {"Entrypoint": ["/pause"], "User": "65535:65535"},
    )
    made = {
        AGNHOST: Image(
            Files({**files, **server}, tools.links, folders),
            {"Entrypoint": ["/agnhost"], "Cmd": ["pause"], **environment},
        ),
        GLIBC: Image(Files(files, tools.links, folders), environment),
        # Its Pods have to be, and to have addresses; nobody connects to them.
        NGINX: pause,
        PAUSED: pause,
    }
    return archives(made, progress)


def load(cluster: Cluster, archives: Iterable[Path], progress: Progress) -> None:
    """Give every Node the images; from then on nothing is pulled."""
    progress.stage("load upstream's images")
    for node in cluster.nodes:
        for archive in archives:
            progress.detail(f"{node}: {archive.name}")
            ctr = ["ctr", "--namespace", "k8s.io", "images", "import", "-"]
            command = localcluster.node_command(cluster.name, node, ctr)
            with archive.open("rb") as data:
                subprocess.run(
                    command,
                    stdin=data,
                    stdout=subprocess.DEVNULL,
                    timeout=LOADING_SECONDS,
                    check=True,
                )
