"""Faults of what a Node's kernel passes on."""

from __future__ import annotations

from pytest_k8snet.faults import kernel, netfilter
from pytest_k8snet.faults.catalogue.nodes import OTHER
from pytest_k8snet.faults.fault import Fault

FORWARDING_OFF = Fault(
    id="ip-forward-off",
    breaks="A Node passes no packet on, from Pods or to them.",
    inject=kernel.forwarding_off(OTHER),
    nodes=(OTHER,),
)

FORWARD_DROP = Fault(
    id="forward-policy-drop",
    breaks="A Node's FORWARD policy drops connections that are new.",
    inject=kernel.forward_policy_drop(OTHER),
    nodes=(OTHER,),
)

BRIDGE_UNFILTERED = Fault(
    id="bridge-nf-call-off",
    breaks="A Node's bridge hands answers past the Service rules.",
    inject=kernel.unfiltered_bridge(OTHER),
    nodes=(OTHER,),
)

CONNECTIONS_EXHAUSTED = Fault(
    id="conntrack-table-full",
    breaks="A Node's table of connections is full: it takes no new ones.",
    inject=kernel.connections_exhausted(OTHER),
    nodes=(OTHER,),
)

HIDDEN_DROP = Fault(
    id="nft-hidden-drop",
    breaks="A table of nobody's drops what goes to one TCP port of a Node's Pods.",
    inject=netfilter.a_port_of_pods_closed(OTHER),
    nodes=(OTHER,),
)

LINK_LOSSY = Fault(
    id="link-lossy",
    breaks="A Node loses one in five of the packets that arrive.",
    inject=netfilter.packets_lost(OTHER),
    nodes=(OTHER,),
)

FAULTS = (
    FORWARDING_OFF,
    FORWARD_DROP,
    BRIDGE_UNFILTERED,
    CONNECTIONS_EXHAUSTED,
    HIDDEN_DROP,
    LINK_LOSSY,
)
