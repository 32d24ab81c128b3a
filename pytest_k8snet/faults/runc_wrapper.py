#!/usr/bin/env -S python3 -I
"""Stands where a Node has its runc, and does to new containers what it is told.

What to do is in JSON files of FOLDER, each with the fields ``pod``, the beginning of
the Pod's name; ``container``; and ``script``, to be run in the Pod's network namespace
before the container starts, which finds the Pod's hosts file at ``$HOSTS``. Without a
script the container gets a network namespace of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path("/mnt/fault")
ANNOTATION = "io.kubernetes.cri."


def meddle(bundle: Path) -> None:
    """Do what is to be done to the container whose bundle this is."""
    file = bundle / "config.json"
    config = json.loads(file.read_text())
    told = config.get("annotations", {})
    name = told.get(f"{ANNOTATION}container-name", "")
    pod = told.get(f"{ANNOTATION}sandbox-name", "")
    for one in sorted(FOLDER.glob("*.json")):
        wanted = json.loads(one.read_text())
        if name != wanted["container"] or not pod.startswith(wanted["pod"]):
            continue
        spaces = {one["type"]: one for one in config["linux"]["namespaces"]}
        sources = {one["destination"]: one["source"] for one in config["mounts"]}
        if script := wanted["script"]:
            subprocess.run(
                ["nsenter", f"--net={spaces['network']['path']}", "sh", "-ec", script],
                env={**os.environ, "HOSTS": sources["/etc/hosts"]},
                check=True,
            )
        else:
            del spaces["network"]["path"]
            file.write_text(json.dumps(config))


if __name__ == "__main__":
    if "create" in sys.argv:
        meddle(Path(sys.argv[sys.argv.index("--bundle") + 1]))
    os.execv(FOLDER / "runc", ["runc", *sys.argv[1:]])  # noqa: S606 - runc itself
