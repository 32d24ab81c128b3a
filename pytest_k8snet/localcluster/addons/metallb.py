"""MetalLB in layer 2: Services of type LoadBalancer get addresses beside the Nodes'."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from pytest_k8snet.localcluster import objects
from pytest_k8snet.localcluster.component import Component, Source
from pytest_k8snet.localcluster.images import USERS, Files, Image

from .addon import Addon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.localcluster.build import Binaries
    from pytest_k8snet.localcluster.objects import Object

    from .addon import Setting

MODULE = "go.universe.tf/metallb"
MANIFEST = "metallb-native.yaml"
VERSION = "v0.15.2"
NAMESPACE = "metallb-system"
# Of the Nodes' networks, the places that no Node and nobody else has.
FIRST, LAST = 230, 239
_IPV6 = 6

COMPONENT = Component(
    "metallb",
    (f"{MODULE}/controller", f"{MODULE}/speaker"),
    sources=(Source(MODULE, f"config/manifests/{MANIFEST}"),),
)


def images(binaries: Binaries) -> dict[str, Image]:
    """Make the images of the manifest: one static program each."""
    return {
        f"quay.io/metallb/{program}:{VERSION}": Image(
            Files({program: binaries["metallb"] / program, **USERS}),
            {"Entrypoint": [f"/{program}"]},
        )
        for program in ("controller", "speaker")
    }


def steps(setting: Setting) -> Iterator[list[Object]]:
    """Yield upstream's own objects, then its addresses."""
    items = objects.load((setting.binaries["metallb"] / MANIFEST).read_text())
    # A speaker cannot start without the secret that the controller makes.
    yield [item for item in items if item["kind"] != "DaemonSet"]
    yield [item for item in items if item["kind"] == "DaemonSet"]
    pool = {"addresses": [addresses(node) for node in setting.node]}
    yield [
        _resource("IPAddressPool", pool),
        _resource("L2Advertisement", {"ipAddressPools": ["nodes"]}),
    ]


def addresses(node: str) -> str:
    """Return the range in the network of a Node's address, as MetalLB writes it."""
    if ipaddress.ip_address(node).version == _IPV6:
        network = ipaddress.ip_network(f"{node}/64", strict=False)
        # The same digits as in IPv4, for the reader.
        return f"{network[int(str(FIRST), 16)]}-{network[int(str(LAST), 16)]}"
    network = ipaddress.ip_network(f"{node}/24", strict=False)
    return f"{network[FIRST]}-{network[LAST]}"


def _resource(kind: str, spec: dict[str, list[str]]) -> Object:
    return {
        "apiVersion": "metallb.io/v1beta1",
        "kind": kind,
        "metadata": {"name": "nodes", "namespace": NAMESPACE},
        "spec": spec,
    }


METALLB = Addon(name="metallb", components=(COMPONENT,), images=images, steps=steps)
