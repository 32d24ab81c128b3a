"""What the agent sees of the network that it runs on, held against the kernel."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from agents import LOOPBACKS, ask

from pytest_k8snet.agent import node
from pytest_k8snet.agent.__main__ import main
from pytest_k8snet.agent.flows import side
from pytest_k8snet.agent.netlink import NESTED
from pytest_k8snet.agent.outcomes import (
    ANSWERED,
    ANSWERED_WRONGLY,
    NOT_PROBED,
    REFUSED,
    TIMED_OUT,
)
from pytest_k8snet.diagnose import Look
from pytest_k8snet.evidence.gathering import OF_API

if TYPE_CHECKING:
    from collections.abc import Iterator


def values(op: str, **fields: Any) -> list[str]:
    reply = ask(op, **fields)
    assert reply["outcome"] == ANSWERED, reply
    return [str(value) for value in reply["values"]]


def test_settings_are_those_of_the_kernel() -> None:
    found = dict(line.split("=") for line in values("look", what="settings"))

    assert tuple(found) == node.SETTINGS
    kernel = Path("/proc/sys/net/ipv4/ip_forward").read_text(encoding="ascii")
    assert found["net.ipv4.ip_forward"] == kernel.strip()


def test_what_a_node_says_is_written_for_whom_no_stream_reaches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "told"

    with serving(b"HTTP/1.0 200 OK\r\n\r\nok") as port:
        monkeypatch.setattr(node, "KUBELET", port)
        assert main(["look", "--out", str(out)]) == 0

    *settings, status, words = out.read_text(encoding="ascii").splitlines()
    named = [line.removeprefix("settings ").partition("=")[0] for line in settings]
    assert named == list(node.SETTINGS)
    assert (status, words) == ("kubelet 200", "kubelet ok")


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


@pytest.mark.parametrize("address", [*LOOPBACKS, "198.51.100.7"])
def test_the_next_hop_is_what_the_kernel_knows_of_it(address: str) -> None:
    (way,) = values("look", what="route", address=address)

    (found,) = values("look", what="neighbour", address=address)

    if " dev " not in f" {way}":
        assert found == way
        return
    via, dev, name, state, *mac = found.split()
    assert f"{dev} {name}" == way[way.index("dev ") :]
    assert via == (way.split()[1] if way.startswith("via ") else address)
    asked = ["ip", "neigh", "show", "nud", "all", "to", via, "dev", name]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    assert state in said if said else state == "NONE"
    assert " ".join(mac) in said


@contextmanager
def serving(answer: bytes | None) -> Iterator[int]:
    """Answer whoever asks at a port of this machine; None for never."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                one, _ = server.accept()
                with one:
                    while one.recv(4096) and answer is None:
                        pass
                    one.sendall(answer or b"")

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ["200", "ok"]),
        (
            b'HTTP/1.1 503 X\r\n\r\n{"lastUpdated": "09:00",\n "x": 1}',
            ["503", '{"lastUpdated": "09:00", "x": 1}'],
        ),
        (b"HTTP/1.1 500 X\r\n\r\n" + b"long " * 99, ["500", ("long " * 40).strip()]),
        (b"SSH-2.0-x\r\n", [ANSWERED_WRONGLY]),
        (b"", [ANSWERED_WRONGLY]),
        (None, [TIMED_OUT]),
    ],
    ids=["well", "stale", "at-length", "not-http", "hung-up", "silent"],
)
def test_a_daemon_is_asked_whether_it_is_well(
    answer: bytes | None, said: list[str]
) -> None:
    with serving(answer) as port:
        assert node.well("127.0.0.1", port, 1.0) == said


def test_a_kube_proxy_that_says_so_on_loopback_only_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(b"HTTP/1.1 200 OK\r\n\r\n{}") as port:
        monkeypatch.setattr(node, "KUBE_PROXY", port)

        assert values("look", what="health", address="127.0.0.2") == ["200", "{}"]


def test_a_daemon_that_does_not_run_is_not_well() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    assert node.well("127.0.0.1", port, 1.0) == [REFUSED]


def attribute(kind: int, value: bytes) -> bytes:
    padding = bytes(-len(value) % 4)
    return struct.pack("=HH", 4 + len(value), kind) + value + padding


@pytest.mark.parametrize(
    ("source", "to", "kinds"),
    [("10.1.1.1", "10.96.0.5", (1, 2)), ("fd00::1", "fd00:96::5", (3, 4))],
)
def test_a_tracked_flow_is_read_as_the_kernel_packs_it(
    source: str, to: str, kinds: tuple[int, int]
) -> None:
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    packed = (socket.inet_pton(family, one) for one in (source, to))
    addresses = b"".join(map(attribute, kinds, packed))
    number = attribute(1, bytes([socket.IPPROTO_UDP]))
    ports = attribute(2, struct.pack(">H", 40053)) + attribute(3, struct.pack(">H", 80))
    told = attribute(NESTED | 1, addresses) + attribute(NESTED | 2, number + ports)

    assert side(told) == (socket.IPPROTO_UDP, source, 40053, to, 80)
    without = attribute(NESTED | 1, addresses) + attribute(NESTED | 2, number)
    assert side(without) == (socket.IPPROTO_UDP, source, 0, to, 0)


def test_flows_are_told_to_whom_may_administer_the_network() -> None:
    reply = ask("look", what="flows", addresses=["192.0.2.99"])

    assert reply["outcome"] == (NOT_PROBED if os.geteuid() else ANSWERED), reply
    assert reply["values"] == []


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
    assert set(node.LOOKS) == set(Look) - set(OF_API) - {Look.TRACE}


@pytest.mark.parametrize("address", LOOPBACKS)
def test_a_trace_ends_with_whom_it_reaches(address: str) -> None:
    assert values("trace", address=address, timeout=2) == [address]
