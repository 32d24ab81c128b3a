"""Control channels, with the real agent as a child process."""

from __future__ import annotations

import os
import signal
import socket
import sys
import textwrap
import time
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_k8snet.cluster.channel import Channel, child_channel
from pytest_k8snet.cluster.errors import ClusterError, StreamLost
from pytest_k8snet.cluster.requests import Pending, messages
from pytest_k8snet.cluster.transports import ChildTransport
from pytest_k8snet.model import Outcome
from pytest_k8snet.stage import OUTSIDE_AGENT

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTROL = [*OUTSIDE_AGENT, "control", "--name", "outside"]
HOSTNAME = {"op": "fact", "field": "hostname", "timeout": 4}
HELLO = '{"hello": 1, "name": "x", "ports": {}}'


@pytest.fixture
def channel() -> Iterator[Channel]:
    opened = child_channel(CONTROL)
    yield opened
    opened.close()


def results(channel: Channel, *requests: dict[str, object]) -> list[dict[str, Any]]:
    return [dict(future.result(10)) for future in channel.submit(requests)]


def child_of(channel: Channel) -> int:
    transport = channel._transport
    assert isinstance(transport, ChildTransport)
    return transport._process.pid


def kill(channel: Channel) -> None:
    pid = child_of(channel)
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 5
    while channel._transport is not None and time.monotonic() < end:
        time.sleep(0.01)
    assert channel._transport is None


def silent_request(port: int, timeout: float) -> dict[str, object]:
    request = {"op": "connect", "address": "127.0.0.1", "protocol": "udp"}
    return {**request, "port": port, "timeout": timeout}


def script(text: str) -> list[str]:
    return [sys.executable, "-I", "-c", textwrap.dedent(text)]


def test_an_agent_introduces_itself(channel: Channel) -> None:
    assert (channel.name, dict(channel.ports), channel.lost) == ("outside", {}, False)


def test_every_request_gets_its_own_reply(channel: Channel) -> None:
    facts = ["hostname", "netns", "interfaces"] * 100
    requests = [{"op": "fact", "field": name, "timeout": 4} for name in facts]
    replies = results(channel, *requests)
    hostname, netns, interfaces = (reply["values"] for reply in replies[:3])
    assert hostname == [socket.gethostname()]
    assert netns[0].startswith("net:")
    assert "lo" in interfaces
    assert [reply["values"] for reply in replies] == [hostname, netns, interfaces] * 100


def test_thousands_of_requests_fit_into_one_submission(channel: Channel) -> None:
    replies = results(channel, *[HOSTNAME] * 4000)
    assert {reply["outcome"] for reply in replies} == {Outcome.ANSWERED}


def test_messages_are_cut_at_a_length() -> None:
    request = {"op": "fact", "field": "x" * 1000}
    lines = messages([request] * 200)
    assert len(lines) > 1
    assert max(map(len, lines)) < 64 * 1024
    assert sum(line.count(b'"op"') for line in lines) == 200
    assert messages([]) == []


def test_a_lost_stream_is_not_evidence_and_is_opened_once_more(
    channel: Channel,
) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        [future] = channel.submit([silent_request(silent.getsockname()[1], 60)])
        assert results(channel, HOSTNAME)[0]["outcome"] == Outcome.ANSWERED
        first = child_of(channel)
        kill(channel)
        reply = future.result(5)
    assert reply["outcome"] == Outcome.NOT_PROBED
    assert reply["detail"] == "control stream of outside lost: ended with -9"
    assert not channel.lost

    assert results(channel, HOSTNAME)[0]["outcome"] == Outcome.ANSWERED
    assert child_of(channel) != first

    kill(channel)
    [reply] = results(channel, HOSTNAME)
    assert reply["outcome"] == Outcome.NOT_PROBED
    assert "lost: ended with -9" in reply["detail"]
    assert channel.lost


def test_a_restart_that_was_asked_for_does_not_use_up_the_reconnect(
    channel: Channel,
) -> None:
    channel._pending[-1] = waiting = Pending(
        {"op": "restart"}, Future(), time.monotonic() + 60
    )
    channel._resolve({"id": -1, "outcome": "answered"})
    assert waiting.future.result(0)["outcome"] == Outcome.ANSWERED
    for _ in range(2):
        kill(channel)
        assert results(channel, HOSTNAME)[0]["outcome"] == Outcome.ANSWERED
    kill(channel)
    assert results(channel, HOSTNAME)[0]["outcome"] == Outcome.NOT_PROBED


