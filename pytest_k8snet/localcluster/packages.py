"""Programs that the distribution provides: which are missing, and how to get them."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .commands import PATH, environment, run
from .errors import MissingPackagesError, UnsupportedMachineError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

# A program that Nodes need: its package in Debian, Fedora and Arch Linux.
PROGRAMS = {
    "containerd": ("containerd", "containerd", "containerd"),
    "ctr": ("containerd", "containerd", "containerd"),
    "containerd-shim-runc-v2": ("containerd", "containerd", "containerd"),
    "runc": ("runc", "runc", "runc"),
    "iptables": ("iptables", "iptables-nft", "iptables-nft"),
    "nft": ("nftables", "nftables", "nftables"),
    "conntrack": ("conntrack", "conntrack-tools", "conntrack-tools"),
    "ip": ("iproute2", "iproute", "iproute2"),
    "mount": ("mount", "util-linux-core", "util-linux"),
    "unshare": ("util-linux", "util-linux-core", "util-linux"),
    "nsenter": ("util-linux", "util-linux-core", "util-linux"),
    "setpriv": ("util-linux", "util-linux", "util-linux"),
    "setsid": ("util-linux", "util-linux-core", "util-linux"),
    "hostname": ("hostname", "hostname", "inetutils"),
    "bash": ("bash", "bash", "bash"),
    "ldd": ("libc-bin", "glibc-common", "glibc"),
}
# The same for what only the images of add-ons and benchmarks contain.
MORE_PROGRAMS = {
    "clang": ("clang", "clang", "clang"),
    "curl": ("curl", "curl", "curl"),
    "dig": ("bind9-dnsutils", "bind-utils", "bind"),
    "ipset": ("ipset", "ipset", "ipset"),
    "nc": ("netcat-openbsd", "netcat", "openbsd-netcat"),
    "nslookup": ("bind9-dnsutils", "bind-utils", "bind"),
    "tc": ("iproute2", "iproute-tc", "iproute2"),
}


@dataclass(frozen=True)
class Installer:
    """How a family of distributions installs packages."""

    column: int
    refresh: tuple[str, ...]
    install: tuple[str, ...]


INSTALLERS = {
    "apt-get": Installer(
        0,
        ("apt-get", "update"),
        ("apt-get", "install", "-y", "--no-install-recommends"),
    ),
    "dnf": Installer(1, (), ("dnf", "install", "-y")),
    "pacman": Installer(2, (), ("pacman", "-S", "--needed", "--noconfirm")),
}


def find(program: str) -> str | None:
    """Return a program's path; sbin is searched even when PATH leaves it out."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{PATH}")


def is_linux() -> bool:
    """Say whether there can be a netns cluster at all."""
    return platform.system() == "Linux"


def require_machine() -> None:
    """Raise when this is not root on Linux, which namespaces need."""
    if not is_linux():
        raise UnsupportedMachineError(
            "the netns provider is made of Linux namespaces, but this is "
            f"{platform.system()}; use --provider kind with a container engine"
        )
    if os.geteuid():
        raise UnsupportedMachineError(
            "the netns provider needs root to make namespaces, but you are user "
            f"{os.geteuid()}; run it as root, or use --provider kind"
        )


def require_families(families: Sequence[str]) -> None:
    """Raise when the kernel lacks an IP family that a cluster is to have."""
    if "ipv6" in families and not Path("/proc/sys/net/ipv6").is_dir():
        raise UnsupportedMachineError(
            "the cluster file asks for IPv6, but this machine's kernel has none; set "
            "networking.ipFamily to ipv4, as clusters/ipv4.yaml does"
        )


def missing(programs: Iterable[str] = PROGRAMS) -> list[str]:
    """Return the programs that are not there."""
    return [program for program in programs if find(program) is None]


def require(
    programs: Collection[str] = PROGRAMS,
    *,
    install: bool,
    say: Callable[[str], None],
) -> None:
    """Make sure that all programs are there; install them only when told to."""
    absent = missing(programs)
    if not absent:
        return
    name = next((name for name in INSTALLERS if find(name)), None)
    if name is None:
        raise MissingPackagesError(
            f"missing programs: {', '.join(absent)}; this distribution is not known "
            "here: install the packages that contain them"
        )
    installer = INSTALLERS[name]
    known = PROGRAMS | MORE_PROGRAMS
    packages = sorted({known[program][installer.column] for program in absent})
    command = " ".join((*installer.install, *packages))
    if not install:
        raise MissingPackagesError(
            f"missing programs: {', '.join(absent)}\n"
            f"  install them with: {command}\n"
            "  or let k8snet do so: add --install-packages"
        )
    say(f"{name}: {' '.join(packages)}")
    with _NoServices():
        if installer.refresh:
            run(installer.refresh, env=_quiet(), timeout=300)
        run((*installer.install, *packages), env=_quiet(), timeout=900)
    if absent := missing(programs):
        raise MissingPackagesError(
            f"`{command}` succeeded, but these are still missing: {', '.join(absent)}"
        )


def _quiet() -> dict[str, str]:
    return {**environment(), "DEBIAN_FRONTEND": "noninteractive"}


class _NoServices:
    """While this lasts, Debian's package scripts start no daemon.

    A Node starts containerd for itself; the machine did not ask for one. Debian's
    documented switch is a policy file, whose status 101 means "forbidden".
    """

    file = Path("/usr/sbin/policy-rc.d")

    def __enter__(self) -> None:
        self._ours = self.file.parent.is_dir() and not self.file.exists()
        if self._ours:
            self.file.write_text("#!/bin/sh\nexit 101\n")
            self.file.chmod(0o755)

    def __exit__(self, *_: object) -> None:
        if self._ours:
            self.file.unlink(missing_ok=True)
