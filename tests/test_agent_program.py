"""What the agent is made of, and how people call it."""

from __future__ import annotations

import ast
import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from agents import AGENT_OPS, Server, by_hand, serving

from pytest_k8snet.agent import operations, outcomes
from pytest_k8snet.cluster.apply import agent_sources
from pytest_k8snet.manifests import COMMAND, MODULE
from pytest_k8snet.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("s"), "server@n1", "--loopback", "0") as found:
        yield found


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
    needed = {"serving", "addresses", "listeners", "processes", "sockets", "transfers"}
    assert own == needed
    dear = {"argparse", "hashlib", "http", "pathlib", "ssl", "subprocess", "typing"}
    assert not loaded & dear


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
