"""What a run takes from the user, and what from the cluster it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_k8snet.defaults import DEFAULT_IMAGE
from pytest_k8snet.localcluster import PROBE_IMAGE, Cluster
from pytest_k8snet.plugin import options
from pytest_k8snet.plugin.session import Run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("said", "on_nodes", "used"),
    [
        ([], "", DEFAULT_IMAGE),
        ([], PROBE_IMAGE, PROBE_IMAGE),
        (["--k8snet-image=mine:1"], PROBE_IMAGE, "mine:1"),
    ],
    ids=["nothing", "on-nodes", "said"],
)
def test_probes_run_in_what_the_user_names_or_else_in_what_the_nodes_have(
    pytester: pytest.Pytester, tmp_path: Path, said: list[str], on_nodes: str, used: str
) -> None:
    settings = options.read(pytester.parseconfig("--k8s-context=kind-ci", *said))
    run = Run(settings, say=print, folder=tmp_path)
    run._local = Cluster("ci", "kind-ci", tmp_path, "kind", (), image=on_nodes)

    assert run.spec().image == used
