"""Who is at the other end, by connections, datagrams and echoes."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from agents import LOOPBACKS, Server, answering, ask, listening, serving
from kernel import has_sctp

from pytest_k8snet.agent import asking
from pytest_k8snet.agent.connecting import HELD
from pytest_k8snet.agent.sockets import SOL_IP, take_own_port
from pytest_k8snet.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IP_LOCAL_PORT_RANGE = 51  # Linux 6.3 and later


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("s"), "server@n1", "--loopback", "0") as found:
        yield found


@pytest.mark.parametrize("address", LOOPBACKS)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_both_ends_of_a_connection_are_reported(
    server: Server, protocol: str, address: str
) -> None:
    port = server.ports[f"main/{protocol}"]
    seen = ask("connect", address=address, port=port, protocol=protocol)
    assert seen["outcome"] == Outcome.CONNECTED, seen
    assert seen["who"] == "server@n1"
    assert seen["own"] == seen["peer"] == seen["local"] == address
    assert seen["values"] == [str(port)]
    assert seen["phase"] == seen["detail"] == ""
    assert 0 < seen["seconds"] < 3


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_the_address_that_was_dialled_is_the_one_that_answers(
    server: Server, protocol: str
) -> None:
    port = server.ports[f"main/{protocol}"]
    seen = ask("connect", address="127.0.0.9", port=port, protocol=protocol)
    assert (seen["outcome"], seen["local"]) == (Outcome.CONNECTED, "127.0.0.9"), seen


def test_a_name_is_resolved_then_dialled(server: Server) -> None:
    port = server.ports["main/tcp"]
    seen = ask("connect", name="localhost", family="ipv4", port=port)
    assert (seen["outcome"], seen["address"]) == (Outcome.CONNECTED, "127.0.0.1"), seen


def test_a_name_that_is_none_ends_in_phase_resolve() -> None:
    seen = ask("connect", name="no-such-name.invalid", port=1, timeout=0.001)
    assert seen["phase"] == "resolve"
    assert seen["outcome"] in {Outcome.TIMED_OUT, Outcome.NAME_NOT_FOUND}


def test_the_loopback_port_is_open_on_loopback_only(server: Server) -> None:
    port = server.ports["loopback/tcp"]
    for address in LOOPBACKS:
        seen = ask("connect", address=address, port=port)
        assert seen["outcome"] == Outcome.CONNECTED, seen
    # Of 127/8 it took one address: any other is like an address of the Pod.
    assert ask("connect", address="127.0.0.2", port=port)["outcome"] == Outcome.REFUSED


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_source_port_can_be_used_again_at_once(server: Server, protocol: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        source = free.getsockname()[1]
    port = server.ports[f"main/{protocol}"]
    fields: dict[str, Any] = {
        "address": "127.0.0.1",
        "port": port,
        "protocol": protocol,
    }
    for _ in range(3):
        seen = ask("connect", **fields, source_port=source)
        assert seen["outcome"] == Outcome.CONNECTED, seen


def test_no_two_connections_have_one_source_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        first = free.getsockname()[1] & ~1
    between = struct.pack("=HH", first, first + 1)
    ports: list[int] = []
    with contextlib.ExitStack() as stack:
        for _ in range(2):  # each to somebody else, as one port would do for
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            client = stack.enter_context(socket.socket())
            try:
                client.setsockopt(SOL_IP, IP_LOCAL_PORT_RANGE, between)
            except OSError:
                pytest.skip("this kernel has one range of ports for all sockets")
            take_own_port(client)
            client.connect(server.getsockname())
            ports.append(client.getsockname()[1])
    assert sorted(ports) == [first, first + 1]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_probes_from_one_source_port_take_turns(server: Server, protocol: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        source = free.getsockname()[1]
    fields: dict[str, Any] = {"protocol": protocol, "source_port": source}
    fields |= {"address": "127.0.0.1", "port": server.ports[f"main/{protocol}"]}
    outcomes: list[str] = []

    def run() -> None:
        outcomes.append(ask("connect", **fields)["outcome"])

    threads = [threading.Thread(target=run) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [Outcome.CONNECTED] * 10


@pytest.mark.parametrize(
    ("protocol", "phase"), [("tcp", "connect"), ("udp", "receive")]
)
def test_a_closed_port_refuses_at_once(protocol: str, phase: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    seen = ask("connect", address="127.0.0.1", port=port, protocol=protocol)
    assert (seen["outcome"], seen["phase"]) == (Outcome.REFUSED, phase)
    assert seen["detail"] == "ECONNREFUSED"
    assert seen["seconds"] < 0.5
    if protocol == "udp":
        assert seen["icmp"] == "3/3 from 127.0.0.1"


def test_a_handshake_that_nobody_answers_times_out_in_phase_connect() -> None:
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # a full backlog drops every further SYN
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.05)
        port = listener.getsockname()[1]
        seen = ask("connect", address="127.0.0.1", port=port, timeout=0.3)
    assert (seen["outcome"], seen["phase"]) == (Outcome.TIMED_OUT, "connect"), seen
    assert seen["detail"] == "no answer within 0.3 s"
    assert seen["seconds"] == pytest.approx(0.3, abs=0.2)


def test_silence_after_the_handshake_times_out_in_phase_receive() -> None:
    with listening(lambda _: time.sleep(0.5)) as port:
        seen = ask("connect", address="127.0.0.1", port=port, timeout=0.2)
    assert (seen["outcome"], seen["phase"]) == (Outcome.TIMED_OUT, "receive")


def test_a_datagram_without_an_answer_times_out_in_phase_receive() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        seen = ask(
            "connect", address="127.0.0.1", port=port, protocol="udp", timeout=0.2
        )
    assert (seen["outcome"], seen["phase"]) == (Outcome.TIMED_OUT, "receive")


def test_an_answer_from_another_address_is_none_but_is_named() -> None:
    with answering(lambda data: data, by="127.0.0.3") as port:
        seen = ask(
            "connect", address="127.0.0.1", port=port, protocol="udp", timeout=0.3
        )
    assert seen["outcome"] == Outcome.TIMED_OUT
    assert seen["detail"] == f"an answer came from 127.0.0.3 port {port}"


@pytest.mark.parametrize(
    ("once", "outcome"), [(False, Outcome.ANSWERED), (True, Outcome.TIMED_OUT)]
)
def test_a_lost_datagram_is_sent_again_unless_loss_is_the_question(
    monkeypatch: pytest.MonkeyPatch, once: bool, outcome: Outcome
) -> None:
    monkeypatch.setattr(asking, "RESEND", 0.05)

    def empty(question: bytes) -> bytes:
        return question[:2] + b"\x81\x80" + question[4:]

    with answering(empty, lost=1) as port:
        fields: dict[str, Any] = {"name": "x.example", "server": "127.0.0.1"}
        seen = ask("dns", port=port, once=once, timeout=0.5, **fields)
        if once:  # let the server end
            ask("dns", port=port, once=True, timeout=0.5, **fields)

    assert seen["outcome"] == outcome


def test_a_reset_is_told_from_silence() -> None:
    def reset(client: socket.socket) -> None:
        client.recv(100)
        linger = struct.pack("ii", 1, 0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    with listening(reset) as port:
        seen = ask("connect", address="127.0.0.1", port=port)
    assert (seen["outcome"], seen["detail"]) == (Outcome.RESET, "ECONNRESET")


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad Request\r\n", b"{}\n", b"[1]\n", b"7\n", b"\xff\xfe\n", b""],
)
def test_nonsense_is_a_wrong_answer(answer: bytes) -> None:
    def nonsense(client: socket.socket) -> None:
        client.recv(100)
        client.sendall(answer)

    with listening(nonsense) as port:
        seen = ask("connect", address="127.0.0.1", port=port)
    assert seen["outcome"] == Outcome.ANSWERED_WRONGLY, seen
    assert seen["detail"]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_no_way_there_is_unreachable_and_sends_nothing(protocol: str) -> None:
    seen = ask("connect", address="255.255.255.255", port=9, protocol=protocol)
    assert (seen["outcome"], seen["phase"]) == (Outcome.UNREACHABLE, "connect"), seen
    assert seen["detail"] in {"EACCES", "ENETUNREACH"}


@pytest.mark.parametrize("address", LOOPBACKS)
def test_an_echo_is_answered_by_the_address_that_was_asked(address: str) -> None:
    seen = ask("ping", address=address)

    # As the kernel lets whoever runs this: net.ipv4.ping_group_range.
    if seen["outcome"] == Outcome.UNSUPPORTED:
        assert seen["detail"] == "no ICMP without privileges: EACCES"
    else:
        assert (seen["outcome"], seen["values"]) == (Outcome.ANSWERED, [address])


def test_a_kernel_that_sends_no_echo_says_nothing_of_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(socket, "socket", forbidden)

    assert ask("ping", address="127.0.0.1")["outcome"] == Outcome.UNSUPPORTED


@pytest.mark.parametrize("address", LOOPBACKS)
def test_sctp_is_spoken_or_the_kernel_is_said_to_have_none(
    address: str, tmp_path: Path
) -> None:
    with serving(tmp_path, "server@n1", "--port", "main/sctp=0") as server:
        port = server.ports["main/sctp"] or 9
        reply = ask("connect", address=address, port=port, protocol="sctp")

    if has_sctp():
        assert (reply["outcome"], reply["who"]) == (Outcome.CONNECTED, "server@n1")
    else:
        assert reply["outcome"] == Outcome.UNREACHABLE
        assert reply["detail"] == "EPROTONOSUPPORT"


def test_a_connection_may_be_silent_for_a_while(server: Server) -> None:
    port = server.ports["main/tcp"]

    seen = ask("connect", address="127.0.0.1", port=port, idle=1)

    assert (seen["outcome"], seen["who"]) == (Outcome.CONNECTED, server.name)
    assert seen["seconds"] > 1


def test_a_connection_that_is_lost_while_silent_is_no_good() -> None:
    def forget(client: socket.socket) -> None:
        client.recv(100)
        client.sendall(b'{"who": "x", "peer": "::1", "local": "::1", "port": 1}\n')

    with listening(forget) as port:
        seen = ask("connect", address="127.0.0.1", port=port, idle=1)

    assert seen["outcome"] in {Outcome.ANSWERED_WRONGLY, Outcome.RESET}


def test_a_probe_that_waits_has_its_time_out_beside(server: Server) -> None:
    port = server.ports["main/tcp"]

    seen = ask("connect", address="127.0.0.1", port=port, wait=1)

    assert seen["outcome"] == Outcome.CONNECTED
    assert seen["seconds"] > 1


def test_a_connection_that_is_kept_is_asked_again(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        to: Any = {"address": "127.0.0.1", "port": server.ports["main/tcp"]}
        before = ask("resume", **to)
        kept, again = ask("hold", **to), ask("resume", **to)
        server.process.kill()
        server.process.wait()
        after = ask("resume", **to)
    HELD.popitem()[1].close()

    assert before["outcome"] == Outcome.NOT_PROBED
    assert (kept["outcome"], kept["who"]) == (Outcome.CONNECTED, server.name)
    assert (again["outcome"], again["who"]) == (Outcome.CONNECTED, server.name)
    assert after["outcome"] in {Outcome.RESET, Outcome.ANSWERED_WRONGLY}


def test_the_own_address_towards_a_node_is_known_without_a_packet() -> None:
    seen = ask("fact", field="source", address="127.0.0.1", port=9)

    assert seen["values"] == ["127.0.0.1"]


def first_of(port: int, tmp_path: Path) -> dict[str, Any]:
    target = ("--first", f"127.0.0.1 {port}")
    with serving(tmp_path, "newcomer@n1", *target) as newcomer:
        return ask("fact", state=str(newcomer.state), field="first")


def test_the_first_thing_that_a_container_dials_is_written_down(
    server: Server, tmp_path: Path
) -> None:
    reached = first_of(server.ports["main/tcp"], tmp_path)

    assert reached["values"] == [Outcome.CONNECTED]


def test_a_container_that_reaches_nobody_at_first_says_so(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refused = first_of(closed.getsockname()[1], tmp_path)

    assert refused["values"] == [Outcome.REFUSED]


def test_without_a_first_connection_nothing_is_known_of_it(tmp_path: Path) -> None:
    seen = ask("fact", state=str(tmp_path), field="first", timeout=0.1)

    assert seen["outcome"] == Outcome.TIMED_OUT
