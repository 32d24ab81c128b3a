"""Process 1 of the engine's namespaces: it starts the engine, and reaps what dies.

Everything that the engine makes lives in these namespaces; when this process goes,
the kernel removes it all: processes, mounts and interfaces.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CGROUPS = "/sys/fs/cgroup"
KEPT = "/run/cgroup"


def call(*argv: str) -> None:
    subprocess.run(argv, check=True)


def main(folder: str) -> None:
    call("mount", "--make-rprivate", "/")
    call("mount", "-t", "tmpfs", "tmpfs", "/run")
    # A view of this network's interfaces, but of the machine's control groups.
    Path(KEPT).mkdir()
    call("mount", "--rbind", CGROUPS, KEPT)
    call("mount", "-t", "sysfs", "sysfs", "/sys")
    call("mount", "--rbind", KEPT, CGROUPS)
    call("umount", "--lazy", KEPT)
    # There is nobody to ask for names.
    call(
        "mount", "--bind", f"{folder}/resolv.conf", os.path.realpath("/etc/resolv.conf")
    )
    call("ip", "link", "set", "lo", "up")
    for version in ("-4", "-6"):
        # No uplink: what leads nowhere is refused at once.
        call("ip", version, "route", "add", "unreachable", "default")
    for name, option in (("containerd", "--config"), ("dockerd", "--config-file")):
        with Path(folder, f"{name}.log").open("w") as log:
            argv = [name, option, f"{folder}/{name}.conf"]
            subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    while True:
        os.wait()


if __name__ == "__main__":
    main(sys.argv[1])
