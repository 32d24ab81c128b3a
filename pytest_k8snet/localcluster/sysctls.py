"""The one setting of the whole machine that a cluster needs, and its return."""

from __future__ import annotations

import json
from pathlib import Path

from . import paths, state
from .errors import UnsupportedMachineError

# Each containerd and kubelet watches many files; 128, the usual limit, is gone
# with the second Node. The kernel has no such limit per namespace.
WANTED = {"fs/inotify/max_user_instances": 8192}
SYS = Path("/proc/sys")


def _saved() -> Path:
    return paths.state_home() / "machine.json"


def raise_limits() -> None:
    """Raise the machine's limits; the caller holds the lock."""
    low = {
        key: value
        for key, wanted in WANTED.items()
        if (value := int((SYS / key).read_text())) < wanted
    }
    if not low:
        return
    if not _saved().exists():
        _saved().write_text(json.dumps(low))
    for key, value in low.items():
        try:
            (SYS / key).write_text(str(WANTED[key]))
        except OSError as error:
            raise UnsupportedMachineError(
                f"{key.replace('/', '.')} is {value}, but should be at least "
                f"{WANTED[key]}, and this process may not change it ({error}): set it "
                "where the machine is configured"
            ) from error


def restore_limits() -> None:
    """Put the limits back once no cluster is left; the caller holds the lock."""
    if state.names() or not _saved().exists():
        return
    for key, value in json.loads(_saved().read_text()).items():
        (SYS / key).write_text(str(value))
    _saved().unlink()
