"""The plugins that connect a Node's Pods, as the Node's CNI configuration has them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_k8snet.faults.site import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_k8snet.faults.fault import Inject
    from pytest_k8snet.faults.site import Site

CONFIG = "/etc/cni/net.d/10-podnet.conflist"
Json = dict[str, Any]


def without_hairpin(node: str) -> Inject:
    """Give the ports of Pods that are made from now on no hairpin mode."""
    return configured(node, lambda config: set_bridge(config, hairpinMode=False))


def with_mtu(node: str, mtu: int) -> Inject:
    """Give Pods that are made from now on another MTU than those of other Nodes."""
    return configured(node, lambda config: set_bridge(config, mtu=mtu))


def without_host_ports(node: str) -> Inject:
    """Map no hostPort of Pods that are made from now on."""

    def change(config: Json) -> None:
        config["plugins"] = [p for p in config["plugins"] if p["type"] != "portmap"]

    return configured(node, change)


def configuration_missing(node: str) -> Inject:
    """Take a Node's CNI configuration away, and with it its readiness."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        before = site.run(node, "cat", CONFIG)
        try:
            site.run(node, "rm", CONFIG)
            wait_until(lambda: not site.ready(node), f"{node} is not ready", 30)
            yield
        finally:
            _write(site, node, before)
            wait_until(lambda: site.ready(node), f"{node} is ready", 30)

    return inject


def set_bridge(config: Json, **settings: object) -> None:
    """Set fields of the plugin that connects Pods to the bridge."""
    (bridge,) = (p for p in config["plugins"] if p["type"] == "bridge")
    bridge.update(settings)


def configured(node: str, change: Callable[[Json], None]) -> Inject:
    """Have a Node's CNI configuration changed."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        before = site.run(node, "cat", CONFIG)
        config = json.loads(before)
        change(config)
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
