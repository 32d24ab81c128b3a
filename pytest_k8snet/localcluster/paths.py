"""Where local clusters keep their state, and what may be kept between them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

COMPONENTS = Path(__file__).parent / "components"
UNFINISHED = ".new-"


def state_home() -> Path:
    """Return the folder of the clusters that exist; below it one folder each."""
    return Path(os.environ.get("K8SNET_STATE_HOME") or "/var/lib/k8snet")


def cache_home() -> Path:
    """Return the folder of binaries and images; safe to delete at any time."""
    if own := os.environ.get("K8SNET_CACHE_HOME"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "k8snet"


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process had begun there; the caller holds its lock."""
    for path in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)
