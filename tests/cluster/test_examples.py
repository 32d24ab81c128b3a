"""The example passes, and fails when what it asserts is broken."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_k8snet import localcluster

if TYPE_CHECKING:
    from shipped_suite import Suite

pytestmark = pytest.mark.cluster

SHOP = Path(__file__).parents[2] / "examples" / "shop"


def test_the_shop_keeps_its_promises_and_a_broken_one_does_not(
    suite: Suite, tmp_path: Path
) -> None:
    healthy = suite.run(str(SHOP), SHOP_IMAGE=localcluster.PROBE_IMAGE)
    broken = tmp_path / "shop"
    shutil.copytree(SHOP, broken)
    topology = broken / "shop.yaml"
    text = topology.read_text(encoding="utf-8")
    topology.write_text(text.replace("targetPort: http", "targetPort: 8081"))

    red = suite.run(str(broken), SHOP_IMAGE=localcluster.PROBE_IMAGE)

    assert healthy.exit_code == 0, healthy.output
    assert "4 passed, 1 skipped" in healthy.output
    assert red.exit_code == 1, red.output
    assert "2 failed, 2 passed, 1 skipped" in red.output
