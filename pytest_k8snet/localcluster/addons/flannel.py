"""flannel: an overlay of VXLAN, or plain routes, by the DaemonSet that people run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_k8snet.localcluster import objects, userland
from pytest_k8snet.localcluster.component import Component, Edit, Source
from pytest_k8snet.localcluster.images import USERS, Files, Image

from .addon import Addon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.localcluster.build import Binaries
    from pytest_k8snet.localcluster.objects import Object

    from .addon import Setting

MODULE = "github.com/flannel-io/flannel"
MANIFEST = "kube-flannel.yml"
IMAGE = "ghcr.io/flannel-io/flannel:v0.28.4"
# Its own repository is not in the module proxy; the one it came from still has it.
PLUGIN_IMAGE = "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel1"
PLUGIN = "github.com/containernetworking/plugins/plugins/meta/flannel"


def _without(backend: str) -> Edit:
    line = f'\t_ "{MODULE}/pkg/backend/{backend}"\n'
    return Edit(MODULE, "main.go", line, "")


COMPONENTS = (
    Component(
        "flannel",
        (MODULE,),
        # One wants a module that the proxy does not serve, the other a C compiler.
        edits=(_without("tencentvpc"), _without("udp")),
        sources=(Source(MODULE, f"Documentation/{MANIFEST}"),),
    ),
    Component("flannel-cni", (PLUGIN,)),
)


def images(binaries: Binaries) -> dict[str, Image]:
    """Make the images of the manifest."""
    tools = userland.joined(
        userland.programs(("ip", "cp", "cat", "sh")), userland.iptables()
    )
    daemon = {"opt/bin/flanneld": binaries["flannel"] / "flannel"}
    copy = userland.programs(("cp",))
    plugin = {"flannel": binaries["flannel-cni"] / "flannel"}
    return {
        IMAGE: Image(
            Files({**tools.files, **daemon, **USERS}, tools.links, ("tmp", "run")),
            {"Entrypoint": ["/opt/bin/flanneld"], "Env": userland.PATH},
        ),
        PLUGIN_IMAGE: Image(
            Files({**copy.files, **plugin}, copy.links), {"Env": userland.PATH}
        ),
    }


def steps(setting: Setting) -> Iterator[list[Object]]:
    """Yield upstream's own objects, with the cluster's networks in their settings."""
    manifest = setting.binaries["flannel"] / MANIFEST
    items = objects.load(manifest.read_text())
    for item in items:
        if item["kind"] == "ConfigMap":
            item["data"]["net-conf.json"] = json.dumps(network(setting), indent=1)
    yield items


def network(setting: Setting) -> dict[str, object]:
    """Return flannel's description of the pod network."""
    of = dict(zip(setting.spec.families, setting.spec.pod_subnets, strict=True))
    found: dict[str, object] = {
        "EnableIPv4": "ipv4" in of,
        "EnableIPv6": "ipv6" in of,
        "EnableNFTables": False,
        "Backend": {"Type": setting.spec.flannel_backend},
    }
    if "ipv4" in of:
        found["Network"] = of["ipv4"]
    if "ipv6" in of:
        found["IPv6Network"] = of["ipv6"]
    return found


FLANNEL = Addon(
    name="flannel",
    components=COMPONENTS,
    images=images,
    steps=steps,
)
