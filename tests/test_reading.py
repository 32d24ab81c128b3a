"""The subcommands that need no cluster, and the files that they make."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from recordings import FOLDER

import pytest_k8snet.report
from pytest_k8snet.cli import main
from pytest_k8snet.diagnose import CAUSES
from pytest_k8snet.report.schema import SCHEMA_VERSION
from pytest_k8snet.rules import RULES

ROOT = Path(__file__).parent.parent
USAGE = 1


def test_a_rule_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "SERVICE-HAIRPIN"]) == 0

    said = capsys.readouterr().out
    assert said.startswith("SERVICE-HAIRPIN: A Pod MUST")
    for word in ("area", "level", "checks", "asked", "controls", "usually", "spec"):
        assert f"\n  {word} " in said


def test_the_rule_of_a_check_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "POD-TO-POD-tcp-ipv4-same-node"]) == 0

    assert capsys.readouterr().out.startswith("POD-TO-POD: ")


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_every_rule_has_an_explanation(
    rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", rule.lower()]) == 0

    said = capsys.readouterr().out
    assert "\n  asked " in said or "\n  watched " in said


@pytest.mark.parametrize("cause", sorted({cause.id for cause in CAUSES}))
def test_every_cause_has_an_explanation(
    cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", cause]) == 0

    said = capsys.readouterr().out
    assert said.startswith(f"{cause}: ")
    assert not re.search(r"{\w*}", said)
    for word in ("layer", "of", "fails", "breaks", "next", "see"):
        assert f"\n  {word} " in said


def test_a_rule_that_is_none_is_told_from_those_that_look_alike(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["explain", "HAIRPIN"]) == USAGE

    assert "there are SERVICE-HAIRPIN" in capsys.readouterr().err
    assert main(["explain", "nonsense"]) == USAGE
    assert "see k8snet rules" in capsys.readouterr().err


def test_all_rules_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["RULE", "LEVEL", "AREA", "PROFILE", "REQUIREMENT"]
    listed = {line.split()[0] for line in lines[1:]}
    assert listed == {rule.id for rule in RULES}


def test_all_rules_are_listed_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "--format=json"]) == 0

    listed = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in listed] == [rule.id for rule in RULES]


HEALTHY, CUT_OFF = (str(FOLDER / f"{n}.json") for n in ("healthy", "worker2-cut-off"))


def test_two_runs_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", HEALTHY, CUT_OFF]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["healthy", "worker2-cut-off"]
    rows = {line.split("  ")[0]: line for line in lines}
    assert rows["POD-TO-POD"].endswith("  4 fail, 4 pass")
    assert "POD-PING" in rows
    assert "LOCALHOST-TCP" not in rows
    assert "From healthy to worker2-cut-off" in lines
    assert any("170 regressed, 0 fixed, 0 new, 0 gone" in line for line in lines)


def test_runs_are_compared_with_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    old = str(FOLDER / "version1.json")

    assert main(["compare", HEALTHY, CUT_OFF, old, "--format=markdown"]) == 0

    said = capsys.readouterr().out
    assert "|  | healthy | worker2-cut-off | version1 |" in said
    assert "| DNS-PTR | 4 pass | 4 fail | - |" in said
    assert "## From healthy to version1" in said


def test_a_comparison_is_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", HEALTHY, CUT_OFF, "--format=html"]) == 0

    said = capsys.readouterr().out
    assert said.startswith("<!DOCTYPE html>")
    assert '<th scope="row">DNS-PTR</th><td class="text">4 pass</td>' in said


def test_files_of_one_name_are_told_apart_by_their_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / name / "report.json" for name in ("calico", "cilium")]
    for file in files:
        file.parent.mkdir()
        file.write_text(Path(HEALTHY).read_text())

    assert main(["compare", *map(str, files)]) == 0

    said = capsys.readouterr().out
    assert said.splitlines()[1].split() == ["calico", "cilium"]
    assert "Rules that differ\nnone\n" in said


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ([HEALTHY], "name two or more"),
        ([HEALTHY, HEALTHY], "name different files"),
        ([HEALTHY, "pyproject.toml"], "pyproject.toml: no report.json of"),
        ([HEALTHY, "nowhere.json"], "nowhere.json"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_why(
    files: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *files]) == USAGE

    assert why in capsys.readouterr().err


def test_the_document_of_the_rules_is_current(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["rules", "--format=markdown"]) == 0

    written = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    assert written == capsys.readouterr().out, "k8snet rules --format markdown"


def test_the_schema_in_the_package_is_current(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["schema"]) == 0

    folder = Path(pytest_k8snet.report.__file__).parent
    written = (folder / "report.schema.json").read_text(encoding="utf-8")
    said = capsys.readouterr().out
    assert written == said, "k8snet schema"
    version = json.loads(said)["properties"]["schema_version"]
    assert version["default"] == SCHEMA_VERSION
