"""Faults of the tunnels between Nodes."""

from __future__ import annotations

from pytest_k8snet.faults import overlay
from pytest_k8snet.faults.catalogue.nodes import ONE, OTHER
from pytest_k8snet.faults.fault import Fault

TUNNEL_BLOCKED = Fault(
    id="vxlan-udp-blocked-one-way",
    breaks="A Node drops the tunnel packets that come from one other Node.",
    inject=overlay.blocked(OTHER, source=ONE),
    nodes=(OTHER,),
    cluster="flannel",
)

TUNNEL_MAC_STALE = Fault(
    id="vxlan-stale-vtep-mac",
    breaks="A Node's end of the tunnels has another MAC than the others know.",
    inject=overlay.other_mac(OTHER),
    nodes=(OTHER,),
    cluster="flannel",
)

TUNNEL_WRONG_PEER = Fault(
    id="vxlan-fdb-wrong-vtep",
    breaks="A Node sends its tunnel packets for one other Node to nobody.",
    inject=overlay.wrong_peer(ONE, peer=OTHER),
    nodes=(ONE,),
    cluster="flannel",
)

TUNNEL_DOWN = Fault(
    id="vxlan-device-down",
    breaks="A Node's end of the tunnels is down, and the routes over it are gone.",
    inject=overlay.down(OTHER),
    nodes=(OTHER,),
    cluster="flannel",
)

FAULTS = (
    TUNNEL_BLOCKED,
    TUNNEL_MAC_STALE,
    TUNNEL_WRONG_PEER,
    TUNNEL_DOWN,
)
