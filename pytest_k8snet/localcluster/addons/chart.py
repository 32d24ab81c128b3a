"""Renders a Helm chart: the form in which some projects publish their objects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_k8snet.localcluster import objects
from pytest_k8snet.localcluster.commands import run
from pytest_k8snet.localcluster.component import KUBERNETES_VERSION, Component

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_k8snet.localcluster.build import Binaries
    from pytest_k8snet.localcluster.objects import Object

HELM = Component("helm", (".",))


def render(
    chart: Path, namespace: str, values: dict[str, Any], binaries: Binaries
) -> list[Object]:
    """Return a chart's objects."""
    program = str(binaries["helm"] / "helm")
    argv = [program, str(chart), namespace, KUBERNETES_VERSION]
    texts: dict[str, str] = json.loads(run(argv, text=json.dumps(values)).stdout)
    return [
        item
        for template, text in sorted(texts.items())
        # The notes are for people.
        if template.endswith((".yaml", ".yml"))
        for item in objects.load(text)
    ]
