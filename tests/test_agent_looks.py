"""What the agent sees of the network that it runs on, held against the kernel."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from agents import LOOPBACKS, ask

from pytest_k8snet.agent import node
from pytest_k8snet.agent.__main__ import main
from pytest_k8snet.agent.outcomes import ANSWERED, NOT_PROBED


def values(op: str, **fields: Any) -> list[str]:
    reply = ask(op, **fields)
    assert reply["outcome"] == ANSWERED, reply
    return [str(value) for value in reply["values"]]


def test_settings_are_those_of_the_kernel() -> None:
    found = dict(line.split("=") for line in values("look", what="settings"))

    assert tuple(found) == node.SETTINGS
    kernel = Path("/proc/sys/net/ipv4/ip_forward").read_text(encoding="ascii")
    assert found["net.ipv4.ip_forward"] == kernel.strip()


def test_settings_are_written_for_whom_no_stream_reaches(tmp_path: Path) -> None:
    out = tmp_path / "told"

    assert main(["settings", "--out", str(out)]) == 0

    said = out.read_text(encoding="ascii")
    assert [line.partition("=")[0] for line in said.split()] == list(node.SETTINGS)


def test_a_setting_that_is_not_there_has_no_value(tmp_path: Path) -> None:
    assert node.first_line(str(tmp_path / "none")) == ""


def test_links_are_named_with_their_kind_and_state() -> None:
    (lo,) = (v for v in values("look", what="links") if v.startswith("lo "))

    assert lo.split()[:3] == ["lo", "device", "up"]
    assert "mac=00:00:00:00:00:00" in lo


@pytest.mark.parametrize("address", [*LOOPBACKS, "198.51.100.7"])
def test_the_way_to_an_address_is_what_the_kernel_would_take(address: str) -> None:
    asked = ["ip", "route", "get", address]
    said = subprocess.run(asked, capture_output=True, text=True, check=False)

    (way,) = values("look", what="route", address=address)

    if said.returncode:
        assert way in {"ENETUNREACH", "EHOSTUNREACH", "EINVAL", "EACCES"}
    else:
        assert way.rpartition("dev ")[2] in said.stdout
        assert ("via" in way) == ("via" in said.stdout)


def test_where_tunnels_send_frames_is_what_bridge_shows() -> None:
    said = subprocess.run(
        ["bridge", "fdb"], capture_output=True, text=True, check=False
    ).stdout

    found = values("look", what="forwarding")

    assert len(found) == sum(" dst " in line for line in said.splitlines())


def test_who_is_no_inspector_sees_no_files_of_the_node() -> None:
    for what in ("rules", "plugins"):
        assert ask("look", what=what)["outcome"] == NOT_PROBED


def test_only_what_is_named_in_the_file_is_looked_at() -> None:
    reply = ask("look", what="rules; reboot")

    assert reply["outcome"] == NOT_PROBED
    here = {"settings", "links", "route", "forwarding"}
    assert set(node.LOOKS) == here | {"rules", "plugins"}


@pytest.mark.parametrize("address", LOOPBACKS)
def test_a_trace_ends_with_whom_it_reaches(address: str) -> None:
    assert values("trace", address=address, timeout=2) == [address]
