"""The API seam, against a small server that speaks as an API server does."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from pytest_k8snet.cluster.api import Api, ExecResult, Subject
from pytest_k8snet.cluster.channel import exec_channel
from pytest_k8snet.cluster.errors import (
    ApiError,
    ClusterError,
    Conflict,
    Forbidden,
    NoStream,
    NotFound,
    StreamLost,
    UnknownContext,
    Unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PODS = "/api/v1/namespaces/x/pods"
SUCCESS = json.dumps({"status": "Success"}).encode()
Frames = list[tuple[int, bytes]]


def failure(code: int) -> bytes:
    cause = {"reason": "ExitCode", "message": str(code)}
    status = {"status": "Failure", "reason": "NonZeroExitCode"}
    message = f"command terminated with exit code {code}"
    return json.dumps(
        {**status, "message": message, "details": {"causes": [cause]}}
    ).encode()


@dataclass
class Seen:
    """One request as the server saw it."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    """What the server does with one request."""

    status: int = 200
    body: object = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    lines: list[object] = field(default_factory=list)
    frames: Frames | None = None
    talk: Callable[[socket.socket], object] | None = None


def status(code: int, reason: str, message: str) -> Answer:
    body = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return Answer(code, body)


class Cluster:
    """The fake API server: answers in the order in which they were prepared."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.answers: list[Answer] = []
        self.url = ""

    def next(self, seen: Seen) -> Answer:
        self.seen.append(seen)
        return self.answers.pop(0) if self.answers else Answer()


def frame(channel: int, data: bytes, opcode: int = 2) -> bytes:
    payload = bytes([channel]) + data if opcode == 2 else data
    size = len(payload)
    head = bytes([0x80 | opcode])
    if size < 126:
        return head + bytes([size]) + payload
    return head + b"\x7e" + size.to_bytes(2, "big") + payload


def read_frame(sock: socket.socket) -> bytes:
    """Read one masked frame of a client."""
    head = sock.recv(2, socket.MSG_WAITALL)
    size = head[1] & 127
    if size == 126:
        size = int.from_bytes(sock.recv(2, socket.MSG_WAITALL), "big")
    mask = sock.recv(4, socket.MSG_WAITALL)
    data = sock.recv(size, socket.MSG_WAITALL)
    return bytes(byte ^ mask[n % 4] for n, byte in enumerate(data))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: Cluster

    def handle_one(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        parts = urlsplit(self.path)
        seen = Seen(
            self.command,
            parts.path,
            parse_qs(parts.query),
            {key.lower(): value for key, value in self.headers.items()},
            body,
        )
        self.give(self.cluster.next(seen), seen)

    do_GET = do_POST = do_PATCH = do_DELETE = handle_one  # noqa: N815

    def give(self, answer: Answer, seen: Seen) -> None:
        if answer.drop:
            self.close_connection = True
        elif answer.frames is not None or answer.talk:
            self.give_frames(answer, seen)
        elif answer.lines:
            self.give_lines(answer.lines)
        else:
            plain = answer.body
            data = plain if isinstance(plain, bytes) else json.dumps(plain).encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def give_lines(self, lines: list[object]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            data = json.dumps(line).encode() + b"\n"
            half = len(data) // 2  # a chunk is no line
            for part in (data[:half], data[half:]):
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def give_frames(self, answer: Answer, seen: Seen) -> None:
        key = seen.headers["sec-websocket-key"]
        magic = (key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()
        accept = base64.b64encode(hashlib.sha1(magic).digest())  # noqa: S324
        offered = seen.headers["sec-websocket-protocol"].split(",")
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept.decode())
        self.send_header("Sec-WebSocket-Protocol", offered[0])
        self.end_headers()
        self.wfile.flush()
        for channel, data in answer.frames or []:
            self.connection.sendall(frame(channel, data))
        if answer.talk:
            answer.talk(self.connection)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    found = Cluster()
    handler = type("Bound", (Handler,), {"cluster": found})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        found.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield found
        server.shutdown()
        thread.join()


def kubeconfig(
    url: str, context: str = "here", *, current: bool = False
) -> dict[str, Any]:
    bound = {"cluster": context, "user": context}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": {"server": url}}],
        "users": [{"name": context, "user": {"token": f"token-of-{context}"}}],
        "contexts": [{"name": context, "context": bound}],
        "current-context": context if current else "",
    }


@contextlib.contextmanager
def connected(folder: Path, url: str, timeout: float = 5) -> Iterator[Api]:
    file = folder / "config"
    file.write_text(yaml.safe_dump(kubeconfig(url)))
    api = Api.connect("here", str(file), timeout=timeout)
    yield api
    api.close()


@pytest.fixture
def api(cluster: Cluster, tmp_path: Path) -> Iterator[Api]:
    with connected(tmp_path, cluster.url) as found:
        yield found


# --- the kubeconfig -----------------------------------------------------------------


def test_a_context_is_found_in_any_file_of_kubeconfig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        text = yaml.safe_dump(kubeconfig(f"https://{name}", name, current=True))
        (tmp_path / name).write_text(text)
    files = os.pathsep.join(str(tmp_path / name) for name in ("one", "two"))
    monkeypatch.setenv("KUBECONFIG", files)
    assert Api.connect("two").server == "https://two"


def test_an_unknown_context_names_the_known_ones(tmp_path: Path) -> None:
    file = tmp_path / "config"
    for current in (True, False):
        text = yaml.safe_dump(kubeconfig("https://a", "kind-ci", current=current))
        file.write_text(text)
        with pytest.raises(UnknownContext, match="contexts there are: kind-ci"):
            Api.connect("prod", str(file))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, r"config \(No such file or directory\); "),
        ("just words", r"config \(no kubeconfig\); "),
        ("contexts: []", "config; "),
    ],
)
def test_a_kubeconfig_without_any_context_is_told_from_none(
    text: str | None, why: str, tmp_path: Path
) -> None:
    file = tmp_path / "config"
    if text is not None:
        file.write_text(text)

    with pytest.raises(UnknownContext, match=f"{why}contexts there are: none"):
        Api.connect("prod", str(file))


