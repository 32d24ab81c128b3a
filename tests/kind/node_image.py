"""A home-made node image for kind: Debian, kind's own files, and what we build anyway.

It follows the steps of kind's images/base/Dockerfile and of `kind build node-image`,
without what no test needs: storage, crictl, and packages for them. The images in it
have the names that kubeadm asks for, but etcd and CoreDNS are those of the netns
provider, which may be newer. Beyond that it differs where a machine may be limited:
control groups of version 1, and root without CAP_SYS_RESOURCE.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_k8snet.localcluster import containerd, images, paths, userland
from pytest_k8snet.localcluster.commands import run, run_aloud
from pytest_k8snet.localcluster.component import KUBERNETES_VERSION
from pytest_k8snet.localcluster.images import USERS, Files, Image
from pytest_k8snet.localcluster.probe_image import probe_files

if TYPE_CHECKING:
    from pytest_k8snet.localcluster.build import Binaries
    from pytest_k8snet.localcluster.progress import Progress

NAME = f"k8snet.local/home-made-kind-node:{KUBERNETES_VERSION}"
NETWORK_IMAGE = "k8snet.local/kind-network:1"
HERE = Path(__file__).parent

# The last release whose systemd takes control groups of version 1 as they are.
RELEASE = "bookworm"
PACKAGES = (
    *("systemd", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "kmod"),
    *("runc", "libseccomp2", "pigz", "ca-certificates", "curl", "jq", "procps"),
    "e2fsprogs",
)
# Of no use on a Node.
DOCUMENTATION = ("doc", "info", "locale", "man")
# Started by Debian, and unwanted in a container; from kind's Dockerfile.
UNWANTED = (
    "lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
    "lib/systemd/system/multi-user.target.wants/*",
    "etc/systemd/system/*.wants/*",
    "lib/systemd/system/local-fs.target.wants/*",
    "lib/systemd/system/sockets.target.wants/*udev*",
    "lib/systemd/system/sockets.target.wants/*initctl*",
    "lib/systemd/system/basic.target.wants/*",
    # They are about the whole machine.
    "usr/lib/sysctl.d/*.conf",
)
SERVICES = ("kubelet", "containerd", "undo-mount-hacks")
CONFIG = {
    "Entrypoint": ["/usr/local/bin/entrypoint", "/sbin/init"],
    "StopSignal": "SIGRTMIN+3",
    "Env": [*userland.PATH, "container=docker"],
}
KUBELET_CONFIG = "etc/kubernetes/kubelet.conf.d"
CGROUP_V1 = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "failCgroupV1": False,
}


def contents(binaries: Binaries) -> dict[str, Image]:
    """Make the images that a Node is born with, by the names it asks for them."""
    files = binaries["kind"] / "files"
    sandbox = re.search(
        r'sandbox_image = "(\S+)"', (files / "etc/containerd/config.toml").read_text()
    )
    assert sandbox
    pause = binaries["pause"] / "pause"
    made = {
        sandbox[1]: Image(Files({"pause": pause}), {"Entrypoint": ["/pause"]}),
        NETWORK_IMAGE: _network(),
    }
    argv = [str(binaries["kubeadm"] / "kubeadm"), "config", "images", "list"]
    listed = run([*argv, "--kubernetes-version", KUBERNETES_VERSION]).stdout.split()
    for name in listed:
        program = name.rpartition("/")[2].partition(":")[0]
        if program != "pause":
            made[name] = _static(program, binaries)
    return made


def _static(program: str, binaries: Binaries) -> Image:
    folder = binaries[program if program in {"etcd", "coredns"} else "kubernetes"]
    tools = userland.Found({}, {})
    if program == "kube-proxy":
        others = userland.programs(("nft", "conntrack"))
        tools = userland.joined(others, userland.iptables())
    place = f"usr/local/bin/{program}"
    files = {**tools.files, **USERS, place: folder / program}
    config = {"Entrypoint": [f"/{place}"], "Env": userland.PATH}
    return Image(Files(files, tools.links, ("tmp", "run")), config)


def _network() -> Image:
    cache = paths.cache_home() / "images"
    cache.mkdir(parents=True, exist_ok=True)
    python = probe_files(cache)
    program = HERE / "network.py"
    files = {**python.files, **USERS, "network.py": program}
    config = {"Entrypoint": ["/usr/bin/python3", "/network.py"], "Env": userland.PATH}
    return Image(Files(files, python.links, ("dev", "proc", "sys", "tmp")), config)


def build(
    archive: Path, binaries: Binaries, loaded: dict[str, Path], progress: Progress
) -> None:
    """Write the image as an archive for `docker load`."""
    home = archive.parent
    base = _debian(home, progress)
    store = containerd.image_store(loaded, progress)
    progress.stage("node image")
    with tempfile.TemporaryDirectory(dir=home, prefix=paths.UNFINISHED) as new:
        root = Path(new) / "root"
        root.mkdir()
        run(["tar", "-C", str(root), "-xf", str(base)], timeout=600)
        _add_files_of_kind(root, binaries["kind"] / "files")
        _add_programs(root, binaries)
        _set_up_systemd(root)
        _adapt_to_limits(root)
        progress.detail("its images")
        target = root / "var/lib/containerd"
        run(["cp", "-a", str(store), str(target)], timeout=600)
        progress.detail("its archive")
        layer = Path(new) / "layer"
        with layer.open("w+b") as content:
            _pack(root, layer)
            images.write_archive(archive, NAME, content, CONFIG)


def _debian(home: Path, progress: Progress) -> Path:
    """Make an archive of the distribution's files, once."""
    key = hashlib.sha256(json.dumps([RELEASE, PACKAGES]).encode()).hexdigest()[:16]
    archive = home / f"debian-{key}.tar"
    if not archive.exists():
        progress.stage("debootstrap")
        with tempfile.TemporaryDirectory(dir=home, prefix=paths.UNFINISHED) as new:
            root, done = Path(new) / "root", Path(new) / "done"
            wanted = f"--include={','.join(PACKAGES)}"
            argv = ["debootstrap", "--variant=minbase", wanted, RELEASE, str(root)]
            run_aloud(argv, progress.detail)
            kept = ("var/cache/apt", "var/lib/apt/lists")
            for folder in (*kept, *(f"usr/share/{name}" for name in DOCUMENTATION)):
                shutil.rmtree(root / folder, ignore_errors=True)
            _pack(root, done)
            done.rename(archive)
    return archive


