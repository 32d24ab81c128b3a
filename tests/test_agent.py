"""The agent, run as the Pods run it, on the loopback interface."""

from __future__ import annotations

import ast
import contextlib
import errno
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kernel import has_sctp

from pytest_k8snet.agent import asking, dns, operations, outcomes
from pytest_k8snet.agent.connecting import HELD
from pytest_k8snet.agent.container import FACTS
from pytest_k8snet.agent.dns_messages import decode_name, encode_question, reverse_name
from pytest_k8snet.agent.operations import run
from pytest_k8snet.agent.probe import resolver_stop
from pytest_k8snet.agent.processes import started
from pytest_k8snet.manifests import COMMAND, MODULE, agent_sources
from pytest_k8snet.model import Op, Outcome
from pytest_k8snet.stage import OUTSIDE_AGENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PORTS = ("main/tcp=0", "main/udp=0", "alt/tcp=0")
AGENT_OPS = set(Op) - {Op.EXEC, Op.LOGS, Op.PORT_FORWARD, Op.PROXY, Op.STATUS}
LOOPBACKS = ["127.0.0.1", "::1"]


@dataclass
class Server:
    process: subprocess.Popen[str]
    state: Path
    name: str
    ports: dict[str, int]


@contextlib.contextmanager
def serving(state: Path, name: str = "server@n1", *more: str) -> Iterator[Server]:
    options = [word for port in PORTS for word in ("--port", port)]
    options += ["--name", name, "--state", str(state), *more]
    process = subprocess.Popen(
        [*OUTSIDE_AGENT, "serve", *options], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == f"k8snet agent serving {name}\n"
        written = json.loads((state / "main.json").read_text())
        yield Server(process, state, name, written["ports"])
        process.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("s"), "server@n1", "--loopback", "0") as found:
        yield found


def ask(op: str, /, *, state: str = "", **fields: Any) -> dict[str, Any]:
    request = {"id": 7, "op": op, "timeout": 3, **fields}
    reply: dict[str, Any] = run(request, state).reply
    assert reply["id"] == 7
    assert reply["outcome"] in set(Outcome)
    assert all(isinstance(value, str) for value in reply["values"])
    json.dumps(reply)
    return reply


@contextlib.contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen for TCP clients, and answer the first of them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                client, _ = listener.accept()
                with client:
                    answer(client)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


@contextlib.contextmanager
def answering(
    answer: Callable[[bytes], bytes], by: str = "", lost: int = 0
) -> Iterator[int]:
    """Answer a UDP datagram, from another address if BY is given, after LOST ones."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        sender = sock
        if by:
            sender = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            sender.bind((by, sock.getsockname()[1]))

        def serve() -> None:
            with contextlib.suppress(OSError):
                for _ in range(lost):
                    sock.recvfrom(65535)
                data, client = sock.recvfrom(65535)
                sender.sendto(answer(data), client)

        thread = threading.Thread(target=serve)
        thread.start()
        yield sock.getsockname()[1]
        thread.join(6)


# --- the contract with the rest -----------------------------------------------------


def test_the_words_of_the_agent_are_those_of_the_model() -> None:
    words = {word for word in vars(outcomes).values() if isinstance(word, str)}
    assert words >= set(Outcome)
    assert set(operations.OUTCOME_OF.values()) <= set(Outcome)


def test_the_agent_knows_every_operation_of_an_agent() -> None:
    assert set(operations.MODULES) == AGENT_OPS
    assert all(callable(operations.operation(name)) for name in AGENT_OPS)


def test_it_is_python_3_9_and_needs_only_the_standard_library() -> None:
    names = set()
    for source in agent_sources().values():
        for node in ast.walk(ast.parse(source, feature_version=(3, 9))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module or "")
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Have the agent lie in a folder as it does in a container."""
    made = tmp_path_factory.mktemp("home")
    (made / MODULE).mkdir()
    for name, source in agent_sources().items():
        (made / MODULE / name).write_text(source)
    return made


