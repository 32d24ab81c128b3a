"""The README's example for people's own tests, run as they would run it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from shipped_suite import Suite

pytestmark = pytest.mark.cluster

README = Path(__file__).parents[2] / "README.md"
MISTAKES = """
def test_a_closed_port_is_refused(k8snet):
    server = k8snet.pod("server")

    assert k8snet.connect("client", f"{server.addresses[0]}:9").outcome == "refused"


def test_udp_reaches_a_pod_on_another_node(k8snet):
    first, second = (n.name for n in k8snet.facts.nodes[:2])
    k8snet.pod("here", node=first)
    there = k8snet.pod("there", node=second)

    seen = k8snet.connect("here", there, protocol="udp")

    assert (seen.answered_by, seen.source_preserved) == ("there", True)


def test_an_unknown_name_resolves_to_nothing(k8snet):
    assert k8snet.resolve("client", "nobody.default.svc.cluster.local") == ()
"""


def example() -> str:
    """Give the one Python block of the README."""
    (block,) = re.findall(
        r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL
    )
    return str(block)


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "workers"])
def test_the_fixture_does_what_the_readme_shows(
    suite: Suite, tmp_path: Path, workers: list[str]
) -> None:
    tests = tmp_path / "test_mine.py"
    tests.write_text(example() + MISTAKES, encoding="utf-8")

    run = suite.run(str(tests), *workers)

    assert run.exit_code == 0, run.output
    assert "5 passed" in run.output
