"""What is written down about the clusters of this machine, so that down finds all."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import paths

if TYPE_CHECKING:
    from collections.abc import Iterator

IPV6 = 6
FABRIC_HOST, OUTSIDE_HOST, MACHINE_HOST = 1, 200, 254
FIRST_NODE_HOST = 11
# Between the first Node's and the outside's address.
MOST_NODES = OUTSIDE_HOST - FIRST_NODE_HOST


@dataclass(frozen=True)
class NodeRecord:
    """A Node: its name, its namespace, and its place on the fabric."""

    name: str
    short: str
    control_plane: bool
    host: int
    addresses: tuple[str, ...]
    labels: dict[str, str]


@dataclass(frozen=True)
class ClusterRecord:
    """A cluster that exists, or that somebody began to make."""

    name: str
    index: int
    families: tuple[str, ...]
    nodes: tuple[NodeRecord, ...]
    owner: str
    running: bool = False
    kubeconfig: str = ""
    service_proxy: bool = True
    features: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return paths.state_home() / self.name

    @property
    def link(self) -> str:
        """The interface through which this machine reaches the Nodes."""
        return f"k8snet{self.index}"

    def netns(self, short: str) -> str:
        """Return the name of one of the cluster's network namespaces."""
        return f"k8snet-{self.name}-{short}"

    def addresses(self, host: int) -> tuple[str, ...]:
        """Return a place's addresses on the fabric, the primary family's first."""
        # The same digits in both families, for the reader: 10.203.0.12, fd00:203::12.
        return tuple(
            str(network[int(str(host), 16) if network.version == IPV6 else host])
            for network in subnets(self.index, self.families)
        )

    @property
    def server(self) -> str:
        """The URL of the API server."""
        address = self.nodes[0].addresses[0]
        return (
            f"https://[{address}]:6443"
            if ":" in address
            else (f"https://{address}:6443")
        )

    def save(self) -> None:
        """Write the record, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "cluster.json"
        new = file.with_suffix(".new")
        new.write_text(json.dumps(asdict(self), indent=1))
        new.replace(file)


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def subnets(index: int, families: tuple[str, ...]) -> tuple[Network, ...]:
    """Return the Node networks that belong to an index."""
    networks: dict[str, Network] = {
        "ipv4": ipaddress.IPv4Network(f"10.203.{index}.0/24"),
        "ipv6": ipaddress.IPv6Network(f"fd00:203:{index:x}::/64"),
    }
    return tuple(networks[family] for family in families)


def load(name: str) -> ClusterRecord | None:
    """Read what is written down about a cluster; None when there is nothing."""
    try:
        raw: dict[str, Any] = json.loads(
            (paths.state_home() / name / "cluster.json").read_text()
        )
        nodes = tuple(
            NodeRecord(**{**node, "addresses": tuple(node["addresses"])})
            for node in raw["nodes"]
        )
        families, features = tuple(raw["families"]), tuple(raw.get("features", ()))
        return ClusterRecord(
            **{**raw, "families": families, "features": features, "nodes": nodes}
        )
    except (OSError, ValueError, TypeError, KeyError):
        # A killed `up` may leave a folder without a record, an older version a
        # record of another shape: down removes either without reading it.
        return None


def names() -> list[str]:
    """Return the names of all clusters that have a state folder."""
    try:
        return sorted(p.name for p in paths.state_home().iterdir() if p.is_dir())
    except OSError:
        return []


def records() -> list[ClusterRecord]:
    """Return all clusters that are written down."""
    return [record for name in names() if (record := load(name))]


@contextmanager
def locked() -> Iterator[None]:
    """Hold the machine's lock: for choosing an index and for shared settings.

    The lock is on the folder itself, so that none is left lying about.
    """
    home = paths.state_home()
    while True:
        home.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            handle = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        fcntl.flock(handle, fcntl.LOCK_EX)
        # The last down removes the folder; a lock on a removed one locks nobody out.
        if home.exists() and os.fstat(handle).st_ino == home.stat().st_ino:
            break
        os.close(handle)
    try:
        yield
    finally:
        os.close(handle)


def remove(name: str) -> None:
    """Remove a cluster's folder."""
    shutil.rmtree(paths.state_home() / name, ignore_errors=True)


def remove_home_if_empty() -> None:
    """Remove the folder of all clusters when the last one is gone."""
    try:
        paths.state_home().rmdir()
    except OSError:
        # Not empty, or not there.
        return


def this_process() -> str:
    """Identify this process beyond the reuse of its number."""
    return f"{os.getpid()}:{_started(os.getpid())}"


def alive(owner: str) -> bool:
    """Say whether the process that wrote `owner` still runs."""
    pid, _, started = owner.partition(":")
    return pid.isdigit() and started == _started(int(pid))


def _started(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "gone"
    fields = stat.rpartition(")")[2].split()
    # Field 22 of proc(5), counted from the one after the command's name.
    return "gone" if fields[0] == "Z" else fields[19]