def test_importing_the_seam_imports_no_kubernetes_client() -> None:
    code = "import sys, pytest_k8snet.cluster.api, pytest_k8snet.cluster.channel;"
    code += "assert not {'kubernetes', 'websocket', 'urllib3'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- requests -----------------------------------------------------------------------


def test_requests_carry_the_contexts_credentials(api: Api, cluster: Cluster) -> None:
    cluster.answers = [Answer(body={"gitVersion": "v1.36.1"})]
    assert api.version() == "v1.36.1"
    [seen] = cluster.seen
    assert (seen.method, seen.path) == ("GET", "/version")
    assert seen.headers["authorization"] == "Bearer token-of-here"
    assert api.requests == 1


def test_each_verb_is_its_method(api: Api, cluster: Cluster) -> None:
    api.create(PODS, {"kind": "Pod"})
    api.patch(f"{PODS}/a", {"metadata": {"labels": {"a": None}}})
    api.delete(f"{PODS}/a", gracePeriodSeconds=0)
    create, patch, delete = cluster.seen
    assert (create.method, create.body) == ("POST", {"kind": "Pod"})
    assert patch.method == "PATCH"
    assert patch.headers["content-type"] == "application/merge-patch+json"
    assert patch.body == {"metadata": {"labels": {"a": None}}}
    assert (delete.method, delete.query) == ("DELETE", {"gracePeriodSeconds": ["0"]})


def test_query_parameters_are_spelled_as_the_server_reads_them(
    api: Api, cluster: Cluster
) -> None:
    api.get(PODS, watch=False, labelSelector="a=b,c", fieldSelector=None)
    expected = {"watch": ["false"], "labelSelector": ["a=b,c"]}
    assert cluster.seen[0].query == expected


