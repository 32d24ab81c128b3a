"""The words of ``k8snet watch``, and what it says when it cannot begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_k8snet import cli
from pytest_k8snet.cli import parse
from pytest_k8snet.outages import PROFILES, Way
from pytest_k8snet.watch_options import budget, seconds

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT = ["watch", "--context", "prod"]


def test_what_follows_two_dashes_is_the_command() -> None:
    given = parse([*CONTEXT, "--budget", "service=2s", "--", "make", "--all", "up"])

    assert given.command == ["make", "--all", "up"]
    assert given.budget == [(Way.SERVICE, 2.0)]
    assert (given.profile, given.duration, given.report) == ("upgrade", None, None)
    assert given.linger == 3.0


def test_without_a_command_there_is_none() -> None:
    assert parse([*CONTEXT, "--duration", "60s"]).command == []


@pytest.mark.parametrize(
    ("text", "value"), [("2s", 2.0), ("0.5", 0.5), ("0", 0.0), ("90", 90.0)]
)
def test_seconds_may_carry_their_unit(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "-1", "2m", "inf", "nan", "s"])
def test_other_words_are_no_seconds(text: str) -> None:
    with pytest.raises(Exception, match="should be a number of seconds, such as 2s"):
        seconds(text)


@pytest.mark.parametrize("text", ["service", "2s", "host=2s", "=2s"])
def test_a_budget_names_a_kind_of_path(text: str) -> None:
    with pytest.raises(Exception, match="one of pod, service, nodeport, dns"):
        budget(text)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["watch"], "--context"),
        ([*CONTEXT, "--budget", "dns"], "should be KIND=SECONDS"),
        ([*CONTEXT, "--budget", "dns=soon"], "should be a number of seconds"),
        ([*CONTEXT, "--profile", "lax"], "upgrade"),
        ([*CONTEXT, "true"], "unrecognized arguments: true"),
    ],
)
def test_mistakes_are_told_in_a_line(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)

    assert ended.value.code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_an_unknown_context_is_told_with_those_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K8SNET_STATE_HOME", str(tmp_path / "state"))
    file = tmp_path / "config"
    file.write_text("contexts: [{name: other}]")

    assert cli.main([*CONTEXT, "--kubeconfig", str(file)]) == 4

    said = capsys.readouterr().err
    assert said.startswith("k8snet: error: context 'prod' is not in ")
    assert said.endswith("contexts there are: other\n")


def test_a_program_that_is_not_there_is_told_before_anything_is_made(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main([*CONTEXT, "--", "no-such-program", "--now"]) == 4

    said = capsys.readouterr().err
    assert said == "k8snet: error: there is no program 'no-such-program' to run\n"


def test_every_profile_says_something_of_every_kind_of_path() -> None:
    assert {tuple(profile) for profile in PROFILES.values()} == {tuple(Way)}


def test_the_help_names_kinds_and_budgets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["watch", "--help"])

    said = " ".join(capsys.readouterr().out.split())
    assert "pod, service, nodeport, dns" in said
    assert "pod=1s, service=2s, nodeport=2s, dns=5s" in said
    assert said.startswith("usage: k8snet watch --context NAME")
