"""What an agent sees of its own container."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from agents import Server, ask, serving

from pytest_k8snet.agent.container import FACTS
from pytest_k8snet.model import Outcome
from pytest_k8snet.stage import OUTSIDE_AGENT

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("s"), "server@n1", "--loopback", "0") as found:
        yield found


@pytest.mark.parametrize("name", sorted(FACTS))
def test_every_fact_is_a_list_of_words(name: str, tmp_path: Path) -> None:
    facts = [*OUTSIDE_AGENT, "facts", "--out", str(tmp_path / "init.json")]
    subprocess.run(facts, check=True)
    (tmp_path / "first.json").write_text('{"outcome": "timed out"}')
    given = {"name": "localhost", "address": "127.0.0.1", "port": 9}
    seen = ask("fact", state=str(tmp_path), field=name, **given)
    if seen["outcome"] != Outcome.ANSWERED:
        # An interface called eth0, or a default route, need not be here.
        assert (name, seen["outcome"]) == ("mtu", Outcome.NOT_PROBED), seen


def test_facts_agree_with_what_else_knows_them() -> None:
    def fact(name: str, **more: str) -> list[str]:
        values: list[str] = ask("fact", field=name, **more)["values"]
        return values

    assert fact("hostname") == [socket.gethostname()]
    assert fact("mtu", interface="lo") == ["65536"]
    assert "lo" in fact("interfaces")
    assert fact("netns") == [str(Path("/proc/self/ns/net").readlink())]
    assert not {"127.0.0.1", "::1"} & set(fact("addresses"))


def test_the_init_containers_addresses_are_handed_over(tmp_path: Path) -> None:
    (tmp_path / "init.json").write_text('{"addresses": ["10.0.0.7"]}')
    seen = ask("fact", state=str(tmp_path), field="init-addresses")
    assert seen["values"] == ["10.0.0.7"]
    missing = ask("fact", state=str(tmp_path / "no"), field="init-addresses")
    assert missing["outcome"] == Outcome.NOT_PROBED


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_bind_says_whether_a_port_is_free(server: Server, protocol: str) -> None:
    taken = server.ports[f"main/{protocol}"]
    assert ask("bind", port=taken, protocol=protocol)["values"] == ["EADDRINUSE"]
    free = ask("bind", port=0, protocol=protocol, address="127.0.0.1")
    assert (free["outcome"], free["values"]) == (Outcome.ANSWERED, ["bound"])
