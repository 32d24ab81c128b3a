"""The bridge to which the CNI plugin connects a Node's Pods."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faults.fault import Inject
    from faults.site import Site

CONFIG = "/etc/cni/net.d/10-podnet.conflist"


def without_hairpin(node: str) -> Inject:
    """Give the ports of Pods that are made from now on no hairpin mode."""
    return _configured(node, hairpinMode=False)


def with_mtu(node: str, mtu: int) -> Inject:
    """Give Pods that are made from now on another MTU than those of other Nodes."""
    return _configured(node, mtu=mtu)


def _configured(node: str, **settings: object) -> Inject:
    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        before = site.run(node, "cat", CONFIG)
        config = json.loads(before)
        for plugin in config["plugins"]:
            if plugin["type"] == "bridge":
                plugin.update(settings)
        try:
            _write(site, node, json.dumps(config))
            yield
        finally:
            _write(site, node, before)

    return inject


def _write(site: Site, node: str, text: str) -> None:
    # containerd reads it again when it is renamed within its folder.
    made = "/etc/cni/net.d/.podnet"
    site.run(node, "sh", "-ec", f"cat >{made}; mv {made} {CONFIG}", text=text)