def test_lists_are_read_page_by_page(api: Api, cluster: Cluster) -> None:
    more = {"continue": "next"}
    cluster.answers = [
        Answer(body={"items": [{"n": 1}, {"n": 2}], "metadata": more}),
        Answer(body={"items": [{"n": 3}], "metadata": {}}),
    ]
    assert api.list(PODS, labelSelector="a") == [{"n": 1}, {"n": 2}, {"n": 3}]
    first, second = (seen.query for seen in cluster.seen)
    assert first == {"limit": ["500"], "labelSelector": ["a"]}
    assert second == {**first, "continue": ["next"]}
    assert api.requests == 2


def test_a_list_whose_snapshot_expired_is_read_once_more(
    api: Api, cluster: Cluster
) -> None:
    page = Answer(body={"items": [{}], "metadata": {"continue": "next"}})
    gone = status(410, "Expired", "too old")
    cluster.answers = [page, gone, Answer(body={"items": None})]
    assert api.list(PODS) == []


def test_logs_are_text(api: Api, cluster: Cluster) -> None:
    cluster.answers = [Answer(body=b"one\n\xfftwo\n")]
    assert api.text(f"{PODS}/a/log", container="main") == "one\n�two\n"


def test_access_is_asked_of_the_server(api: Api, cluster: Cluster) -> None:
    cluster.answers = [Answer(201, {"status": {"allowed": True}}), Answer(201)]
    assert api.can("create", "pods", namespace="x", subresource="exec")
    assert not api.can("delete", "nodes")
    attributes = cluster.seen[0].body["spec"]["resourceAttributes"]
    assert attributes["subresource"] == "exec"


def test_a_watch_yields_changes_as_they_come(api: Api, cluster: Cluster) -> None:
    events = [{"type": "ADDED", "object": {"n": n}} for n in range(3)]
    cluster.answers = [Answer(lines=[*events])]
    assert list(api.watch(PODS, timeout=1.2)) == [("ADDED", {"n": n}) for n in range(3)]
    assert cluster.seen[0].query == {"watch": ["true"], "timeoutSeconds": ["2"]}


def test_a_watch_that_expired_is_an_error(api: Api, cluster: Cluster) -> None:
    gone = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}
    cluster.answers = [Answer(lines=[gone])]
    with pytest.raises(ApiError, match="too old") as caught:
        list(api.watch(PODS, timeout=1))
    assert caught.value.status == 410


# --- errors -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", Conflict),
        (422, "Invalid", ApiError),
        (500, "InternalError", ApiError),
    ],
)
def test_an_error_says_what_where_and_why(
    api: Api, cluster: Cluster, code: int, reason: str, kind: type[ApiError]
) -> None:
    cluster.answers = [status(code, reason, "the\nserver says so")]
    with pytest.raises(ClusterError) as caught:
        api.get(f"{PODS}/a")
    expected = f"cannot get pods a in namespace x: the server says so ({code} {reason})"
    assert (type(caught.value), str(caught.value)) == (kind, expected)
    assert len(cluster.seen) == 1


def test_forbidden_names_what_to_grant(api: Api, cluster: Cluster) -> None:
    cluster.answers = [status(403, "Forbidden", "no")] * 2
    with pytest.raises(Forbidden) as caught:
        api.list("/apis/discovery.k8s.io/v1/endpointslices")
    error = caught.value
    expected = ("list", "endpointslices", "")
    assert (error.verb, error.resource, error.namespace) == expected
    assert "grant the verb 'list' on 'endpointslices'" in str(error)
    with pytest.raises(Forbidden, match="create pods/exec in namespace x"):
        api.exec("x", "a", "main", ["true"], timeout=5)


def test_credentials_that_are_not_accepted_name_the_context(
    api: Api, cluster: Cluster
) -> None:
    cluster.answers = [status(401, "Unauthorized", "Unauthorized")]
    with pytest.raises(ApiError, match="credentials of context 'here'"):
        api.version()


def test_what_is_deleted_already_is_fine(api: Api, cluster: Cluster) -> None:
    cluster.answers = [status(404, "NotFound", "gone")]
    api.delete(f"{PODS}/a")


