"""A Node: a set of Linux namespaces with a view of the machine of its own."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import cgroups
from .commands import PATH, run, start_detached, wait_for
from .errors import CommandError, TimedOutError, UnknownClusterError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Mapping, Sequence

    from .state import ClusterRecord, NodeRecord

INIT = Path(__file__).with_name("node-init.sh")
# Where a Node sees its own state folder.
INSIDE = "/mnt"
# What has not ended by then is killed.
END_SECONDS = 10


@dataclass(frozen=True)
class Node:
    """One Node of one cluster, running or about to."""

    cluster: ClusterRecord
    record: NodeRecord

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def folder(self) -> Path:
        """The Node's state folder; inside the Node it is /mnt."""
        return self.cluster.folder / "nodes" / self.name

    @property
    def logs(self) -> Path:
        return self.folder / "log"

    def write(self, file: str, text: str, mode: int = 0o644) -> str:
        """Write a file into the state folder; return its path inside the Node."""
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode)
        path.write_text(text)
        return f"{INSIDE}/{file}"

    def install(self, version: str) -> None:
        """Choose the Kubernetes version of what is started on the Node from now on."""
        self.write("version", version)

    @property
    def version(self) -> str:
        """The Kubernetes version that is installed on the Node."""
        return (self.folder / "version").read_text()

    @property
    def programs(self) -> str:
        """Where the Node has the programs of that version."""
        return f"{INSIDE}/bin/{self.version}"

    def boot(self, programs: Mapping[str, Path], cni: Path, resolv: str) -> None:
        """Make the Node's namespaces and mounts, and start its first process.

        Args:
            programs: folders of programs that the Node has below /mnt/bin, by name.
            cni: the folder of its network plugins.
            resolv: its resolv.conf.

        """
        plugins = self.folder / "opt/cni/bin"
        plugins.mkdir(parents=True, exist_ok=True)
        for plugin in cni.iterdir():
            # A copy: whoever installs a plugin of the same name on the Node
            # overwrites this one, and must not overwrite the cache.
            shutil.copy2(plugin, plugins)
        self.write("resolv.conf", resolv)
        (self.folder / "ready").unlink(missing_ok=True)
        cgroups.make(self.cluster.name, self.name)
        tree = cgroups.hierarchies()
        mounts = [] if tree.unified else [str(mount) for mount in tree.mounts]
        init = ["bash", str(INIT), str(self.folder), self.name]
        init += [*(f"{name}={folder}" for name, folder in programs.items())]
        init += ["--", *mounts]
        namespaces = ["--mount", "--uts", "--ipc", "--pid", "--fork"]
        netns = f"--net=/run/netns/{self.cluster.netns(self.record.short)}"
        outer = self._start(
            "init",
            cgroups.rooted(
                self.cluster.name,
                self.name,
                ["nsenter", netns, "unshare", *namespaces, *init],
            ),
        )
        wait_for(
            f"boot of {self.name}",
            lambda: (self.folder / "ready").exists() or cgroups.dead(outer),
            timeout=20,
            every=0.01,
        )
        if not (self.folder / "ready").exists():
            said = (self.logs / "init.log").read_text().strip()
            raise CommandError(f"{self.name} did not boot: {said}")
        first = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0]
        self.write("pid", first)

    def processes(self, program: str) -> dict[int, str]:
        """Return the Node's own processes that run a program, each with its path."""
        found = {}
        for pid in cgroups.own_processes(self.cluster.name, self.name):
            with suppress(OSError):
                argv = Path(f"/proc/{pid}/cmdline").read_bytes()
                path = argv.partition(b"\0")[0].decode(errors="replace")
                # The short name of a process is cut after 15 letters.
                if path.rpartition("/")[2] == program:
                    found[pid] = path
        return found

    def stop(self, program: str) -> None:
        """End a program, and wait until it has let go of all that it held."""
        found = self.processes(program)

        def gone() -> bool:
            return not any(Path(f"/proc/{pid}").exists() for pid in found)

        _send(signal.SIGTERM, found)
        what = f"the end of {program} on {self.name}"
        try:
            wait_for(what, gone, timeout=END_SECONDS, every=0.01)
        except TimedOutError:
            _send(signal.SIGKILL, found)
            wait_for(what, gone, timeout=END_SECONDS)

    def pid(self) -> int:
        """Return the Node's first process, as this machine numbers it."""
        try:
            return int((self.folder / "pid").read_text())
        except (OSError, ValueError) as error:
            raise UnknownClusterError(
                f"Node {self.name} does not run; "
                f"`k8snet cluster status {self.cluster.name}` says what does"
            ) from error

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return argv that runs argv on the Node, as one of its processes."""
        enter = ["nsenter", "-t", str(self.pid()), "-m", "-u", "-i", "-n", "-p", "-C"]
        inner = [*enter, "--wd=/", "env", *_environment(), *argv]
        return cgroups.joined(self.cluster.name, self.name, inner)

    def run(
        self, argv: Sequence[str], *, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the Node to its end."""
        return run(self.command(argv), check=check)

    def start(self, component: str, argv: Sequence[str]) -> int:
        """Start a component on the Node; what it says is in its log.

        Returns a process that lasts as long as the component does.
        """
        return self._start(component, self.command(argv))

    def _start(self, component: str, argv: Sequence[str]) -> int:
        self.logs.mkdir(parents=True, exist_ok=True)
        return start_detached(argv, self.logs / f"{component}.log")


def nodes(cluster: ClusterRecord) -> list[Node]:
    """Return a cluster's Nodes, the control plane first."""
    return [Node(cluster, record) for record in cluster.nodes]


def _send(number: int, pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _environment() -> list[str]:
    # Not the caller's: a Node is to behave the same whoever started it.
    keep = [f"TERM={os.environ['TERM']}"] if "TERM" in os.environ else []
    return ["-i", f"PATH={PATH}", "HOME=/root", "TMPDIR=/var/tmp", *keep]