def test_whatever_keeps_a_stream_from_opening_again_nobody_waits_for_ever() -> None:
    opened: list[ChildTransport] = []

    def once(_: float) -> ChildTransport:
        if opened:
            raise OSError("too many open files")
        opened.append(ChildTransport(CONTROL))
        return opened[0]

    channel = Channel("outside", once, timeout=0.5)
    kill(channel)
    [reply] = results(channel, HOSTNAME)
    channel.close()

    assert reply["outcome"] == Outcome.NOT_PROBED
    assert "too many open files" in reply["detail"]


def mute(but: str = "0", noise: str = "pass") -> list[str]:
    """Give an agent that answers no request, but in one case."""
    return script(f"""
        import json, sys, time
        print('{HELLO}', flush=True)
        for times, line in enumerate(sys.stdin):
            for request in json.loads(line)["requests"]:
                if {but}:
                    print(json.dumps({{"id": request["id"], "outcome": "answered"}}))
                    sys.stdout.flush()
                else:
                    {noise}
    """)


def test_an_agent_that_falls_silent_costs_two_deadlines_and_no_more() -> None:
    opened = Channel("mute", lambda _: ChildTransport(mute()), timeout=5, grace=0.1)
    begin = time.monotonic()
    [reply] = results(opened, {**HOSTNAME, "timeout": 0.2})
    assert 0.6 <= time.monotonic() - begin < 4
    assert reply["outcome"] == Outcome.NOT_PROBED
    assert reply["detail"].startswith("no reply from mute within ")
    assert not opened.lost
    opened.close()


def test_a_request_that_got_lost_is_repeated() -> None:
    agents = [mute("times", noise="time.sleep(0.4); print('{}', flush=True)")]
    opened = Channel(
        "deaf", lambda _: ChildTransport(agents.pop()), timeout=5, grace=0.6
    )
    [reply] = results(opened, {**HOSTNAME, "timeout": 0.1})
    assert reply["outcome"] == Outcome.ANSWERED
    opened.close()


def test_what_waits_on_a_stream_that_stalled_goes_over_a_new_one() -> None:
    agents = [mute(), mute("1")]
    opened = Channel(
        "stalled", lambda _: ChildTransport(agents.pop(0)), timeout=5, grace=0.1
    )
    # The second has long to go yet: what was to answer it is gone all the same.
    begin = time.monotonic()
    replies = results(opened, {**HOSTNAME, "timeout": 0.2}, {**HOSTNAME, "timeout": 9})
    assert [reply["outcome"] for reply in replies] == [Outcome.ANSWERED] * 2
    assert time.monotonic() - begin < 6
    assert agents == []
    assert not opened.lost
    opened.close()


def test_what_ends_something_is_not_repeated() -> None:
    agents = [mute(), mute("1")]
    opened = Channel(
        "mute", lambda _: ChildTransport(agents.pop(0)), timeout=5, grace=0.1
    )
    [reply] = results(opened, {"op": "restart", "timeout": 0.2})
    assert reply["outcome"] == Outcome.NOT_PROBED
    assert len(agents) == 1
    opened.close()


def test_garbage_among_the_replies_is_passed_over() -> None:
    argv = script(f"""
        import json, sys
        print('{HELLO}', flush=True)
        for line in sys.stdin:
            for request in json.loads(line)["requests"]:
                print("garbage\\n[]\\n7\\n{{}}", flush=True)
                print(json.dumps({{"id": request["id"], "outcome": "answered"}}))
                print('{{"id": 99}}', flush=True)
    """)
    opened = child_channel(argv)
    assert results(opened, HOSTNAME, HOSTNAME)[1]["outcome"] == "answered"
    opened.close()


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["/no/such/program"], "No such file"),
        (script("raise SystemExit('no python here')"), "ended with 1: no python here"),
        (script("print('hello there', flush=True)"), "not an agent"),
        (script("import time; time.sleep(60)"), "does not say hello"),
    ],
)
def test_what_is_no_agent_is_an_error_with_its_reason(
    argv: list[str], why: str
) -> None:
    with pytest.raises(StreamLost, match=why) as caught:
        child_channel(argv, timeout=1)
    assert isinstance(caught.value, ClusterError)


def test_close_ends_the_child_and_whatever_is_pending(channel: Channel) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        [future] = channel.submit([silent_request(silent.getsockname()[1], 60)])
        pid = child_of(channel)
        channel.close()
        channel.close()
        assert future.result(0)["outcome"] == Outcome.NOT_PROBED
    assert not Path(f"/proc/{pid}").exists()
    [late] = results(channel, HOSTNAME)
    assert late["outcome"] == Outcome.NOT_PROBED


def test_nothing_is_left_open_by_many_channels() -> None:
    child_channel(CONTROL).close()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        child_channel(CONTROL).close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