def test_an_answer_that_is_not_json_blames_what_stands_between(
    api: Api, cluster: Cluster
) -> None:
    cluster.answers = [Answer(body=b"<html>Log in")]
    with pytest.raises(Unreachable, match="is a proxy in between"):
        api.get(PODS)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/version", Subject("/version")),
        ("/api/v1/nodes", Subject("nodes")),
        ("/api/v1/nodes/n1", Subject("nodes", "", "n1")),
        ("/api/v1/namespaces", Subject("namespaces")),
        ("/api/v1/namespaces/x", Subject("namespaces", "", "x")),
        (f"{PODS}/a/exec", Subject("pods/exec", "x", "a")),
        (
            "/apis/networking.k8s.io/v1/namespaces/x/networkpolicies",
            Subject("networkpolicies", "x"),
        ),
    ],
)
def test_a_path_is_read_as_what_it_speaks_of(path: str, expected: Subject) -> None:
    assert Subject.of(path) == expected


# --- retries ------------------------------------------------------------------------


def test_a_broken_connection_is_tried_twice_more(api: Api, cluster: Cluster) -> None:
    cluster.answers = [Answer(drop=True), Answer(drop=True), Answer(body={"ok": 1})]
    assert api.get(PODS) == {"ok": 1}
    assert api.requests == 3


def test_a_server_that_keeps_breaking_is_unreachable(
    api: Api, cluster: Cluster
) -> None:
    cluster.answers = [Answer(drop=True)] * 5
    with pytest.raises(Unreachable, match="cannot reach the API server at http://"):
        api.get(PODS)
    assert len(cluster.seen) == 3


def test_a_create_that_may_have_worked_is_not_repeated(
    api: Api, cluster: Cluster
) -> None:
    cluster.answers = [Answer(drop=True)]
    with pytest.raises(Unreachable):
        api.create(PODS, {})
    assert len(cluster.seen) == 1


def test_a_server_that_is_busy_is_asked_again_when_it_says(
    api: Api, cluster: Cluster
) -> None:
    busy = Answer(429, {}, {"Retry-After": "0.2"})
    away = Answer(503, {}, {"Retry-After": "0"})
    cluster.answers = [busy, away, Answer(201, {"ok": 1})]
    begin = time.monotonic()
    assert api.create(PODS, {}) == {"ok": 1}
    assert time.monotonic() - begin >= 0.2


def test_no_answer_ends_at_the_time_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with connected(tmp_path, url, timeout=0.5) as api:
            begin = time.monotonic()
            with pytest.raises(Unreachable, match="check that the cluster runs"):
                api.version()
            with pytest.raises(NoStream, match="reaches the kubelet of the Pod's Node"):
                api.exec("x", "a", "main", ["true"], timeout=0.5)
            assert time.monotonic() - begin < 3


def test_a_closed_port_is_unreachable_with_its_reason(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with connected(tmp_path, url) as api:
        with pytest.raises(Unreachable, match="Connection refused"):
            api.create(PODS, {})
        assert api.requests == 3  # nothing was sent, so a create is repeated too


def test_many_threads_may_ask_at_once(api: Api) -> None:
    threads = [threading.Thread(target=api.get, args=(PODS,)) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert api.requests == 40


# --- streams ------------------------------------------------------------------------


def run_command(api: Api, timeout: float = 3) -> ExecResult:
    return api.exec("x", "a", "main", ["echo", "it's"], timeout=timeout)


def test_exec_gives_code_and_both_outputs(api: Api, cluster: Cluster) -> None:
    out = [(1, b"o" * 60_000), (2, b"error"), (1, "é".encode()[:1])]
    frames = [(1, b""), (2, b""), *out, (1, "é".encode()[1:]), (3, failure(3))]
    cluster.answers = [Answer(frames=frames)]
    assert run_command(api) == ExecResult(3, b"o" * 60_000 + "é".encode(), b"error")
    [seen] = cluster.seen
    assert seen.path == f"{PODS}/a/exec"
    assert seen.query["command"] == ["echo", "it's"]
    assert seen.headers["authorization"] == "Bearer token-of-here"
    assert seen.headers["sec-websocket-protocol"] == (
        "v5.channel.k8s.io,v4.channel.k8s.io"
    )


def test_exec_that_succeeds(api: Api, cluster: Cluster) -> None:
    cluster.answers = [Answer(frames=[(1, b"x"), (255, b"\x01"), (3, SUCCESS)])]
    assert run_command(api) == ExecResult(0, b"x", b"")


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        ([(1, b"part")], "lost|closed"),
        ([(3, b'{"status": "Failure", "message": "no such file"}')], "no such file"),
        ([(3, b"garbage")], "garbage"),
    ],
)
def test_an_exec_without_an_exit_code_is_an_error(
    api: Api, cluster: Cluster, frames: Frames, why: str
) -> None:
    cluster.answers = [Answer(frames=frames)]
    with pytest.raises(StreamLost, match=why):
        run_command(api)


