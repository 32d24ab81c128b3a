"""The one seam to the Kubernetes client.

Plain REST paths and JSON dictionaries: no discovery requests, no typed models that
drop what they do not know. Of the client library this uses what is hard to get right
(kubeconfig, credentials, proxies, TLS), and of its websockets nothing: they know no
time-out while they connect.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

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
    from collections.abc import Iterator, Mapping, Sequence

    import urllib3
    import websocket

POOL = 64  # streams and requests of a run go on at the same time
PAGE = 500  # the limit that kubectl uses: no answer is large enough to hurt etcd
CONNECT_SECONDS = 5.0
RETRY_AFTER = (0.1, 0.4)  # a connection that broke once is tried twice more
BUSY_RETRIES = 5
EXEC_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
PORT_FORWARD_PROTOCOLS = ("v4.channel.k8s.io",)

VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}
IDEMPOTENT = frozenset({"GET", "DELETE", "PATCH"})  # ours are merge patches
TOO_MANY, UNAVAILABLE, GONE = 429, 503, 410

Json = dict[str, Any]
Items = list[Json]  # inside Api, list is a method


@dataclass(frozen=True)
class ExecResult:
    """What a command in a container left behind."""

    exit_code: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class Subject:
    """What a REST path speaks of, for messages."""

    resource: str
    namespace: str = ""
    name: str = ""

    @classmethod
    def of(cls, path: str) -> Subject:
        """Read a path such as ``/api/v1/namespaces/x/pods/y/exec``."""
        parts = [part for part in path.partition("?")[0].split("/") if part]
        parts = parts[2:] if parts[:1] == ["api"] else parts[3:]
        namespace = ""
        inside = len(parts) > 2  # noqa: PLR2004 - namespaces/NAME/RESOURCE
        if parts[:1] == ["namespaces"] and inside and parts[2] != "finalize":
            namespace, parts = parts[1], parts[2:]
        resource, name, *sub = [*parts, "", ""]
        return cls("/".join([resource, *filter(None, sub)]) or path, namespace, name)

    def __str__(self) -> str:
        """Name it as kubectl would."""
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.resource}{self.name and ' ' + self.name}{where}"


class Api:
    """A connection to one API server. Safe to use from many threads.

    Attributes:
        context: the kubeconfig context it was made from.
        server: the API server's URL.
        requests: how many requests and streams there were so far.

    """

    def __init__(self, client: Any, context: str, *, timeout: float) -> None:
        self.context = context
        self.server: str = client.configuration.host.rstrip("/")
        self.requests = 0
        self._client = client
        self._timeout = timeout
        self._lock = threading.Lock()

    @classmethod
    def connect(
        cls, context: str, kubeconfig: str | None = None, *, timeout: float = 30.0
    ) -> Api:
        """Read the kubeconfig; nothing is sent yet.

        Args:
            context: must be named; the current context is never used.
            kubeconfig: file, or list of files; None for $KUBECONFIG or the default.
            timeout: seconds that one call may take, retries included.

        """
        from kubernetes import client, config  # noqa: PLC0415 - half a second

        # Read here and not by the client, which looks only once, when imported.
        files = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
        configuration = client.Configuration()
        configuration.connection_pool_maxsize = POOL
        _check_context(context, files)
        try:
            load: Any = config.load_kube_config
            load(
                config_file=files,
                context=context,
                client_configuration=configuration,
                persist_config=False,
            )
        except config.ConfigException as error:
            raise ClusterError(f"context {context!r} of {files}: {error}") from error
        return cls(client.ApiClient(configuration), context, timeout=timeout)

    def close(self) -> None:
        """Close idle connections."""
        self._client.rest_client.close()

    def get(self, path: str, **query: object) -> Json:
        """Read one object."""
        return self._json("GET", path, query)

    def list(self, path: str, **query: object) -> Items:
        """Read all objects of a collection, page by page."""
        try:
            return self._pages(path, query)
        except ApiError as error:
            if error.status != GONE:
                raise
            # The snapshot behind the pages was compacted away: once more, afresh.
            return self._pages(path, query)

    def create(self, path: str, body: Mapping[str, Any]) -> Json:
        """Create an object in a collection."""
        return self._json("POST", path, {}, body)

    def patch(self, path: str, body: Mapping[str, Any]) -> Json:
        """Change an object by a merge patch."""
        return self._json("PATCH", path, {}, body)

    def delete(self, path: str, **query: object) -> None:
        """Delete an object, or a collection; what is gone already is fine."""
        with suppress(NotFound):
            self._json("DELETE", path, query)

    def text(self, path: str, *, within: float | None = None, **query: object) -> str:
        """Read what is not JSON, such as logs; WITHIN some seconds, if not as usual."""
        response = self._send("GET", path, query, within=within)
        return response.data.decode("utf-8", "replace")

    def watch(
        self, path: str, *, timeout: float, **query: object
    ) -> Iterator[tuple[str, Json]]:
        """Yield (type, object) of every change, for at most TIMEOUT seconds.

        Ends early when the API server ends the watch: list again, then watch on from
        its resourceVersion.
        """
        import urllib3  # noqa: PLC0415

        end = time.monotonic() + timeout
        asked = {**query, "watch": True, "timeoutSeconds": math.ceil(timeout)}
        # The API server ends the watch; that it hangs shows a little later.
        response = self._send("GET", path, asked, verb="watch", read=timeout + 2)
        try:
            for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise self._error("watch", path, GONE, json.dumps(event["object"]))
                yield event["type"], event["object"]
                if time.monotonic() >= end:
                    return
        except urllib3.exceptions.HTTPError:
            return  # cut off in the middle: the same as an early end
        finally:
            response.close()

    def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        *,
        timeout: float,
    ) -> ExecResult:
        """Run a command in a container, and wait for its end."""
        from pytest_k8snet.cluster.streams import run_to_end  # noqa: PLC0415

        end = time.monotonic() + timeout
        socket = self.open_exec(namespace, pod, container, command, timeout=timeout)
        try:
            code, out, err = run_to_end(socket, end - time.monotonic())
        except StreamLost as error:
            where = f"{namespace}/{pod} container {container}"
            raise StreamLost(f"exec of {command[0]!r} in {where}: {error}") from error
        return ExecResult(code, out, err)

    def port_forward(
        self, namespace: str, pod: str, port: int, payload: bytes, *, timeout: float
    ) -> bytes:
        """Send bytes to a Pod's port; give its answer up to a newline or its end."""
        from pytest_k8snet.cluster.streams import exchange  # noqa: PLC0415

        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward"
        end = time.monotonic() + timeout
        socket = self.open_socket(
            path, [("ports", str(port))], PORT_FORWARD_PROTOCOLS, timeout=timeout
        )
        try:
            return exchange(socket, payload, end - time.monotonic())
        except StreamLost as error:
            where = f"{namespace}/{pod} port {port}"
            raise StreamLost(f"port-forward to {where}: {error}") from error

    def version(self) -> str:
        """Give the API server's gitVersion."""
        return str(self.get("/version").get("gitVersion", ""))

    def can(
        self,
        verb: str,
        resource: str,
        group: str = "",
        namespace: str = "",
        subresource: str = "",
    ) -> bool:
        """Whether role-based access control lets us, as the API server says."""
        attributes = {"verb": verb, "resource": resource, "group": group}
        attributes |= {"namespace": namespace, "subresource": subresource}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self.create(path, body).get("status", {}).get("allowed"))

    def open_exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        *,
        timeout: float,
    ) -> websocket.WebSocket:
        """Start a command in a container, with its streams on a websocket."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/exec"
        query = [("container", container), *(("command", word) for word in command)]
        query += [(name, "true") for name in ("stdin", "stdout", "stderr")]
        return self.open_socket(path, query, EXEC_PROTOCOLS, timeout=timeout)

    def open_socket(
        self,
        path: str,
        query: Sequence[tuple[str, str]],
        protocols: Sequence[str],
        *,
        timeout: float,
    ) -> websocket.WebSocket:
        """Open a websocket to a streaming subresource."""
        from pytest_k8snet.cluster import streams  # noqa: PLC0415

        headers = self._headers("GET", path)
        url = f"{self.server}{path}?{urlencode(query)}"
        self._count()
        try:
            return streams.connect(
                self._client.configuration, url, headers, protocols, timeout
            )
        except streams.Refused as error:
            # A GET to the server, but what RBAC is asked for is the first verb.
            raise self._error("create", path, error.status, error.body) from None
        except StreamLost as error:
            raise NoStream(self.server, str(error)) from None

    def _pages(self, path: str, query: Mapping[str, object]) -> Items:
        items: Items = []
        more = ""
        while True:
            asked = {"limit": PAGE, **query, **({"continue": more} if more else {})}
            page = self._json("GET", path, asked, verb="list")
            items += page.get("items") or []
            more = page.get("metadata", {}).get("continue", "")
            if not more:
                return items

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, object],
        body: Mapping[str, Any] | None = None,
        verb: str = "",
    ) -> Json:
        response = self._send(method, path, query, body, verb)
        try:
            answer = json.loads(response.data)
        except ValueError:
            answer = None
        if isinstance(answer, dict):
            return answer
        shown = response.data[:60]
        raise Unreachable(
            self.server,
            f"{path} answered {shown!r}, not JSON",
            "is a proxy in between?",
        )

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, object],
        body: Mapping[str, Any] | None = None,
        verb: str = "",
        read: float | None = None,
        within: float | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request, again where that is safe; give a good response or raise.

        Args:
            method: HTTP method.
            path: absolute REST path.
            query: its parameters; those that are None are left out.
            body: sent as JSON.
            verb: the RBAC verb, where the method does not say it.
            read: for a stream: seconds between two pieces; its body is not read here.
            within: seconds that it may take, retries included, if not as usual.

        """
        end = time.monotonic() + (within or self._timeout)
        verb = verb or VERBS[method]
        broken = busy = 0
        while True:
            left = max(0.1, end - time.monotonic())
            try:
                response = self._attempt(method, path, query, body, (left, read))
            except _Broken as error:
                again = method in IDEMPOTENT or not error.sent
                pause = RETRY_AFTER[broken] if broken < len(RETRY_AFTER) else left
                if not again or pause >= left:
                    why, advice = error.why, error.advice
                    raise Unreachable(self.server, why, advice) from error.__cause__
                broken += 1
            else:
                if response.status < 400:  # noqa: PLR2004
                    return response
                pause = _retry_after(response)
                if not pause or busy >= BUSY_RETRIES or pause >= left:
                    said = response.data.decode("utf-8", "replace")
                    raise self._error(verb, path, response.status, said)
                response.drain_conn()
                busy += 1
            time.sleep(pause)

    def _attempt(
        self,
        method: str,
        path: str,
        query: Mapping[str, object],
        body: Mapping[str, Any] | None,
        seconds: tuple[float, float | None],
    ) -> urllib3.BaseHTTPResponse:
        import urllib3  # noqa: PLC0415

        left, read = seconds
        headers = self._headers(method, path)
        asked = urlencode({k: _word(v) for k, v in query.items() if v is not None})
        self._count()
        try:
            response: urllib3.BaseHTTPResponse
            response = self._client.rest_client.pool_manager.request(
                method,
                f"{self.server}{path}{asked and '?' + asked}",
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=urllib3.Timeout(
                    connect=min(CONNECT_SECONDS, left), read=read or left
                ),
                retries=False,
                redirect=False,
                preload_content=read is None,
            )
        except urllib3.exceptions.HTTPError as error:
            raise _Broken(error) from error
        return response

    def _headers(self, method: str, path: str) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "pytest-k8snet"}
        if method == "POST":
            headers["Content-Type"] = "application/json"
        elif method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        # May run a credential plugin: once, not once per thread.
        with self._lock:
            self._client.update_params_for_auth(
                headers, [], ["BearerToken"], path, method, None
            )
        return headers

    def _count(self) -> None:
        with self._lock:
            self.requests += 1

    def _error(self, verb: str, path: str, status: int, body: str) -> ApiError:
        """Make the error that a Status object, or whatever came instead, stands for."""
        try:
            said = json.loads(body)
            message, reason = str(said.get("message", "")), str(said.get("reason", ""))
            status = int(said.get("code") or status)
        except (ValueError, AttributeError, TypeError):
            message, reason = body[:200], ""
        subject = Subject.of(path)
        what = f"cannot {verb} {subject}"
        if status == 403:  # noqa: PLR2004
            resource, namespace = subject.resource, subject.namespace
            return Forbidden(verb, resource, namespace, reason, message)
        if status == 401:  # noqa: PLR2004
            what = (
                f"the API server does not accept the credentials of context "
                f"{self.context!r} (renew them, then try again)"
            )
        kinds = {404: NotFound, 409: Conflict}
        return kinds.get(status, ApiError)(what, status, reason, message)


