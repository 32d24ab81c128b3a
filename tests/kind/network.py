"""The pod network of the home-made node image, where kind's own has kindnet.

It does what kindnet does for Pods, and no more: a bridge on each Node with addresses
from the Node's own ranges, and a route to each other Node's. No policies, and no
masquerading: no packet leaves the engine's network anyway. Runs on each Node, with the
standard library alone.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONFIG = Path("/etc/cni/net.d/10-k8snet-test.conflist")
EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}


def nodes() -> list[dict[str, Any]]:
    """Ask the API server, by its Service."""
    host, port = (os.environ[f"KUBERNETES_SERVICE_{of}"] for of in ("HOST", "PORT"))
    place = f"[{host}]" if ":" in host else host
    asked = urllib.request.Request(
        f"https://{place}:{port}/api/v1/nodes",
        headers={"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"},
    )
    trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(asked, timeout=5, context=trusted) as answer:  # noqa: S310
        found: list[dict[str, Any]] = json.load(answer)["items"]
    return found


def family(address: str) -> int:
    return 6 if ":" in address else 4


def configuration(ranges: list[str]) -> str:
    """Give the runtime's configuration for the Pods of one Node."""
    ipam = {
        "type": "host-local",
        "dataDir": "/run/cni-ipam",
        "ranges": [[{"subnet": each}] for each in ranges],
        "routes": [{"dst": EVERYTHING[family(each)]} for each in ranges],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True}
    plugins = [
        {**bridge, "hairpinMode": True, "ipam": ipam},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": plugins})


def routes(node: dict[str, Any]) -> list[tuple[str, str]]:
    """Give the ranges of another Node, each with the address that leads there."""
    addresses = [
        address["address"]
        for address in node["status"].get("addresses", ())
        if address["type"] == "InternalIP"
    ]
    return [
        (each, address)
        for each in node["spec"].get("podCIDRs", ())
        for address in addresses
        if family(each) == family(address)
    ]


def apply(found: list[dict[str, Any]], own: str) -> None:
    """Bring a Node in line with what the API server says."""
    for node in found:
        ranges = node["spec"].get("podCIDRs")
        if node["metadata"]["name"] != own:
            for target, via in routes(node):
                subprocess.run(
                    ["ip", "route", "replace", target, "via", via], check=True
                )
        elif ranges and not CONFIG.exists():
            new = CONFIG.with_suffix(".new")
            new.write_text(configuration(ranges))
            new.rename(CONFIG)


def main() -> None:
    own = os.environ["NODE"]
    while True:
        try:
            apply(nodes(), own)
        except (OSError, subprocess.CalledProcessError) as error:
            # Until the Service is served, for example.
            print(error, flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
