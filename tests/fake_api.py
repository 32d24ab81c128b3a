"""A small API server without a cluster behind it: what is created stays as it is.

No Pod is ever scheduled. It is for what goes wrong; what goes right needs a cluster.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Json = dict[str, Any]

UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/2 nodes are available: 2 Insufficient cpu.",
}


def node(name: str, *, ready: bool = True) -> Json:
    reason = "KubeletReady" if ready else "KubeletNotReady"
    condition = {"type": "Ready", "status": str(ready), "reason": reason}
    rank = ord(name[-1])
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"podCIDRs": [f"10.244.{rank}.0/24"]},
        "status": {
            "addresses": [{"type": "InternalIP", "address": f"192.0.2.{rank}"}],
            "conditions": [condition],
        },
    }


def service(name: str, address: str, **labels: str) -> Json:
    return {
        "metadata": {"name": name, "namespace": "kube-system", "labels": labels},
        "spec": {"clusterIPs": [address]},
    }


def initial() -> dict[str, Json]:
    services = "/api/v1/namespaces/{}/services/{}"
    return {
        services.format("default", "kubernetes"): service("kubernetes", "10.96.0.1"),
        services.format("kube-system", "kube-dns"): service(
            "kube-dns", "10.96.0.10", **{"k8s-app": "kube-dns"}
        ),
        "/api/v1/namespaces/default": {"metadata": {"name": "default"}},
    }


@dataclass
class FakeApi:
    """The server's state, and what it was asked.

    Attributes:
        nodes: the Nodes of the cluster.
        forbidden: collections that may not be read.
        refused: (method, part of a path) of what may not be done.
        objects: what there is, by path.
        asked: (method, path) of every request, in order.
        waits: set once somebody waits for Pods.
        changed: held while the state changes.
        url: where the server listens.

    """

    nodes: list[Json] = field(default_factory=lambda: [node("a"), node("b")])
    forbidden: set[str] = field(default_factory=set)
    refused: set[tuple[str, str]] = field(default_factory=set)
    objects: dict[str, Json] = field(default_factory=initial)
    asked: list[tuple[str, str]] = field(default_factory=list)
    waits: threading.Event = field(default_factory=threading.Event)
    changed: threading.Condition = field(default_factory=threading.Condition)
    closed: bool = False
    url: str = ""

    def namespaces(self) -> list[str]:
        """Name the namespaces there are."""
        begin = "/api/v1/namespaces/"
        names = (p.removeprefix(begin) for p in list(self.objects) if begin in p)
        return sorted(name for name in names if "/" not in name)

    def did(self, method: str, part: str = "") -> list[str]:
        """Give the paths that were asked with a method."""
        return [path for how, path in self.asked if how == method and part in path]

    def kubeconfig(self, folder: Path, context: str = "fake") -> Path:
        """Write a kubeconfig with one context, which is not the current one."""
        path = folder / "kubeconfig"
        made = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
        }
        path.write_text(json.dumps(made), encoding="utf-8")
        return path

    def answer(self, method: str, path: str, body: Json) -> tuple[int, Json]:
        """Do what was asked; give (status, object)."""
        with self.changed:
            self.asked.append((method, path))
            if path in self.forbidden:
                said = f'User "you" cannot list resource at {path}'
                return failure(403, "Forbidden", said)
            target = f"{path}/{body.get('metadata', {}).get('name', '')}"
            if any(method == how and part in target for how, part in self.refused):
                return failure(403, "Forbidden", "admission denied the request")
            if method == "POST":
                return self.create(path, body)
            if method == "DELETE":
                self.delete(path)
                return 200, {"kind": "Status"}
            return self.read(path)

    def create(self, path: str, body: Json) -> tuple[int, Json]:
        path = f"{path}/{body['metadata']['name']}"
        if path in self.objects:
            return failure(409, "AlreadyExists", f"{path} already exists")
        space = path.partition("/namespaces/")[2].partition("/")
        made = {**body, "metadata": {**body["metadata"], "namespace": space[0]}}
        if path.endswith(f"/pods/{body['metadata']['name']}"):
            made["status"] = {"phase": "Pending", "conditions": [UNSCHEDULABLE]}
        self.objects[path] = made
        return 201, made

    def delete(self, path: str) -> None:
        for one in list(self.objects):
            if one == path or one.startswith(f"{path}/"):
                del self.objects[one]
        self.changed.notify_all()

    def close(self) -> None:
        """Let nobody watch any longer."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def gone(self, items: list[Json], seconds: float) -> list[Json]:
        """Wait until some of these are deleted, and give them."""

        def missing() -> list[Json]:
            there = [id(item) for item in self.objects.values()]
            return [item for item in items if id(item) not in there]

        with self.changed:
            self.changed.wait_for(lambda: self.closed or missing(), seconds)
            return missing()

    def read(self, path: str) -> tuple[int, Json]:
        if path == "/version":
            return 200, {"gitVersion": "v1.37.0"}
        if path == "/api/v1/nodes":
            return 200, {"items": self.nodes}
        if path in self.objects:
            return 200, self.objects[path]
        inside = path.split("/")[3 if path.startswith("/api/") else 4 :]
        if len(inside) % 2 == 0:
            return failure(404, "NotFound", f"{path} not found")
        return 200, {"items": self.under(path)}

    def under(self, path: str) -> list[Json]:
        """Give the objects of a collection; one without namespace has them all."""
        kind = path.rpartition("/")[2]
        return [
            item
            for where, item in self.objects.items()
            if where.rpartition("/")[0].endswith(f"/{kind}")
            and (where.rpartition("/")[0] == path or "/namespaces/" not in path)
        ]