@pytest.mark.parametrize("python", ["python3.9", sys.executable])
def test_it_runs_where_there_is_nothing_but_python(home: Path, python: str) -> None:
    _, *command = COMMAND
    try:
        command = [python, *command, "lookup", "localhost"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=home
        )
    except FileNotFoundError:
        pytest.skip("there is no python3.9 here")
    if done.returncode == 127:
        pytest.skip("python3.9 is a shim without a version behind it")
    assert done.returncode == 0, done.stderr


def test_a_container_that_only_answers_imports_nothing_else(home: Path) -> None:
    code = f"import {MODULE}.serving, sys; print(*sys.modules)"
    command = [sys.executable, "-ESs", "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=home)
    loaded = set(said.stdout.split())

    own = {name.partition(".")[2] for name in loaded if name.startswith(f"{MODULE}.")}
    assert own == {
        *("serving", "addresses", "listeners", "processes", "sockets"),
        "transfers",
    }
    dear = {"argparse", "hashlib", "http", "pathlib", "ssl", "subprocess", "typing"}
    assert not loaded & dear


# --- connecting ---------------------------------------------------------------------


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


# --- sizes --------------------------------------------------------------------------


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


def test_a_server_speaks_http_to_who_asks_for_it(server: Server) -> None:
    seen = ask("http", address="127.0.0.1", port=server.ports["main/tcp"], path="/x")

    assert (seen["outcome"], seen["values"]) == (Outcome.ANSWERED, ["200"])


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
IDENTITY = b'{"who": "server@n1", "peer": "192.0.2.1", "local": "192.0.2.2", "port": 1}'


def proxy(answer: bytes, asked: list[bytes]) -> Callable[[socket.socket], None]:
    """Answer whatever is asked as a proxy would, and note what it was."""

    def talk(client: socket.socket) -> None:
        asked.append(client.recv(1000))
        client.sendall(answer)

    return talk


def test_who_answers_behind_a_proxy_is_seen() -> None:
    asked: list[bytes] = []
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(IDENTITY), IDENTITY)

    with listening(proxy(CHUNKED + body, asked)) as port:
        seen = ask("fetch", address="127.0.0.1", port=port, host="a.test", path="/x")

    assert (seen["outcome"], seen["who"]) == (Outcome.CONNECTED, "server@n1")
    assert seen["values"] == ["1"]
    assert asked[0].startswith(b"GET /x HTTP/1.1\r\nHost: a.test\r\n")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\nwelcome", "HTTP status 404"),
        (b"HTTP/1.1 200 OK\r\n\r\nwelcome", "not an agent: 'welcome'"),
        (b"hello\r\n", "not HTTP"),
        (b"", "not HTTP"),
        (CHUNKED + b"zz\r\n", "not HTTP"),
    ],
)
def test_what_no_agent_answers_is_a_wrong_answer(answer: bytes, said: str) -> None:
    with listening(proxy(answer, [])) as port:
        seen = ask("fetch", address="127.0.0.1", port=port, host="a.test", path="/")

    assert seen["outcome"] == Outcome.ANSWERED_WRONGLY
    assert said in seen["detail"]


def test_an_agent_is_fetched_by_hand(server: Server) -> None:
    port = str(server.ports["main/tcp"])

    code, line = by_hand("fetch", "127.0.0.1", port, "a.test/x")

    assert code == 0
    assert line.endswith("server@n1 at 127.0.0.1 saw 127.0.0.1")


def test_what_is_not_http_is_a_wrong_answer() -> None:
    with listening(lambda client: client.sendall(b"hello\r\n")) as port:
        seen = ask("http", address="127.0.0.1", port=port)

    assert seen["outcome"] == Outcome.ANSWERED_WRONGLY


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


def test_one_that_lingers_outlives_sigterm_and_ends_when_told(tmp_path: Path) -> None:
    with serving(tmp_path, "spare@n1", "--linger") as server:
        server.process.send_signal(signal.SIGTERM)
        port = server.ports["main/tcp"]

        assert ask("connect", address="127.0.0.1", port=port)["who"] == "spare@n1"
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(5) == 0


