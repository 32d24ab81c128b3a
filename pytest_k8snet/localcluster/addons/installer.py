"""Puts an add-on into a cluster, and waits until it is in force."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_k8snet.localcluster import objects

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_k8snet.localcluster.objects import Object, Objects
    from pytest_k8snet.localcluster.progress import Progress

    from .addon import Addon, Setting

# A network plugin may compile its data plane first, on a machine that is busy.
READY_SECONDS = 300
# A webhook of the step before may take a moment to answer.
CREATION_SECONDS = 60
_SYS_RESOURCE = 24


class Wait(Protocol):
    """Waits until something happened; an OSError means not yet."""

    def __call__(
        self,
        what: str,
        happened: Callable[[], bool],
        *,
        timeout: float,
        hint: Callable[[], str] = str,
    ) -> None:
        """Raise when it does not happen within `timeout` seconds."""


def install(
    addon: Addon, setting: Setting, api: Objects, wait: Wait, progress: Progress
) -> None:
    """Apply an add-on's objects, each step when the one before is in force."""
    for items in addon.steps(setting):
        objects.ask_often(items)
        if _lacks_sys_resource():
            objects.drop_capability(items, "SYS_RESOURCE")
        step = _Step(addon.name, items, api, progress)
        wait(f"creation of {addon.name}", step.create, timeout=CREATION_SECONDS)
        wait(
            f"readiness of {addon.name}",
            step.ready,
            timeout=READY_SECONDS,
            hint=step.why_not,
        )


class _Step:
    def __init__(
        self, name: str, items: list[Object], api: Objects, progress: Progress
    ) -> None:
        self.name, self.items = name, items
        self.api, self.progress = api, progress

    def create(self) -> bool:
        objects.apply_all(self.api, self.items)
        return True

    def ready(self) -> bool:
        left = objects.unfinished(self.api, self.items)
        self.progress.detail(f"{self.name}: {', '.join(left) or 'done'}")
        return not left

    def why_not(self) -> str:
        """Say what the Pods of this step wait for."""
        spaces = {item["metadata"].get("namespace") for item in self.items} - {None}
        pods = [
            pod
            for space in sorted(spaces)
            for pod in self.api.get(f"/api/v1/namespaces/{space}/pods")["items"]
        ]
        return "\n".join(filter(None, map(objects.trouble, pods)))


def _lacks_sys_resource() -> bool:
    status = Path("/proc/self/status").read_text()
    match = re.search(r"^CapBnd:\s*(\w+)$", status, re.MULTILINE)
    return match is not None and not int(match[1], 16) >> _SYS_RESOURCE & 1
