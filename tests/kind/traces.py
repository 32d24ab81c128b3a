"""What an engine and its clusters could leave on a machine."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kind.engine import MODULES, NAME
from pytest_k8snet.localcluster import cgroups
from pytest_k8snet.localcluster.sysctls import SYS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OTHERS = cgroups.OURS
"""In the name of whatever belongs to a cluster of the netns provider."""
SETTINGS = ("fs", "kernel", "vm")
ALIVE = frozenset(
    {
        *("aio-nr", "dentry-state", "file-nr", "inode-nr", "inode-state", "nr"),
        *("ns_last_pid", "quota", "random", "max_user_instances"),
    }
)
"""Names below /proc/sys of what changes by itself, or for other clusters."""


@dataclass(frozen=True)
class Traces:
    """A machine's state, apart from what belongs to other clusters."""

    links: frozenset[str]
    namespaces: frozenset[str]
    mounts: frozenset[str]
    groups: frozenset[str]
    settings: frozenset[str]
    rules: str
    modules: bool
    processes: frozenset[int]

    @classmethod
    def now(cls) -> Traces:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        listed = ["nft", "list", "ruleset"]
        return cls(
            links=_without_others(_names("/sys/class/net")),
            namespaces=_without_others(_names("/run/netns")),
            mounts=_without_others(mounts),
            groups=frozenset(_groups()),
            settings=frozenset(_settings()),
            rules=subprocess.run(
                listed, capture_output=True, text=True, check=True
            ).stdout,
            modules=MODULES.exists(),
            processes=frozenset(cgroups.processes(NAME)),
        )


def _names(folder: str) -> list[str]:
    place = Path(folder)
    return [path.name for path in place.iterdir()] if place.is_dir() else []


def _without_others(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name for name in names if OTHERS not in name)


def _groups() -> Iterator[str]:
    for mount in {cgroups.ROOT, *cgroups.ROOT.iterdir()}:
        if not mount.is_dir():
            continue
        for group in (*mount.iterdir(), mount / cgroups.OURS / NAME):
            if group.is_dir() and group.name != cgroups.OURS:
                yield str(group)


def _settings() -> Iterator[str]:
    for part in SETTINGS:
        for file in (SYS / part).rglob("*"):
            if ALIVE.isdisjoint(file.relative_to(SYS).parts) and file.is_file():
                # Some can only be written.
                with suppress(OSError):
                    yield f"{file}={file.read_text(errors='replace').strip()}"