def test_a_cut_answer_is_asked_for_again_by_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = encode_question(7, "x.example", 1)

    def cut(question: bytes) -> bytes:
        return question[:2] + b"\x83\x80" + question[4:]

    def by_stream(_: object, __: str, question: bytes) -> bytes:
        return question[:2] + b"\x81\x80" + whole[4:]

    monkeypatch.setattr(dns, "ask_by_stream", by_stream)
    with answering(cut) as port:
        fields: dict[str, Any] = {"name": "x.example", "server": "127.0.0.1"}
        first = ask("dns", port=port, **fields)
    with answering(cut) as port:
        again = ask("dns", port=port, whole=True, **fields)

    assert (first["detail"], again["detail"]) == ("TC", "")


def test_an_answer_is_never_longer_than_its_question(server: Server) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect(("127.0.0.1", server.ports["main/udp"]))
        client.send(b"{}")
        assert len(client.recv(65535)) <= 2


# --- the server's manners -----------------------------------------------------------


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


# --- the control channel ------------------------------------------------------------


@contextlib.contextmanager
def controlling(*options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*OUTSIDE_AGENT, "control", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()


def tell(process: subprocess.Popen[str], message: object) -> None:
    assert process.stdin
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout
    heard: dict[str, Any] = json.loads(process.stdout.readline())
    return heard


def test_control_introduces_itself_as_the_server_beside_it(server: Server) -> None:
    with controlling("--state", str(server.state)) as process:
        assert hear(process) == {"hello": 1, "name": "server@n1", "ports": server.ports}


def test_control_without_a_server_has_a_name_and_no_ports() -> None:
    with controlling("--name", "outside") as process:
        assert hear(process) == {"hello": 1, "name": "outside", "ports": {}}


def test_requests_run_at_the_same_time_and_the_slow_hold_up_nobody(
    server: Server,
) -> None:
    with (
        socket.socket(type=socket.SOCK_DGRAM) as silent,
        controlling("--state", str(server.state)) as process,
    ):
        silent.bind(("127.0.0.1", 0))
        dead: dict[str, object] = {
            "op": "connect",
            "address": "127.0.0.1",
            "protocol": "udp",
        }
        dead |= {"port": silent.getsockname()[1], "timeout": 1.0}
        quick: dict[str, object] = {"op": "connect", "address": "127.0.0.1"}
        quick |= {"port": server.ports["main/tcp"], "timeout": 3}
        hear(process)
        begin = time.monotonic()
        requests = [{"id": n, **dead} for n in range(100)]
        tell(process, {"requests": [*requests, {"id": 100, **quick}]})
        assert hear(process)["id"] == 100
        assert {hear(process)["id"] for _ in range(100)} == set(range(100))
        assert time.monotonic() - begin < 5


def test_garbage_on_stdin_is_answered_and_survived() -> None:
    with controlling() as process:
        hear(process)
        assert process.stdin
        process.stdin.write("garbage\n\n[]\n7\n")
        tell(process, {"requests": [7, {}, {"id": 1, "op": "no-such-op"}, {"id": 2}]})
        assert ["error" in hear(process) for _ in range(3)] == [True] * 3
        heard = [hear(process) for _ in range(4)]
        assert {reply["outcome"] for reply in heard} == {Outcome.NOT_PROBED}
        assert all(reply["detail"] for reply in heard)


def test_the_end_of_stdin_ends_control_even_with_probes_under_way() -> None:
    with (
        socket.socket(type=socket.SOCK_DGRAM) as silent,
        controlling() as process,
    ):
        silent.bind(("127.0.0.1", 0))
        fields: dict[str, Any] = {
            "port": silent.getsockname()[1],
            "timeout": 60,
            "protocol": "udp",
        }
        hear(process)
        request = {"op": "connect", "address": "127.0.0.1", **fields}
        tell(process, {"requests": [request]})
        assert process.stdin
        process.stdin.close()
        assert process.wait(2) == 0
        process.stdin = None


def test_replies_that_nobody_reads_do_not_keep_requests_from_being_taken() -> None:
    with controlling() as process:
        hear(process)
        requests = [{"id": n, "op": "fact", "field": "hostname"} for n in range(3000)]
        tell(process, {"requests": requests[:1500]})
        tell(process, {"requests": requests[1500:]})
        assert len({hear(process)["id"] for _ in requests}) == len(requests)


def test_a_state_file_from_before_a_restart_is_not_believed(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        stale = json.loads((server.state / "main.json").read_text())
    stale["started"] = "1"
    (tmp_path / "main.json").write_text(json.dumps(stale))
    with controlling("--state", str(tmp_path)) as process:
        time.sleep(0.2)
        with serving(tmp_path, "again@n1"):
            assert hear(process)["name"] == "again@n1"


def test_restart_ends_the_server_after_it_was_answered(tmp_path: Path) -> None:
    with serving(tmp_path) as server, controlling("--state", str(tmp_path)) as process:
        hear(process)
        tell(process, {"requests": [{"id": 1, "op": "restart"}]})
        assert hear(process)["outcome"] == Outcome.ANSWERED
        assert server.process.wait(3) == 0


def test_restart_leaves_a_process_alone_that_is_not_the_server() -> None:
    with subprocess.Popen(["sleep", "30"]) as innocent:
        state = {"pid": innocent.pid, "started": started(innocent.pid)}
        seen = run({"id": 1, "op": "restart"}, "", state).reply
        assert seen["outcome"] == Outcome.NOT_PROBED
        time.sleep(0.2)
        assert innocent.poll() is None
        innocent.kill()


# --- DNS ----------------------------------------------------------------------------


def encode_name(name: str) -> bytes:
    labels = [part.encode() for part in name.split(".") if part]
    return b"".join(bytes([len(part)]) + part for part in labels) + b"\0"


@dataclass
class Zone:
    """A name server that gives one answer to every question, by UDP and by TCP."""

    records: list[tuple[int, bytes]] = field(default_factory=list)
    flags: int = 0x8400
    identity: int = 0  # added to the id of the question
    port: int = 0
    question: bytes = b""

    def answer(self, question: bytes) -> bytes:
        self.question = question
        (number,) = struct.unpack_from("!H", question)
        end = question.index(b"\0", 12) + 5
        header = (number + self.identity & 0xFFFF, self.flags, 1, len(self.records))
        answer = struct.pack("!6H", *header, 0, 0) + question[12:end]
        for kind, data in self.records:
            answer += struct.pack("!HHHIH", 0xC00C, kind, 1, 5, len(data)) + data
        return answer

    @contextlib.contextmanager
    def serve(self) -> Iterator[Zone]:
        with answering(self.answer) as self.port:
            yield self

    def answer_stream(self, client: socket.socket) -> None:
        answer = self.answer(client.recv(4096)[2:])
        framed = struct.pack("!H", len(answer)) + answer
        for position in range(0, len(framed), 7):  # however the stream is cut
            client.sendall(framed[position : position + 7])


def resolve(zone: Zone, kind: str, name: str = "db.prod.svc", **more: Any) -> Any:
    with zone.serve():
        fields: dict[str, Any] = {
            "server": "127.0.0.1",
            "port": zone.port,
            "name": name,
            "type": kind,
        }
        return ask("dns", **fields, **more)


A_RECORD = (1, bytes([10, 96, 0, 10]))


@pytest.mark.parametrize(
    ("kind", "records", "values"),
    [
        ("A", [(1, b"\x0a\0\0\x02"), (1, b"\x0a\0\0\x01")], ["10.0.0.1", "10.0.0.2"]),
        ("AAAA", [(28, ip_address("fd00::1").packed)], ["fd00::1"]),
        ("PTR", [(12, encode_name("Pod.Example."))], ["pod.example"]),
        ("CNAME", [(5, encode_name("other.example"))], ["other.example"]),
        ("TXT", [(16, b"\x03dns\x051.1.0")], ["dns1.1.0"]),
        (
            "SRV",
            [(33, struct.pack("!3H", 0, 100, 8080) + b"\x01x\xc0\x0f")],
            ["0 100 8080 x.prod.svc"],
        ),
    ],
)
def test_dns_answers_are_read(
    kind: str, records: list[tuple[int, bytes]], values: list[str]
) -> None:
    seen = resolve(Zone(records), kind)
    assert (seen["outcome"], seen["values"]) == (Outcome.ANSWERED, values), seen


def test_the_question_is_as_the_rfcs_say() -> None:
    zone = Zone([A_RECORD])
    resolve(zone, "A", "Db.prod.svc.")
    assert zone.question[2:12] == struct.pack("!5H", 0x0100, 1, 0, 0, 1)
    assert zone.question[12:].startswith(encode_name("Db.prod.svc") + b"\0\1\0\1")
    assert zone.question.endswith(struct.pack("!BHHIH", 0, 41, 1232, 0, 0))


def test_a_chain_of_aliases_is_told_apart_from_the_addresses() -> None:
    zone = Zone([(5, encode_name("real.example")), A_RECORD])
    seen = resolve(zone, "A")
    assert seen["values"] == ["10.96.0.10"]
    assert seen["detail"] == "CNAME real.example"


@pytest.mark.parametrize(
    ("flags", "outcome", "detail"),
    [
        (0x8403, Outcome.NAME_NOT_FOUND, "NXDOMAIN"),
        (0x8402, Outcome.ANSWERED_WRONGLY, "SERVFAIL"),
        (0x8405, Outcome.ANSWERED_WRONGLY, "REFUSED"),
        (0x8400, Outcome.ANSWERED, ""),
        (0x8600, Outcome.ANSWERED, "TC"),
    ],
)
def test_an_answer_without_records_is_named(
    flags: int, outcome: Outcome, detail: str
) -> None:
    seen = resolve(Zone(flags=flags), "A")
    assert (seen["outcome"], seen["detail"], seen["values"]) == (outcome, detail, [])


def test_dns_by_tcp() -> None:
    zone = Zone([A_RECORD])
    with listening(zone.answer_stream) as port:
        fields: dict[str, Any] = {
            "server": "127.0.0.1",
            "port": port,
            "name": "x",
            "type": "A",
        }
        seen = ask("dns", **fields, transport="tcp")
    assert (seen["outcome"], seen["values"]) == (Outcome.ANSWERED, ["10.96.0.10"]), seen


def test_an_answer_with_another_id_is_not_taken() -> None:
    seen = resolve(Zone([A_RECORD], identity=1), "A", timeout=0.2)
    assert seen["outcome"] == Outcome.TIMED_OUT


def test_a_reverse_name_is_made_of_an_address() -> None:
    assert reverse_name("10.1.2.3") == "3.2.1.10.in-addr.arpa"
    for address in ("10.1.2.3", "fd00::12"):
        expected = ip_address(address).reverse_pointer
        assert reverse_name(address) == expected
        zone = Zone([(12, encode_name("pod.example"))])
        resolve(zone, "PTR", address, reverse=True)
        assert encode_name(expected) in zone.question


@pytest.mark.parametrize(
    "data",
    [b"\xc0\x0c" * 3, b"\xc0\xff", b"\x3fabc", b"\x40", b"", b"\x01a\xc0"],
    ids=lambda data: data.hex() or "empty",
)
def test_a_malformed_name_is_a_wrong_answer_and_no_loop(data: bytes) -> None:
    # The last record: its data begins where the pointers of the first case point.
    seen = resolve(Zone([(5, data)]), "CNAME", "a")
    known = data.startswith(b"\xc0\x0c")
    expected = Outcome.ANSWERED if known else Outcome.ANSWERED_WRONGLY
    assert seen["outcome"] == expected, seen


def test_pointers_that_point_at_themselves_end() -> None:
    message = b"\0" * 12 + b"\xc0\x0c"
    with pytest.raises(ValueError, match="forward"):
        decode_name(message, 12)


def test_no_random_bytes_break_the_decoder() -> None:
    with answering(lambda question: question[:2] + b"\x84" + os.urandom(300)) as port:
        fields: dict[str, Any] = {
            "server": "127.0.0.1",
            "port": port,
            "name": "x",
            "type": "A",
        }
        seen = ask("dns", **fields)
    assert seen["outcome"] in {Outcome.ANSWERED_WRONGLY, Outcome.NAME_NOT_FOUND}, seen


def test_a_name_server_that_is_not_there_refuses() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    seen = ask("dns", server="127.0.0.1", port=port, name="x", type="A")
    assert seen["outcome"] == Outcome.REFUSED


def test_lookup_goes_through_the_c_library() -> None:
    seen = ask("lookup", name="localhost", family="ipv4")
    assert (seen["outcome"], seen["values"]) == (Outcome.ANSWERED, ["127.0.0.1"])


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (socket.EAI_NONAME, Outcome.NAME_NOT_FOUND),
        (socket.EAI_AGAIN, Outcome.TIMED_OUT),
        (socket.EAI_FAIL, Outcome.ANSWERED_WRONGLY),
        (socket.EAI_MEMORY, Outcome.NOT_PROBED),
    ],
)
def test_the_c_librarys_errors_are_named(code: int, outcome: Outcome) -> None:
    stop = resolver_stop(socket.gaierror(code, "why"))
    assert stop.outcome == outcome
    assert stop.detail.startswith("EAI_")