def _pack(root: Path, archive: Path) -> None:
    argv = ["tar", "-C", str(root), "--numeric-owner", "--xattrs"]
    run([*argv, "-cf", str(archive), "."], timeout=600)


def _add_files_of_kind(root: Path, files: Path) -> None:
    """Copy them with the permissions that the Dockerfile gives them."""
    for source in sorted(path for path in files.rglob("*") if path.is_file()):
        place = source.relative_to(files)
        target = root / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755 if "bin" in place.parts else 0o644)


def _add_programs(root: Path, binaries: Binaries) -> None:
    containerd_folder = binaries["containerd"]
    places = {
        "usr/local/bin": list(containerd_folder.iterdir()),
        "usr/bin": [
            *(binaries["kubeadm"] / program for program in ("kubeadm", "kubectl")),
            binaries["kubernetes"] / "kubelet",
        ],
        "opt/cni/bin": list(binaries["cni"].iterdir()),
    }
    for place, programs in places.items():
        (root / place).mkdir(parents=True, exist_ok=True)
        for program in programs:
            shutil.copy2(program, root / place / program.name)
    # What a container gets unless its Pod says otherwise, with kind's hook in it.
    spec = json.loads(run([str(containerd_folder / "ctr"), "oci", "spec"]).stdout)
    del spec["process"]["rlimits"]
    hook = {"path": "/kind/bin/mount-product-files.sh"}
    spec["hooks"] = {"createContainer": [hook]}
    (root / "etc/containerd/cri-base.json").write_text(json.dumps(spec))
    (root / "etc/kubernetes/manifests").mkdir(parents=True)
    (root / "kind/version").write_text(KUBERNETES_VERSION)
    (root / "kind/manifests").mkdir()
    shutil.copyfile(HERE / "network.yaml", root / "kind/manifests/default-cni.yaml")


def _set_up_systemd(root: Path) -> None:
    for pattern in UNWANTED:
        for path in root.glob(pattern):
            path.unlink()
    with (root / "etc/systemd/journald.conf").open("a") as text:
        text.write("ReadKMsg=no\n")
    init = root / "sbin/init"
    init.unlink(missing_ok=True)
    init.symlink_to("/usr/lib/systemd/systemd")
    run(["chroot", str(root), "systemctl", "enable", *SERVICES])
    run(["chroot", str(root), "systemctl", "mask", "systemd-binfmt.service"])


def _adapt_to_limits(root: Path) -> None:
    """Do in the image what its users would have to ask for in a cluster file."""
    file = root / "etc/containerd/config.toml"
    text = file.read_text()
    strict, lax = (f"restrict_oom_score_adj = {word}" for word in ("false", "true"))
    assert strict in text
    file.write_text(text.replace(strict, lax))
    (root / KUBELET_CONFIG).mkdir(parents=True)
    (root / KUBELET_CONFIG / "10-cgroup-v1.conf").write_text(json.dumps(CGROUP_V1))
    with (root / "etc/default/kubelet").open("a") as text_file:
        text_file.write(f" --config-dir=/{KUBELET_CONFIG}\n")