def test_an_exec_that_does_not_end_is_an_error_and_not_half_an_answer(
    api: Api, cluster: Cluster
) -> None:
    cluster.answers = [Answer(frames=[(1, b"part")], talk=lambda _: time.sleep(1.5))]
    with pytest.raises(StreamLost, match="did not end within 1 s"):
        run_command(api, timeout=1)


def test_port_forward_exchanges_a_line(api: Api, cluster: Cluster) -> None:
    port = (8080).to_bytes(2, "little")

    def talk(sock: socket.socket) -> None:
        sock.sendall(frame(0, port) + frame(1, port))
        asked = read_frame(sock)
        sock.sendall(frame(0, b"echo ") + frame(0, asked[1:]))

    cluster.answers = [Answer(talk=talk)]
    assert api.port_forward("x", "a", 8080, b"{}\n", timeout=3) == b"echo {}\n"
    assert cluster.seen[0].query == {"ports": ["8080"]}


def test_port_forward_to_a_closed_port_says_so(api: Api, cluster: Cluster) -> None:
    port = b"\x09\x00"
    frames = [(0, port), (1, port), (1, b"connection refused")]
    cluster.answers = [Answer(frames=frames, talk=lambda sock: sock.recv(99))]
    with pytest.raises(StreamLost, match="x/a port 9: connection refused"):
        api.port_forward("x", "a", 9, b"{}\n", timeout=3)


def test_a_control_channel_over_exec(api: Api, cluster: Cluster) -> None:
    def talk(sock: socket.socket) -> None:
        sock.sendall(frame(1, b'{"hello": 1, "name": "server@n1", '))
        sock.sendall(frame(1, b'"ports": {"main/tcp": 8080}}\n'))
        asked = json.loads(read_frame(sock)[1:])
        for request in asked["requests"]:
            reply = {"id": request["id"], "outcome": "answered"}
            sock.sendall(frame(1, json.dumps(reply).encode() + b"\n"))
        read_frame(sock)
        sock.sendall(frame(2, b"Traceback\nMemoryError\n") + frame(3, failure(137)))

    cluster.answers = [Answer(talk=talk), status(500, "InternalError", "no container")]
    with contextlib.closing(
        exec_channel(api, "x", "a", "main", ["agent"], timeout=1)
    ) as channel:
        assert (channel.name, channel.ports) == ("server@n1", {"main/tcp": 8080})
        replies = [f.result(3) for f in channel.submit([{"op": "fact"}] * 3)]
        assert [reply["outcome"] for reply in replies] == ["answered"] * 3
        [future] = channel.submit([{"op": "fact"}])
        expected = "control stream of x/a/main lost: ended with 137: MemoryError"
        assert future.result(3)["detail"] == expected
        cluster.answers += [status(500, "InternalError", "no container")] * 20
        [future] = channel.submit([{"op": "fact"}])
        assert "no container" in future.result(5)["detail"]
        assert channel.lost


def test_an_exec_channel_to_what_is_no_agent_is_an_error(
    api: Api, cluster: Cluster
) -> None:
    cluster.answers = [Answer(frames=[(2, b"python3: not found"), (3, failure(127))])]
    with pytest.raises(StreamLost, match="ended with 127: python3: not found"):
        exec_channel(api, "x", "a", "main", ["agent"], timeout=2)
