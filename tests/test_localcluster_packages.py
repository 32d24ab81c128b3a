"""What the distribution lacks is named, all of it, with the command to get it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pytest_k8snet.localcluster import (
    MissingPackagesError,
    UnsupportedMachineError,
    packages,
)

if TYPE_CHECKING:
    from pathlib import Path

Machine = Callable[..., list[str]]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine that has only the given programs; returns what is run on it."""

    def make(*lacking: str, manager: str = "apt-get", works: bool = True) -> list[str]:
        calls: list[str] = []
        absent = set(lacking)
        known = {*packages.PROGRAMS, manager}

        def find(program: str) -> str | None:
            return f"/bin/{program}" if program in known - absent else None

        def run(argv: list[str], **_: object) -> None:
            calls.append(" ".join(argv))
            if works and "update" not in argv:
                absent.clear()

        monkeypatch.setattr(packages, "find", find)
        monkeypatch.setattr(packages, "run", run)
        policy = tmp_path / "policy-rc.d"
        monkeypatch.setattr(packages._NoServices, "file", policy)
        return calls

    return make


def silent(_: str) -> None:
    return None


def test_nothing_is_run_when_all_is_there(machine: Machine) -> None:
    calls = machine()

    packages.require(install=True, say=silent)

    assert calls == []


def test_all_that_is_missing_is_named_with_the_command(machine: Machine) -> None:
    calls = machine("nft", "containerd", "ctr")

    with pytest.raises(MissingPackagesError) as caught:
        packages.require(install=False, say=silent)

    assert str(caught.value) == (
        "missing programs: containerd, ctr, nft\n"
        "  install them with: apt-get install -y --no-install-recommends "
        "containerd nftables\n"
        "  or let k8snet do so: add --install-packages"
    )
    assert calls == []


def test_they_are_installed_when_told_to(machine: Machine) -> None:
    calls = machine("conntrack")

    packages.require(install=True, say=silent)

    assert calls == [
        "apt-get update",
        "apt-get install -y --no-install-recommends conntrack",
    ]


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ("dnf", "dnf install -y conntrack-tools"),
        ("pacman", "pacman -S --needed --noconfirm conntrack-tools"),
    ],
)
def test_other_distributions_have_their_own_names(
    machine: Machine, manager: str, command: str
) -> None:
    machine("conntrack", manager=manager)

    with pytest.raises(MissingPackagesError, match=command):
        packages.require(install=False, say=silent)


def test_an_unknown_distribution_is_told_the_programs(machine: Machine) -> None:
    machine("runc", manager="pkg")

    with pytest.raises(MissingPackagesError, match="not known here: install"):
        packages.require(install=True, say=silent)


def test_an_installation_without_effect_is_an_error(machine: Machine) -> None:
    machine("runc", works=False)

    with pytest.raises(MissingPackagesError, match="still missing: runc"):
        packages.require(install=True, say=silent)


def test_services_are_forbidden_to_start_only_meanwhile(machine: Machine) -> None:
    machine()

    with packages._NoServices():
        assert packages._NoServices.file.read_text().endswith("exit 101\n")
        assert os.access(packages._NoServices.file, os.X_OK)

    assert not packages._NoServices.file.exists()


def test_a_policy_that_is_already_there_stays(machine: Machine) -> None:
    machine()
    packages._NoServices.file.write_text("theirs")

    with packages._NoServices():
        pass

    assert packages._NoServices.file.read_text() == "theirs"


def test_another_system_is_sent_to_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")

    with pytest.raises(UnsupportedMachineError, match="this is Darwin; use --provider"):
        packages.require_machine()


def test_another_user_is_told_about_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    with pytest.raises(UnsupportedMachineError, match=r"needs root .* user 1000"):
        packages.require_machine()
