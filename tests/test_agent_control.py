"""The control channel, and what comes of bad requests."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from agents import Server, controlling, hear, serving, tell

from pytest_k8snet.agent.control import Control
from pytest_k8snet.agent.operations import run
from pytest_k8snet.agent.processes import started
from pytest_k8snet.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("s"), "server@n1", "--loopback", "0") as found:
        yield found


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


def test_what_may_not_start_another_thread_goes_on_with_those_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    worker = Control("", {})
    monkeypatch.setattr(threading.Thread, "start", refuse)

    for number in range(3):
        worker.submit({"id": number, "op": "fact", "field": "hostname"})

    assert (worker.workers, worker.unfinished) == (0, 3)
    assert worker.waiting.qsize() == 3


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


@contextlib.contextmanager
def rarely_run(process: subprocess.Popen[str]) -> Iterator[None]:
    """Let a process run for no more than a part of the time."""
    done = threading.Event()

    def hold_up() -> None:
        while not done.wait(0.5):
            process.send_signal(signal.SIGSTOP)
            done.wait(0.5)
            process.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=hold_up)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_control_says_for_how_long_the_server_beside_it_was_not_let_run(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as server, controlling("--state", str(tmp_path)) as process:
        hear(process)
        with rarely_run(server.process):
            assert hear(process, late=True)["late"] > 0


def test_control_says_when_it_was_not_let_run_itself() -> None:
    with controlling() as process:
        hear(process)
        with rarely_run(process):
            assert hear(process, late=True)["late"] > 0
