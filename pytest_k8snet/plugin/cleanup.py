"""``--k8snet-cleanup``: remove what earlier runs left, whatever became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_k8snet.plugin.options import Settings

PATIENCE = 60.0


def clean_up(settings: Settings) -> int:
    """Remove every namespace that carries our label, and say which.

    Returns one of pytest's exit codes.
    """
    from pytest_k8snet.cluster import apply  # noqa: PLC0415 - only when asked
    from pytest_k8snet.cluster.api import Api  # noqa: PLC0415
    from pytest_k8snet.cluster.errors import ClusterError  # noqa: PLC0415

    if not settings["context"]:
        raise pytest.UsageError("--k8snet-cleanup needs --k8s-context=NAME")
    try:
        api = Api.connect(
            settings["context"],
            settings["kubeconfig"],
            timeout=settings["timeout-api"],
        )
        found = [n["metadata"]["name"] for n in apply.namespaces_of(api)]
        if not found:
            print(f"k8snet: nothing of ours is in {settings['context']}")
            return pytest.ExitCode.OK
        print(f"k8snet: removing {', '.join(found)}", flush=True)
        left = apply.remove(api, found, wait=PATIENCE)
    except ClusterError as error:
        raise pytest.UsageError(str(error)) from None
    if left:
        print(f"k8snet: still terminating after {PATIENCE:.0f} s: {', '.join(left)}")
        return pytest.ExitCode.TESTS_FAILED
    print("k8snet: removed")
    return pytest.ExitCode.OK
