"""Agents that run here as they do in Pods, and others whom they talk to."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_k8snet.agent.operations import run
from pytest_k8snet.model import Op, Outcome
from pytest_k8snet.stage import OUTSIDE_AGENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


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
def _ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """End a process afterwards, and at last: who waits for what never comes fails."""
    end = threading.Timer(60, process.kill)
    end.start()
    try:
        yield
    finally:
        end.cancel()
        process.kill()


@contextlib.contextmanager
def serving(state: Path, name: str = "server@n1", *more: str) -> Iterator[Server]:
    options = [word for port in PORTS for word in ("--port", port)]
    options += ["--name", name, "--state", str(state), *more]
    process = subprocess.Popen(
        [*OUTSIDE_AGENT, "serve", *options], stdout=subprocess.PIPE, text=True
    )
    with process, _ended(process):
        assert process.stdout
        assert process.stdout.readline() == f"k8snet agent serving {name}\n"
        written = json.loads((state / "main.json").read_text())
        yield Server(process, state, name, written["ports"])


def ask(op: str, /, *, state: str = "", **fields: Any) -> dict[str, Any]:
    request = {"id": 7, "op": op, "timeout": 3, **fields}
    reply: dict[str, Any] = run(request, state).reply
    assert reply["id"] == 7
    assert reply["outcome"] in set(Outcome)
    assert all(isinstance(value, str) for value in reply["values"])
    json.dumps(reply)
    return reply


@contextlib.contextmanager
def listening(
    answer: Callable[[socket.socket], None], clients: int = 1
) -> Iterator[int]:
    """Listen for TCP clients, and answer the first of them, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                for _ in range(clients):
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


@contextlib.contextmanager
def controlling(*options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*OUTSIDE_AGENT, "control", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process, _ended(process):
        yield process


def tell(process: subprocess.Popen[str], message: object) -> None:
    assert process.stdin
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str], *, late: bool = False) -> dict[str, Any]:
    """Read what it says: the next word of having been late, or anything else."""
    assert process.stdout
    while True:
        line = process.stdout.readline()
        assert line, "it said nothing of the kind, and was ended"
        heard: dict[str, Any] = json.loads(line)
        if ("late" in heard) is late:
            return heard


def by_hand(*words: str) -> tuple[int, str]:
    argv = [*OUTSIDE_AGENT, *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    return done.returncode, done.stdout.strip() or done.stderr.strip()
