"""As much of a Kubernetes client as making a cluster takes."""

from __future__ import annotations

import http.client
import json
import ssl
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .errors import LocalClusterError

if TYPE_CHECKING:
    from pathlib import Path

CONFLICT, FIRST_ERROR, FIRST_SERVER_ERROR = 409, 400, 500
# The manager of the fields that we apply.
MANAGER = "fieldManager=k8snet&force=true"


class Api:
    """Speaks JSON with an API server, as the cluster's administrator.

    No proxy setting applies: the address is this machine's own.
    """

    def __init__(self, server: str, pki: Path) -> None:
        parts = urlsplit(server)
        assert parts.hostname
        self._host, self._port = parts.hostname, parts.port
        self._tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._tls.load_cert_chain(pki / "admin.crt", pki / "admin.key")

    def ready(self) -> bool:
        """Say whether the API server calls itself ready; OSError when unreachable."""
        status, _ = self._request("GET", "/readyz", None, "application/json")
        return status < FIRST_ERROR

    def get(self, path: str) -> dict[str, Any]:
        """Read an object or a list."""
        return self._call("GET", path, None, "application/json")

    def items(self, path: str) -> list[dict[str, Any]]:
        """Read the items of a list."""
        return list(self.get(path)["items"])

    def create(self, path: str, body: dict[str, Any]) -> None:
        """Create an object; one that is already there is left as it is."""
        self._call("POST", path, body, "application/json", allow=CONFLICT)

    def merge(self, path: str, body: dict[str, Any]) -> None:
        """Change some fields of an object."""
        self._call("PATCH", path, body, "application/merge-patch+json")

    def apply(self, path: str, item: dict[str, Any]) -> None:
        """Create an object, or give it these fields."""
        # JSON is YAML.
        self._call("PATCH", f"{path}?{MANAGER}", item, "application/apply-patch+yaml")

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        kind: str,
        allow: int = 0,
    ) -> dict[str, Any]:
        status, answer = self._request(method, path, body, kind)
        if status >= FIRST_SERVER_ERROR:
            # It cannot right now, which is as good as unreachable.
            raise OSError(f"{method} {path} was answered {status}: {answer}")
        if status >= FIRST_ERROR and status != allow:
            raise LocalClusterError(f"{method} {path} was answered {status}: {answer}")
        return dict(json.loads(answer))

    def _request(
        self, method: str, path: str, body: dict[str, Any] | None, kind: str
    ) -> tuple[int, str]:
        connection = http.client.HTTPSConnection(
            self._host, self._port, context=self._tls, timeout=10
        )
        with closing(connection):
            try:
                connection.request(
                    method,
                    path,
                    None if body is None else json.dumps(body),
                    {"Content-Type": kind},
                )
                response = connection.getresponse()
                return response.status, response.read().decode()
            except http.client.HTTPException as error:
                # A server that goes away in the middle is unreachable, too.
                raise OSError(f"{method} {path}: {error!r}") from error