# --- facts and the rest -------------------------------------------------------------


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


@dataclass
class Authority:
    """A certificate for "kubernetes.default", and the file of who signed it."""

    ca_file: Path
    pem: Path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    from cryptography import x509  # noqa: PLC0415 - only this test needs it
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    names = x509.SubjectAlternativeName([x509.DNSName("kubernetes.default")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    shown = certificate.public_bytes(encoding)
    secret = key.private_bytes(
        encoding,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    folder = tmp_path_factory.mktemp("tls")
    found = Authority(folder / "ca.crt", folder / "server.pem")
    found.ca_file.write_bytes(shown)
    found.pem.write_bytes(shown + secret)
    return found


@pytest.mark.parametrize(
    ("name", "outcome", "said"),
    [
        ("kubernetes.default", Outcome.CONNECTED, ""),
        ("other.default", Outcome.ANSWERED_WRONGLY, "not valid for 'other.default'"),
    ],
)
def test_tls_is_verified_against_the_name_and_the_authority(
    authority: Authority, name: str, outcome: Outcome, said: str
) -> None:
    import ssl  # noqa: PLC0415

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.pem)

    def answer(client: socket.socket) -> None:
        with (
            contextlib.suppress(ssl.SSLError),
            context.wrap_socket(client, server_side=True) as secured,
        ):
            secured.recv(1000)
            secured.sendall(b"HTTP/1.1 200 OK\r\n\r\n{}")

    with listening(answer) as port:
        fields: dict[str, Any] = {
            "address": "127.0.0.1",
            "port": port,
            "server_name": name,
        }
        seen = ask("tls", **fields, ca_file=str(authority.ca_file))
    assert seen["outcome"] == outcome, seen
    assert said in seen["detail"]
    if outcome == Outcome.CONNECTED:
        assert (seen["who"], seen["values"]) == (name, ["200"])
    else:
        assert (seen["who"], seen["phase"]) == ("", "tls")


def test_the_certificate_that_a_site_shows_is_told_good_or_not(
    authority: Authority,
) -> None:
    import hashlib  # noqa: PLC0415
    import ssl  # noqa: PLC0415

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.pem)
    named: list[str | None] = []
    context.sni_callback = lambda _, name, __: named.append(name)

    def answer(client: socket.socket) -> None:
        with context.wrap_socket(client, server_side=True) as secured:
            secured.recv(1000)
            secured.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + IDENTITY)

    with listening(answer) as port:
        site = {"host": "other.test", "path": "/"}
        seen = ask("fetch", address="127.0.0.1", port=port, tls=True, **site)

    shown = ssl.PEM_cert_to_DER_cert(authority.ca_file.read_text())
    assert (seen["outcome"], seen["who"]) == (Outcome.CONNECTED, "server@n1"), seen
    assert seen["values"] == ["1", hashlib.sha256(shown).hexdigest()]
    assert named == ["other.test"]


