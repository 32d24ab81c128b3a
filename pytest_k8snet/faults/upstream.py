"""Where the cluster DNS asks for names that are not the cluster's."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_k8snet.faults.site import argv_of, end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.faults.fault import Inject
    from pytest_k8snet.faults.site import Site

NAME = "upstream.example.test."
"""A name that the name server knows; it would know any."""

NOBODY = "192.0.2.1"
CONFIG = "/api/v1/namespaces/kube-system/configmaps/coredns"
SERVER = Path(__file__).with_name("name_server.py")
PORT = 5353


def unreachable(site: Site) -> Iterator[None]:
    """Have the cluster DNS ask an address of nobody's."""
    with forwarded(NOBODY)(site):
        yield


def answering(node: str) -> Inject:
    """Have the cluster DNS ask a name server on a Node, which knows every name."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        own = site.node(node)
        address = own.record.addresses[0]
        script = own.write(SERVER.name, SERVER.read_text())
        try:
            own.start(SERVER.stem, ["python3", "-I", script, address, str(PORT)])
            where = f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}"
            with forwarded(where)(site):
                yield
        finally:
            for pid in site.processes(node, "python3"):
                if script in argv_of(pid):
                    end(pid)
            (own.folder / SERVER.name).unlink()

    return inject


def forwarded(where: str) -> Inject:
    """Have the cluster DNS forward what it does not know."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        before = site.api.get(CONFIG)["data"]["Corefile"]
        changed = before.replace("    loop\n", f"    forward . {where}\n    loop\n")
        try:
            _configure(site, changed)
            yield
        finally:
            _configure(site, before)

    return inject


def _configure(site: Site, corefile: str) -> None:
    # Its own reload would come with the next look at the file, a minute later.
    site.api.patch(CONFIG, {"data": {"Corefile": corefile}})
    site.restart_dns()
