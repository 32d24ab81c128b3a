"""The pod network: the bridge plugin on each Node, and a route to each other Node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .config import ClusterSpec
    from .node import Node

FOLDER = "/etc/cni/net.d"


def conflist(cidrs: Sequence[str]) -> dict[str, Any]:
    """Return the plugin chain for a Node with those Pod CIDRs.

    The bridge plugin switches duplicate address detection off, which would keep each
    Pod waiting for 2 s. Its own masquerading is left off: it would also hide the
    source address of Pods from other Nodes.
    """
    ipam = {
        "type": "host-local",
        "dataDir": "/run/cni-ipam",
        "ranges": [[{"subnet": cidr}] for cidr in cidrs],
        "routes": [{"dst": "::/0" if ":" in c else "0.0.0.0/0"} for c in cidrs],
    }
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "mtu": 1500,
        "ipam": ipam,
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "podnet", "plugins": [bridge, portmap]}


def masquerade(own: Sequence[str], pods: Sequence[str], nodes: Sequence[str]) -> str:
    """Return nft rules that hide a Pod's address from what is outside the cluster.

    Outside is what is neither a Pod nor a Node: those must see the Pod's own address.
    """
    rules = []
    for cidr in own:
        family = "ip6" if ":" in cidr else "ip"
        inside = [a for a in (*pods, *nodes) if (":" in a) == (":" in cidr)]
        rules.append(
            f"    {family} saddr {cidr} {family} daddr != {{ {', '.join(inside)} }} "
            'oifname "eth0" masquerade\n'
        )
    return (
        "table inet k8snet-podnet {\n  chain postrouting {\n"
        "    type nat hook postrouting priority srcnat; policy accept;\n"
        f"{''.join(rules)}  }}\n}}\n"
    )


def connect(
    node: Node,
    everyone: Sequence[Node],
    cidrs: Mapping[str, Sequence[str]],
    spec: ClusterSpec,
) -> None:
    """Give a Node its part of the pod network; its Pods can start from then on."""
    own = cidrs[node.name]
    addresses = [a for other in everyone for a in other.record.addresses]
    rules = node.write("podnet.nft", masquerade(own, spec.pod_subnets, addresses))
    routes = [
        f"ip route replace {cidr} via {address}"
        for other in everyone
        if other is not node
        for cidr in cidrs[other.name]
        for address in other.record.addresses
        if (":" in address) == (":" in cidr)
    ]
    chain = node.write("podnet.conflist", json.dumps(conflist(own), indent=1))
    # containerd overlooks a file that is renamed into the folder from elsewhere.
    script = [f"nft -f {rules}", *routes, f"cp {chain} {FOLDER}/.podnet"]
    script.append(f"mv {FOLDER}/.podnet {FOLDER}/10-podnet.conflist")
    done = node.run(["sh", "-ec", "\n".join(script)], check=False)
    if done.returncode:
        raise CommandError(f"the pod network of {node.name}: {done.stderr.strip()}")