class _Broken(Exception):  # noqa: N818 - never leaves this module
    """A request without a response."""

    def __init__(self, error: Exception) -> None:
        from urllib3 import exceptions  # noqa: PLC0415

        super().__init__(str(error))
        never = (exceptions.NewConnectionError, exceptions.ConnectTimeoutError)
        # Once any of it was sent, the server may have acted on it.
        self.sent = not isinstance(error, (*never, exceptions.SSLError))
        # urllib3 begins with its connection object, which helps nobody.
        text = str(error)
        self.why = text.partition(": ")[2] if text.startswith("HTTP") else text
        self.advice = ""
        if isinstance(error, exceptions.SSLError):
            self.advice = "check the certificate-authority of the context"


def _check_context(context: str, files: str) -> None:
    """Name the contexts there are when this is none of them.

    Not by the client, which refuses a file without a current context: we use none.
    """
    import yaml  # noqa: PLC0415

    known: list[str] = []
    where = []
    for file in files.split(os.pathsep):
        try:
            loaded = yaml.safe_load(Path(file).expanduser().read_text(encoding="utf-8"))
            known += [str(entry["name"]) for entry in loaded.get("contexts") or []]
            where.append(file)
        except OSError as error:
            where.append(f"{file} ({error.strerror})")
        except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError):
            where.append(f"{file} (no kubeconfig)")
    if context not in known:
        raise UnknownContext(context, os.pathsep.join(where), known)


def _word(value: object) -> str:
    """Spell a query parameter as the API server reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _retry_after(response: urllib3.BaseHTTPResponse) -> float:
    """Give the seconds after which an overloaded server wants to be asked again."""
    if response.status not in (TOO_MANY, UNAVAILABLE):
        return 0.0
    with suppress(ValueError):
        return max(0.05, float(response.headers.get("Retry-After", "")))
    return 0.0


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Yield the lines of a stream as they come."""
    rest = b""
    for piece in response.stream(amt=None, decode_content=True):
        *whole, rest = (rest + piece).split(b"\n")
        yield from filter(None, whole)
