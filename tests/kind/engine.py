"""A container engine of the tests' own, in namespaces with no way out.

Its containers, mounts and interfaces are in namespaces that go with their first
process, and that goes with us, however we end. What is the whole machine's, and so
cannot be in a namespace, is put back: a few settings, control groups, a folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kind import engine_init
from pytest_k8snet.localcluster import cgroups, state, sysctls
from pytest_k8snet.localcluster.commands import environment, run, tail, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kind.recipe import Materials
    from pytest_k8snet.localcluster.progress import Progress

NAME = f"tests-of-kind-{os.getpid()}"
OF_A_SESSION = re.compile(r"tests-of-kind-(\d+)")
MODULES = Path("/lib/modules")
"""kind gives it to its Nodes; where it is missing, the engine makes it."""
SETTINGS = (
    *("fs/file-max", "fs/nr_open", "kernel/panic", "kernel/panic_on_oops"),
    *("kernel/keys/root_maxbytes", "kernel/keys/root_maxkeys"),
    *("vm/overcommit_memory", "vm/panic_on_oom"),
)
"""What a Node's systemd and kubelet set, which no namespace keeps apart."""
BEFORE = "before.json"
"""In an engine's folder: what the machine was like."""
CONTAINERD = """version = 3
root = "{folder}/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.cri.v1.images",
  "io.containerd.cri.v1.runtime",
  "io.containerd.internal.v1.opt",
  "io.containerd.nri.v1.nri",
]
[grpc]
  address = "/run/containerd/containerd.sock"
"""


@dataclass(frozen=True)
class Engine:
    """An engine that runs.

    Attributes:
        folder: all its files.
        pid: its first process.
        programs: folders with the engine's programs and kind.

    """

    folder: Path
    pid: int
    programs: tuple[Path, ...]

    @property
    def variables(self) -> dict[str, str]:
        """What makes a process use this engine, and a kubeconfig of its own."""
        own = ":".join(map(str, self.programs))
        return {
            "PATH": f"{own}:{os.environ['PATH']}",
            "DOCKER_HOST": f"unix://{self.folder}/docker.sock",
            "DOCKER_CONFIG": str(self.folder / "client"),
            "KUBECONFIG": str(self.folder / "kubeconfig"),
        }

    def inside(self, argv: Sequence[str]) -> list[str]:
        """Return argv that runs argv in the engine's network, where its ports are."""
        return ["nsenter", f"--target={self.pid}", "--net", "--", *argv]


@contextmanager
def running(materials: Materials, progress: Progress) -> Iterator[Engine]:
    """Have an engine with the node image; then have nothing of it left."""
    for name in _left_behind():
        _remove(name)
    folder = _folder(NAME)
    folder.mkdir(mode=0o700)
    settings = {key: (sysctls.SYS / key).read_text() for key in SETTINGS}
    before = {"settings": settings, "modules": MODULES.exists()}
    (folder / BEFORE).write_text(json.dumps(before))
    with state.locked():
        sysctls.raise_limits()
    try:
        progress.stage("engine")
        with _started(folder, materials) as engine:
            progress.stage("docker load of the home-made node image")
            _docker(engine, "load", "--input", str(materials.node_image))
            yield engine
    finally:
        progress.stage("remove the engine")
        _remove(NAME)


def _folder(name: str) -> Path:
    return Path(tempfile.gettempdir()) / name


def _left_behind() -> list[str]:
    """Name the engines of sessions that were killed: the processes went with them."""
    return [
        path.name
        for path in _folder("").iterdir()
        if (found := OF_A_SESSION.fullmatch(path.name))
        and not Path(f"/proc/{found[1]}").exists()
    ]


def _remove(name: str) -> None:
    cgroups.kill(name)
    _remove_groups(name)
    before = json.loads((_folder(name) / BEFORE).read_text())
    for key, value in before["settings"].items():
        (sysctls.SYS / key).write_text(value)
    with state.locked():
        sysctls.restore_limits()
    state.remove_home_if_empty()
    if MODULES.exists() and not before["modules"]:
        MODULES.rmdir()
    shutil.rmtree(_folder(name))


def _remove_groups(name: str) -> None:
    cgroups.remove(name)
    # Where version 2 is mounted beside version 1, runc makes groups in both.
    group = cgroups.ROOT / "unified" / cgroups.OURS / name
    if group.is_dir():
        run(["find", str(group), "-depth", "-type", "d", "-delete"])
        with suppress(OSError):
            # Not empty: another session's is in it.
            group.parent.rmdir()


@contextmanager
def _started(folder: Path, materials: Materials) -> Iterator[Engine]:
    programs = materials.programs
    (folder / "resolv.conf").touch()
    (folder / "containerd.conf").write_text(CONTAINERD.format(folder=folder))
    proxy = next(p / "docker-proxy" for p in programs if (p / "docker-proxy").exists())
    config = {
        "data-root": f"{folder}/docker",
        "hosts": [f"unix://{folder}/docker.sock"],
        "containerd": "/run/containerd/containerd.sock",
        "userland-proxy-path": str(proxy),
        "cgroup-parent": f"/{cgroups.OURS}/{NAME}",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        # Nothing leaves the network; and an older runc has no time namespaces.
        "ip-masq": False,
        "features": {"time-namespaces": False},
        "log-level": "warn",
    }
    (folder / "dockerd.conf").write_text(json.dumps(config))
    cgroups.make(NAME, "engine")
    path = ":".join([*map(str, programs), environment()["PATH"]])
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"]
    init = [sys.executable, "-I", engine_init.__file__, str(folder)]
    argv = ["setpriv", "--pdeathsig", "KILL", *unshare, "--mount-proc", *init]
    with (
        (folder / "init.log").open("w") as log,
        subprocess.Popen(
            cgroups.joined(NAME, "engine", argv),
            env={**environment(), "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C is for us, who then end it.
            start_new_session=True,
        ) as process,
    ):
        try:
            engine = Engine(folder, _first_child(process.pid), programs)
            wait_for(
                "start of the engine",
                lambda: _docker(engine, "info"),
                timeout=60,
                hint=lambda: "\n".join(map(tail, sorted(folder.glob("*.log")))),
            )
            yield engine
        finally:
            process.kill()


def _first_child(pid: int) -> int:
    """Wait for the process that unshare starts."""
    file = Path(f"/proc/{pid}/task/{pid}/children")
    wait_for("start of the namespaces", lambda: file.read_text().split(), timeout=10)
    return int(file.read_text())


def _docker(engine: Engine, *argv: str) -> str:
    """Run docker; an OSError when it cannot do it."""
    done = subprocess.run(
        ["docker", *argv],
        env={**environment(), **engine.variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        raise OSError(f"docker {argv[0]}: {done.stderr.strip()}")
    return done.stdout or "done"