@pytest.mark.parametrize(
    ("host", "lifetime", "said"),
    [
        ("site.test", timedelta(hours=1), ""),
        ("site.test", timedelta(minutes=-30), "certificate has expired"),
        ("else.test", timedelta(hours=1), "not valid for 'site.test'"),
    ],
)
def test_a_chain_is_verified_with_its_dates_from_a_root_that_is_given(
    host: str, lifetime: timedelta, said: str, tmp_path: Path
) -> None:
    import ssl  # noqa: PLC0415

    from pytest_k8snet import pki  # noqa: PLC0415

    root = pki.authority("root")
    between = pki.authority("between", root)
    leaf = pki.issue(
        between, "site", usages=[pki.SERVER], alternatives=[host], lifetime=lifetime
    )
    (tmp_path / "pem").write_text(leaf.cert_pem + between.cert_pem + leaf.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")

    def answer(client: socket.socket) -> None:
        with (
            contextlib.suppress(ssl.SSLError),
            context.wrap_socket(client, server_side=True) as secured,
        ):
            secured.recv(1000)
            secured.sendall(b"HTTP/1.1 200 OK\r\n\r\n{}")

    with listening(answer) as port:
        trusted = {"ca": root.cert_pem, "server_name": "site.test"}
        seen = ask("tls", address="127.0.0.1", port=port, **trusted)

    expected = Outcome.ANSWERED_WRONGLY if said else Outcome.CONNECTED
    assert seen["outcome"] == expected, seen
    assert said in seen["detail"]


def test_a_missing_ca_file_is_no_evidence() -> None:
    seen = ask("tls", address="127.0.0.1", port=1, ca_file="/no/such/file")
    assert seen["outcome"] == Outcome.NOT_PROBED


@pytest.mark.parametrize(
    "request_",
    [
        None,
        [],
        "x",
        {"id": 1},
        {"id": 1, "op": 5},
        {"id": 1, "op": "connect"},
        {"id": 1, "op": "connect", "address": "not-an-address", "port": 1},
        {"id": 1, "op": "connect", "address": "127.0.0.1", "port": "x"},
        {"id": 1, "op": "connect", "address": "127.0.0.1", "port": 99999},
        {"id": 1, "op": "connect", "address": "127.0.0.1", "port": 1, "timeout": "x"},
        {"id": 1, "op": "bulk", "address": "127.0.0.1", "port": 1, "bytes": 0},
        {"id": 1, "op": "dns", "server": "127.0.0.1", "name": "x", "type": "NOPE"},
        {"id": 1, "op": "dns", "server": "127.0.0.1", "name": "é.x", "type": "A"},
        {"id": 1, "op": "lookup", "name": "x" * 70 + ".y"},
        {"id": 1, "op": "fact", "field": "no-such-fact"},
    ],
)
def test_a_bad_request_is_never_evidence(request_: object) -> None:
    reply = run(request_).reply
    assert reply["outcome"] == Outcome.NOT_PROBED, reply
    assert reply["detail"]


# --- by hand ------------------------------------------------------------------------


def by_hand(*words: str) -> tuple[int, str]:
    argv = [*OUTSIDE_AGENT, *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    return done.returncode, done.stdout.strip() or done.stderr.strip()


def test_the_commands_for_people_print_a_line_and_exit_by_it(server: Server) -> None:
    port = str(server.ports["main/tcp"])
    code, line = by_hand("tcp", "127.0.0.1", port)
    assert code == 0
    assert line.startswith("connected (")
    assert line.endswith("server@n1 at 127.0.0.1 saw 127.0.0.1")
    assert by_hand("udp", "::1", str(server.ports["main/udp"]), "900")[0] == 0
    code, line = by_hand("udp", "::1", str(server.ports["main/udp"]), "mtu")
    assert code == 0
    assert " at MTU 65536: " in line
    assert by_hand("lookup", "localhost")[0] == 0
    code, line = by_hand("tcp", "127.0.0.2", str(server.ports["loopback/tcp"]))
    assert code == 1
    assert line.startswith("refused (")
    assert line.endswith("in phase connect: ECONNREFUSED")


def test_dns_by_hand_names_server_name_and_type() -> None:
    code, line = by_hand("dns", "127.0.0.77", "x", "A")
    assert (code, line.partition(" ")[0]) == (1, "refused")


def test_probe_takes_and_prints_json() -> None:
    code, line = by_hand("probe", '{"op": "fact", "field": "hostname"}')
    assert (code, json.loads(line)["values"]) == (0, [socket.gethostname()])


@pytest.mark.parametrize("words", [(), ("nonsense",), ("tcp",), ("probe", "{")])
def test_a_wrong_command_line_shows_the_right_ones(words: tuple[str, ...]) -> None:
    code, said = by_hand(*words)
    assert code == 1
    assert "python3 -m agent serve" in said


# --- what policies are watched with -------------------------------------------------


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
