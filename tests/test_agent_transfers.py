"""What is moved is verified, at every size."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING

import pytest
from agents import LOOPBACKS, Server, ask, listening, serving

from pytest_k8snet.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("s"), "server@n1", "--loopback", "0") as found:
        yield found


@pytest.mark.parametrize("address", LOOPBACKS)
def test_a_transfer_is_verified_in_both_directions(
    server: Server, address: str
) -> None:
    port = server.ports["alt/tcp"]
    seen = ask("bulk", address=address, port=port, bytes=3_000_001, timeout=15)
    assert (seen["outcome"], seen["who"]) == (Outcome.CONNECTED, "server@n1"), seen


def test_a_transfer_that_stalls_says_how_far_it_came() -> None:
    with listening(lambda _: time.sleep(1)) as port:
        seen = ask("bulk", address="127.0.0.1", port=port, bytes=64 << 20, timeout=0.5)
    assert (seen["outcome"], seen["phase"]) == (Outcome.TIMED_OUT, "send"), seen


def test_other_bytes_than_were_sent_are_a_wrong_answer() -> None:
    def liar(client: socket.socket) -> None:
        left = 1000 + len('{"bulk": 1000}\n')
        while left:
            left -= len(client.recv(left))
        identity = {"who": "x", "peer": "1", "local": "2", "port": 3}
        for line in (identity, {"sha256": "0" * 64}):
            client.sendall(json.dumps(line).encode() + b"\n")

    with listening(liar) as port:
        seen = ask("bulk", address="127.0.0.1", port=port, bytes=1000)
    assert seen["outcome"] == Outcome.ANSWERED_WRONGLY
    assert "not the bytes" in seen["detail"]


@pytest.mark.parametrize("address", LOOPBACKS)
def test_a_full_size_datagram_comes_back_at_full_size(
    server: Server, address: str
) -> None:
    seen = ask("full-size", address=address, port=server.ports["main/udp"])
    assert seen["outcome"] == Outcome.CONNECTED, seen
    assert seen["values"] == [str(seen["mtu"])]
    assert seen["mtu"] > 60_000


def test_a_datagram_of_any_size_is_answered_at_that_size(server: Server) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect(("127.0.0.1", server.ports["main/udp"]))
        for size in (200, 1400, 9000):
            client.send(b'{"n": "x"}\n'.ljust(size))
            answer = client.recv(65535)
            assert len(answer) == size
            assert json.loads(answer)["size"] == size


def test_a_datagram_above_every_mtu_arrives_whole(server: Server) -> None:
    port = server.ports["main/udp"]

    seen = ask("connect", protocol="udp", address="127.0.0.1", port=port, size=12_000)

    assert (seen["outcome"], seen["who"]) == (Outcome.CONNECTED, server.name)
