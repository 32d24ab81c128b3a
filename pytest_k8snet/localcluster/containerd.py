"""containerd: its configuration, and an image store that is filled only once."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from . import paths
from .commands import environment, run, tail, wait_for
from .errors import UnsupportedMachineError
from .images import PAUSE_IMAGE
from .node import INSIDE
from .packages import find

if TYPE_CHECKING:
    from .node import Node
    from .progress import Progress

FILE = "containerd.toml"
SOCKET = "/run/containerd/containerd.sock"
BOOTED = "containerd successfully booted"
# Everything else in the store is written once and may be shared between Nodes.
DATABASES = (
    "io.containerd.metadata.v1.bolt/meta.db",
    "io.containerd.snapshotter.v1.overlayfs/metadata.db",
)

# Why each line is there:
# - oom_score, restrict_oom_score_adj: lowering the score needs CAP_SYS_RESOURCE, which
#   root in a container often lacks.
# - disabled plugins: they probe for devices, or make /opt/containerd on a read-only /.
# - AppArmor and hugetlb: the kernel may not have them.
_VERSION_1 = """version = 2
root = "{root}"
state = "{state}"
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = "{state}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    discard_unpacked_layers = true
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        BinaryName = "{runc}"
"""

_VERSION_2 = """version = 3
root = "{root}"
state = "{state}"
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.tracing",
  "io.containerd.nri.v1.nri",
  "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = "{state}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{state}/opt"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/opt/cni/bin"]
    conf_dir = "{cni}"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        SystemdCgroup = false
        BinaryName = "{runc}"
"""


def version() -> str:
    """Return containerd's version, for example 1.6.20."""
    said = run(["containerd", "--version"]).stdout
    match = re.search(r"\bv?(\d+\.\d+\.\d+)", said)
    if match is None:
        raise UnsupportedMachineError(f"containerd tells no version: {said.strip()}")
    return match[1]


def config(
    containerd: str,
    root: str = "/var/lib/containerd",
    state: str = "/run/containerd",
    cni: str = "/etc/cni/net.d",
) -> str:
    """Return the configuration for that version of containerd."""
    text = _VERSION_1 if containerd.startswith("1.") else _VERSION_2
    runc = find("runc") or "runc"
    return text.format(root=root, state=state, cni=cni, pause=PAUSE_IMAGE, runc=runc)


def image_store(images: dict[str, Path], progress: Progress) -> Path:
    """Return a containerd root that holds the images; made once per set of them."""
    containerd = version()
    key = hashlib.sha256(containerd.encode())
    for archive in sorted(images.values()):
        # An archive's name says its content.
        key.update(f"\0{archive.name}".encode())
    home = paths.cache_home() / "stores"
    store = home / key.hexdigest()[:16]
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / ".lock"):
        if not store.is_dir():
            progress.stage("unpack images")
            paths.remove_unfinished(home)
            _fill(store, containerd, images, progress)
    return store


def _fill(
    store: Path, containerd: str, images: dict[str, Path], progress: Progress
) -> None:
    # The socket's path must be short, so that it cannot lie in the cache.
    with (
        tempfile.TemporaryDirectory(dir=store.parent, prefix=paths.UNFINISHED) as new,
        tempfile.TemporaryDirectory(prefix="k8snet-") as short,
    ):
        root = Path(new) / "root"
        file = Path(short) / "config.toml"
        file.write_text(config(containerd, str(root), short, f"{short}/cni"))
        log = Path(short) / "log"
        # In a mount namespace of its own, and never alive without us.
        argv = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount"]
        argv += ["containerd", "--config", str(file)]
        with (
            log.open("w") as output,
            subprocess.Popen(
                argv, stdout=output, stderr=output, env=environment()
            ) as process,
        ):
            try:
                wait_for(
                    "start of containerd",
                    lambda: BOOTED in log.read_text() or process.poll() is not None,
                    timeout=30,
                    hint=lambda: tail(log),
                )
                for name, archive in images.items():
                    progress.detail(name)
                    address = f"{short}/containerd.sock"
                    ctr = ["ctr", "--address", address, "--namespace", "k8s.io"]
                    run([*ctr, "images", "import", str(archive)])
            finally:
                process.terminate()
        root.rename(store)


def install_store(node: Node, store: Path) -> None:
    """Give a Node the images, by links where the disk allows it."""
    target = node.folder / "var/lib/containerd"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(store, target, symlinks=True, copy_function=_link)
    for database in DATABASES:
        (target / database).unlink()
        shutil.copy2(store / database, target / database)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        # Another file system.
        shutil.copy2(source, target, follow_symlinks=False)


def configure(node: Node, containerd: str) -> None:
    """Give a Node the configuration for that version of containerd."""
    node.write(FILE, config(containerd))


def start(node: Node) -> None:
    """Start containerd on a Node, and wait until it serves the kubelet.

    A kubelet that comes too early exits, and would not try again.
    """
    log = node.logs / "containerd.log"
    before = log.stat().st_size if log.exists() else 0
    node.start("containerd", ["containerd", "--config", f"{INSIDE}/{FILE}"])
    wait_for(
        f"start of containerd on {node.name}",
        lambda: BOOTED.encode() in log.read_bytes()[before:],
        timeout=60,
        hint=lambda: tail(log),
    )
