"""The answering half of an agent."""

from __future__ import annotations

import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest
from agents import LOOPBACKS, Server, ask, serving

from pytest_k8snet.model import Outcome
from pytest_k8snet.stage import OUTSIDE_AGENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("s"), "server@n1", "--loopback", "0") as found:
        yield found


def test_one_that_lingers_outlives_sigterm_and_ends_when_told(tmp_path: Path) -> None:
    with serving(tmp_path, "spare@n1", "--linger") as server:
        server.process.send_signal(signal.SIGTERM)
        port = server.ports["main/tcp"]

        assert ask("connect", address="127.0.0.1", port=port)["who"] == "spare@n1"
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(5) == 0


def test_an_answer_is_never_longer_than_its_question(server: Server) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect(("127.0.0.1", server.ports["main/udp"]))
        client.send(b"{}")
        assert len(client.recv(65535)) <= 2


def test_a_readiness_probe_and_garbage_do_not_disturb(server: Server) -> None:
    port = server.ports["main/tcp"]
    for data in (
        b"",
        b"\n",
        b"garbage\n",
        b'{"bulk": "x"}\n',
        b'{"bulk": -1}\n',
        b"7\n",
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=2) as client:
            client.sendall(data)
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        for data in (b"", b"garbage", b"[]", b"\xff" * 1000):
            client.sendto(data, ("127.0.0.1", server.ports["main/udp"]))
    for protocol in ("tcp", "udp"):
        port = server.ports[f"main/{protocol}"]
        seen = ask("connect", address="127.0.0.1", port=port, protocol=protocol)
        assert seen["outcome"] == Outcome.CONNECTED, seen


def test_both_families_share_one_port_number(server: Server) -> None:
    assert len(set(server.ports.values())) >= 3
    for name in ("main/tcp", "alt/tcp"):
        for address in LOOPBACKS:
            seen = ask("connect", address=address, port=server.ports[name])
            assert seen["outcome"] == Outcome.CONNECTED, seen


def test_sigterm_ends_the_server_at_once(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(2) == 0


def test_a_port_that_is_taken_is_an_error_and_not_silence(
    tmp_path: Path, server: Server
) -> None:
    taken = f"main/tcp={server.ports['main/tcp']}"
    command = [*OUTSIDE_AGENT, "serve", "--name", "x", "--state", str(tmp_path)]
    done = subprocess.run(
        [*command, "--port", taken], capture_output=True, check=False, timeout=10
    )
    assert done.returncode != 0
    assert not (tmp_path / "main.json").exists()
