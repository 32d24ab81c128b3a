"""What the documents show is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_k8snet.plan import checks
from pytest_k8snet.plugin.options import OPTIONS
from pytest_k8snet.rules import RULES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
INSTALL = "python3 -m pip install -q uv && python3 -m uv run pytest"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_readme_has_two_set_up_commands() -> None:
    commands = [b.strip() for b in blocks(README, "sh") if b.startswith("python3 -m")]

    assert [c.removeprefix(INSTALL).split() for c in commands] == [
        ["--k8snet-cluster=clusters/three-node.yaml", "--k8snet-install-packages"],
        ["--k8snet-install-packages"],
    ]


def test_ci_runs_exactly_the_test_command_of_the_readme() -> None:
    test_command = blocks(README, "sh")[1].strip()
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()

    assert lines[-1] == test_command


def test_readme_fits_its_page() -> None:
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_option_that_is_documented_exists(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    known = {option.switch for option in OPTIONS}

    assert set(re.findall(r"--k8s(?:net)?-[a-z-]+[a-z]", text)) <= known


def test_changelog_counts_the_rules() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert f"{len(RULES)} rules in {len(checks(RULES))} checks" in text


def test_every_file_that_the_documents_name_exists() -> None:
    text = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(
        re.findall(r"\b(?:clusters|tests|rules|agent)/[a-z_/-]*\.?[a-z]*", text)
    )
    places = (ROOT, ROOT / "pytest_k8snet")

    assert [n for n in named if not any((p / n).exists() for p in places)] == []


def test_the_rule_that_contributing_works_through_is_one() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (example,) = blocks(text, "python")
    names: dict[str, object] = {}
    exec("from pytest_k8snet.rules.service import *", names)  # noqa: S102 - our own
    exec(example, names)  # noqa: S102 - our own

    assert str(names["SERVICE_SECOND_PORT"]) == "SERVICE-SECOND-PORT"
