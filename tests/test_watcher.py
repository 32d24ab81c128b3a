"""The watch's agent, run as its Pods run it, on the loopback interface."""

from __future__ import annotations

import contextlib
import errno
import json
import select
import socket
import struct
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from pytest_k8snet.agent import watch_paths
from pytest_k8snet.agent.watch_log import RUNS, Log
from pytest_k8snet.watch_objects import OUR_WATCHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CLOSED = 9
LOOPBACKS = ["127.0.0.1", "::1"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass
class Agent:
    """A watcher that runs, as the controller sees it."""

    stdin: Any
    stdout: Any
    seen: list[list[Any]] = field(default_factory=list)
    broken: list[list[Any]] = field(default_factory=list)
    number: int = 0
    incarnation: str = ""

    def ask(self, **request: Any) -> dict[str, Any]:
        self.stdin.write(json.dumps({"requests": [{"id": 5, **request}]}) + "\n")
        self.stdin.flush()
        reply: dict[str, Any] = json.loads(self.stdout.readline())
        assert reply["id"] == 5
        return reply

    def watch(self, *paths: dict[str, Any]) -> None:
        wanted = dict(enumerate(paths))
        self.incarnation = self.ask(op="watch", paths=wanted)["incarnation"]

    def fetch(self) -> None:
        known = {"after": self.number, "incarnation": self.incarnation}
        for batch in self.ask(op="fetch", **known)["batches"]:
            self.number = batch["number"]
            self.seen += batch["runs"]
            self.broken += batch["broken"]

    def outcomes(self, number: int) -> list[str]:
        """Give what came of each question along a path, in order."""
        self.fetch()
        return [
            o for n, o, _, _, count in self.seen if n == number for _ in range(count)
        ]

    def until(self, holds: Callable[[], bool], seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, self.seen
            time.sleep(0.05)


@contextlib.contextmanager
def controlling(state: Path) -> Iterator[Agent]:
    with subprocess.Popen(
        [*OUR_WATCHER, "control", "--state", str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        hello = json.loads(process.stdout.readline())
        assert (hello["hello"], hello["name"]) == (1, "watch@a")
        yield Agent(process.stdin, process.stdout)
        assert process.stdin
        process.stdin.close()
        process.wait(5)


@contextlib.contextmanager
def serving(state: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    words = ["--name", "watch@a", "--state", str(state), "--port", str(port)]
    with subprocess.Popen(
        [*OUR_WATCHER, "serve", *words], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "k8snet watcher serving watch@a\n"
        yield process
        process.kill()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def agent(tmp_path: Path, port: int) -> Iterator[Agent]:
    with serving(tmp_path, port), controlling(tmp_path) as found:
        yield found


def path(port: int, how: str = "new", address: str = "127.0.0.1") -> dict[str, Any]:
    return {"how": how, "address": address, "port": port, "who": "watch@a"}


@pytest.mark.parametrize("how", ["new", "kept"])
@pytest.mark.parametrize("address", LOOPBACKS)
def test_it_asks_five_times_a_second(
    agent: Agent, port: int, how: str, address: str
) -> None:
    started = time.monotonic()
    agent.watch(path(port, how, address))
    agent.until(lambda: len(agent.outcomes(0)) >= 6)

    assert set(agent.outcomes(0)) == {"answered"}
    assert time.monotonic() - started >= 0.9
    first, last = agent.seen[0][2], agent.seen[-1][3]
    assert abs(first - started) < 0.5
    assert last <= time.monotonic()


def test_it_says_why_nobody_answered(agent: Agent) -> None:
    agent.watch(path(CLOSED), path(CLOSED, "kept"))

    agent.until(lambda: all(len(agent.outcomes(n)) > 1 for n in range(2)))

    assert set(agent.outcomes(0)) == {"refused"}
    assert set(agent.outcomes(1)) == {"refused"}
    assert agent.broken == []


@pytest.mark.parametrize(
    ("number", "outcome"),
    [
        (errno.EHOSTUNREACH, "unreachable"),
        (errno.ECONNRESET, "reset"),
        (errno.EMFILE, "not probed"),
    ],
)
def test_what_could_not_be_asked_was_not_probed(number: int, outcome: str) -> None:
    assert watch_paths.outcome_of(OSError(number, "")) == outcome


def test_who_answers_has_to_be_who_was_asked(agent: Agent, port: int) -> None:
    agent.watch({**path(port), "who": "watch@b"}, {**path(port), "who": "watch@"})

    agent.until(lambda: len(agent.outcomes(0)) > 0 < len(agent.outcomes(1)))

    assert set(agent.outcomes(0)) == {"answered wrongly"}
    assert set(agent.outcomes(1)) == {"answered"}


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Let each client that connects be served, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stopped = threading.Event()

        def work() -> None:
            while not stopped.is_set():
                if not select.select([listener], [], [], 0.05)[0]:
                    continue
                with contextlib.suppress(OSError), listener.accept()[0] as client:
                    client.settimeout(1)
                    serve(client)

        thread = threading.Thread(target=work)
        thread.start()
        yield listener.getsockname()[1]
        stopped.set()
        thread.join()


def test_what_is_silent_has_timed_out_in_the_order_of_asking(agent: Agent) -> None:
    # Nobody accepts: the kernel answers the first packet, and nothing else comes.
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        agent.watch(path(listener.getsockname()[1]))
        agent.until(lambda: len(agent.outcomes(0)) >= 3)
        assert set(agent.outcomes(0)) == {"timed out"}
    agent.until(lambda: "refused" in agent.outcomes(0))

    firsts = [run[2] for run in agent.seen]
    assert firsts == sorted(firsts)


def test_a_kept_connection_that_ends_is_broken_and_made_anew(agent: Agent) -> None:
    served = []

    def serve(client: socket.socket) -> None:
        served.append(client)
        for _ in range(3):
            client.recv(2)
            client.sendall(b"watch@a\n")

    with listening(serve) as port:
        agent.watch(path(port, "kept"))
        agent.until(lambda: len(agent.outcomes(0)) > 8)

    assert len(served) >= 2
    assert {(number, why) for number, _, why in agent.broken} == {(0, "reset")}
    assert agent.outcomes(0).count("answered") >= 6


def test_a_connection_on_which_nothing_comes_back_is_not_broken_at_once(
    agent: Agent,
) -> None:
    done, over = threading.Event(), threading.Event()

    def serve(client: socket.socket) -> None:
        client.recv(2)
        client.sendall(b"watch@a\n")
        done.wait(5)
        while not over.is_set():
            client.sendall(b"watch@a\n" * client.recv(100).count(b"\n"))

    with listening(serve) as port:
        agent.watch(path(port, "kept"))
        agent.until(lambda: "timed out" in agent.outcomes(0))
        done.set()
        agent.until(lambda: agent.outcomes(0)[-1:] == ["answered"])
        over.set()

    runs = [run[1] for run in agent.seen]
    assert [
        r for r, before in zip(runs, [None, *runs], strict=False) if r != before
    ] == [
        "answered",
        "timed out",
        "answered",
    ]
    assert agent.broken == []


def dns_answer(question: bytes, flags: int, answers: int) -> bytes:
    return question[:2] + struct.pack("!5H", flags, 1, answers, 0, 0) + question[12:]


@pytest.mark.parametrize(
    ("flags", "answers", "outcome"),
    [
        (0x8180, 1, "answered"),
        (0x8183, 0, "answered wrongly"),
        (0x8180, 0, "answered wrongly"),
        (0x0100, 1, "answered wrongly"),
    ],
)
def test_a_name_server_has_to_answer_with_a_record(
    agent: Agent, flags: int, answers: int, outcome: str
) -> None:
    asked: list[bytes] = []
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        question = {"name": "kubernetes.default.svc.cluster.local", "type": "A"}
        agent.watch({**path(server.getsockname()[1], "dns"), **question})
        for _ in range(2):
            data, client = server.recvfrom(512)
            asked.append(data)
            server.sendto(dns_answer(data, flags, answers), client)
        agent.until(lambda: len(agent.outcomes(0)) > 1)

    assert agent.outcomes(0)[:2] == [outcome] * 2
    assert b"\x0akubernetes\x07default\x03svc" in asked[0]
    assert asked[0][:2] != asked[1][:2]


def test_nothing_is_lost_with_the_stream(tmp_path: Path, port: int) -> None:
    with serving(tmp_path, port):
        with controlling(tmp_path) as first:
            first.watch(path(port))
            first.until(lambda: len(first.outcomes(0)) > 1)
        time.sleep(1.0)
        with controlling(tmp_path) as second:
            second.number, second.incarnation = first.number, first.incarnation
            second.fetch()

    (run,) = second.seen
    assert run[1] == "answered"
    assert run[4] >= 4
    assert run[2] - first.seen[-1][3] < 0.35


def test_what_did_not_arrive_is_given_again(agent: Agent, port: int) -> None:
    agent.watch(path(port))
    agent.until(lambda: bool(agent.outcomes(0)))
    known = {"after": 0, "incarnation": agent.incarnation}

    again = agent.ask(op="fetch", **known)["batches"]

    assert again[0]["number"] <= agent.number
    known["after"] = again[-1]["number"]
    later = agent.ask(op="fetch", **known)["batches"]
    assert all(batch["number"] > known["after"] for batch in later)


def test_a_new_controller_takes_the_place_of_the_one_before(
    agent: Agent, tmp_path: Path
) -> None:
    with controlling(tmp_path) as second:
        assert agent.stdout.readline() == ""
        assert second.ask(op="watch", paths={})["outcome"] == "answered"


def test_after_a_restart_it_counts_anew(tmp_path: Path, port: int) -> None:
    lives: list[str] = []
    for _ in range(2):
        with serving(tmp_path, port), controlling(tmp_path) as found:
            found.watch(path(port))
            found.number = 1000 if lives else 0
            known = {"after": found.number, "incarnation": (lives or ["?"])[-1]}
            found.until(lambda: bool(found.ask(op="fetch", **known)["batches"]))  # noqa: B023
            lives.append(found.incarnation)

    assert len(set(lives)) == 2


def test_a_path_that_is_not_wanted_any_more_is_not_asked(
    agent: Agent, port: int
) -> None:
    agent.watch(path(port), path(CLOSED))
    agent.until(lambda: len(agent.outcomes(1)) > 1)
    agent.watch(path(port))
    agent.fetch()
    before = len(agent.outcomes(1))
    until = len(agent.outcomes(0)) + 4
    agent.until(lambda: len(agent.outcomes(0)) >= until)

    assert len(agent.outcomes(1)) == before


def test_what_it_does_not_understand_is_not_probed(agent: Agent) -> None:
    assert agent.ask(op="dance")["outcome"] == "not probed"
    assert agent.ask(op="fetch")["outcome"] == "not probed"


def test_alone_it_asks_for_as_long_as_it_is_listened_to(
    agent: Agent, port: int
) -> None:
    with subprocess.Popen(
        [*OUR_WATCHER, "alone", "--name", "outside"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        assert json.loads(process.stdout.readline())["name"] == "outside"
        outside = Agent(process.stdin, process.stdout)
        outside.watch(path(port))
        outside.until(lambda: outside.outcomes(0)[:2] == ["answered"] * 2)
        process.stdin.close()
        assert process.wait(5) == 0
    assert agent.ask(op="watch", paths={})["outcome"] == "answered"


def test_what_nobody_fetches_is_kept_only_so_far() -> None:
    log = Log()
    for number in range(2 * RUNS):
        log.note(1, ("answered", "refused")[number % 2], number / 5)

    (batch,) = log.fetch(0)

    assert len(batch["runs"]) == RUNS
    assert batch["runs"][-1][2] == (2 * RUNS - 1) / 5
    assert log.fetch(0) == [batch]
    assert log.fetch(batch["number"]) == []


def test_a_pause_ends_a_run() -> None:
    log = Log()
    for sent in (0.0, 0.2, 1.5, 1.7):
        log.note(1, "answered", sent)

    (batch,) = log.fetch(0)

    assert batch["runs"] == [[1, "answered", 0.0, 0.2, 2], [1, "answered", 1.5, 1.7, 2]]