def failure(code: int, reason: str, message: str) -> tuple[int, Json]:
    status = {"kind": "Status", "status": "Failure", "code": code}
    return code, {**status, "reason": reason, "message": message}


def selected(items: list[Json], selector: str) -> list[Json]:
    """Keep what carries all the labels of a selector such as ``a=b,c=d``."""
    wanted = dict(pair.split("=", 1) for pair in selector.split(",") if pair)
    return [
        item
        for item in items
        if wanted.items() <= item["metadata"].get("labels", {}).items()
    ]


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP for the state that its server carries."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        status, made = self.server.fake.answer("GET", url.path, {})
        if "items" in made:
            made = {"items": selected(made["items"], query.get("labelSelector", ""))}
        if query.get("watch") == "true":
            self.watch(made["items"], float(query["timeoutSeconds"]))
        else:
            self.reply(status, made)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length))
        path = urlsplit(self.path).path
        self.reply(*self.server.fake.answer("POST", path, body))

    def do_DELETE(self) -> None:
        path = urlsplit(self.path).path
        self.reply(*self.server.fake.answer("DELETE", path, {}))

    def reply(self, status: int, made: Json) -> None:
        data = json.dumps(made).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def watch(self, items: list[Json], seconds: float) -> None:
        """Show what there is, and the first of it that is deleted."""
        self.send_response(200)
        self.send_header("Connection", "close")
        # In pieces, each of which is read when it comes.
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.show("ADDED", items)
        self.server.fake.waits.set()
        self.show("DELETED", self.server.fake.gone(items, seconds))
        self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def show(self, event: str, items: list[Json]) -> None:
        for item in items:
            line = json.dumps({"type": event, "object": item}).encode() + b"\n"
            self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    """Listens on a loopback port."""

    daemon_threads = True

    def __init__(self, fake: FakeApi) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fake = fake
        fake.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are what these tests are about."""


@contextmanager
def served(fake: FakeApi | None = None) -> Iterator[FakeApi]:
    """Have one that answers."""
    fake = fake or FakeApi()
    with Server(fake) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield fake
        fake.close()
        server.shutdown()
        thread.join()
