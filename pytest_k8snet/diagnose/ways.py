"""What proves causes on the way between Nodes: routes, neighbours, tunnels. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

from pytest_k8snet.diagnose.evidence import (
    NOTHING,
    Look,
    Proof,
    Question,
    Testimony,
    confirms,
    remarks,
    rules_out,
)
from pytest_k8snet.diagnose.proofs import of_node
from pytest_k8snet.model import Family

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_k8snet.diagnose.cause import Place
    from pytest_k8snet.diagnose.evidence import Values
    from pytest_k8snet.model import ClusterFacts, Node

TUNNELS = ("flannel", "vxlan", "tunl", "wireguard", "cilium", "geneve", "gre", "wg")
"""How the names of devices begin that lead to other Nodes by themselves."""

UNANSWERED = frozenset({"FAILED", "INCOMPLETE"})
"""The states of neighbours that were asked for in vain."""

Questions = tuple[Question, ...]


@dataclass(frozen=True)
class Hop:
    """The next hop on the way to an address, as a Node knows it.

    Attributes:
        address, device: where it is.
        state: as ``ip neigh`` names it.
        mac: "" for none.

    """

    address: str
    device: str
    state: str
    mac: str

    @property
    def tunnelled(self) -> bool:
        """Whether it is the far end of a tunnel, and known."""
        return self.device.startswith(TUNNELS) and bool(self.mac)


def hop(values: Values) -> Hop | None:
    """Read an answer of ``Look.NEIGHBOUR``; None when there is no way."""
    words = values[0].split() if values else []
    if words[1:2] != ["dev"]:
        return None
    address, _, device, state, *mac = words
    return Hop(address, device, state, "".join(mac))


def _known(facts: ClusterFacts) -> dict[str, Node]:
    return {n.name: n for n in (*facts.nodes, *facts.left_out)}


def _owners(facts: ClusterFacts) -> dict[str, str]:
    """Name the Nodes by their addresses."""
    return {a: name for name, n in _known(facts).items() for a in n.addresses}


def _others(place: Place, facts: ClusterFacts) -> list[str]:
    """Name a Node that has nothing to do with the place, if there is one."""
    return [n.name for n in facts.nodes if n.name not in place.nodes][:1]


def _inside(place: Place, facts: ClusterFacts, name: str) -> str:
    """Give an address in a Node's range; "" without one."""
    version = 6 if (place.family or facts.families[0]) is Family.IPV6 else 4
    node = _known(facts).get(name)
    ranges = (ip_network(cidr) for cidr in (node.pod_cidrs if node else ()))
    return next((str(r[2]) for r in ranges if r.version == version), "")


# --------------------------------------------------------------------------- questions


def of_ways(place: Place, facts: ClusterFacts) -> Questions:
    """Ask for the ways from the first Node to the second one's Pods, and to others'."""
    node, peer = place.nodes
    ways = (_inside(place, facts, n) for n in (peer, *_others(place, facts)))
    return tuple(Question(Look.ROUTE, node, address) for address in ways if address)


def of_tunnel(place: Place, facts: ClusterFacts) -> Questions:
    """Ask where the first Node's tunnel leads, and which end it takes for the peer's.

    The second question is left out where nobody knows the peer's range.
    """
    node, peer = place.nodes
    inside = _inside(place, facts, peer)
    ends = [Question(Look.NEIGHBOUR, node, inside)] if inside else []
    return (Question(Look.FORWARDING, node), *ends)


def of_far_end(place: Place, facts: ClusterFacts) -> Questions:
    """Ask for the Node's tunnel, and what another Node takes for the end of it."""
    (node,) = place.nodes
    inside = _inside(place, facts, node)
    others = _others(place, facts) if inside else []
    ends = (Question(Look.NEIGHBOUR, other, inside) for other in others)
    return (Question(Look.LINKS, node), *ends)


def of_neighbour(place: Place, facts: ClusterFacts) -> Questions:
    """Ask who the first Node takes for the second, who that is, and another Node."""
    node, peer = place.nodes
    of_ipv6 = (place.family or facts.families[0]) is Family.IPV6
    known = _known(facts).get(peer)
    own = [a for a in (known.addresses if known else ()) if (":" in a) == of_ipv6]
    return tuple(
        question
        for address in own[:1]
        for question in (
            Question(Look.NEIGHBOUR, node, address),
            Question(Look.LINKS, peer),
            *(Question(Look.NEIGHBOUR, n, address) for n in _others(place, facts)),
        )
    )


# ----------------------------------------------------------------------------- weighing


def _macs(links: Iterable[str]) -> set[str]:
    said = (re.search(r"mac=(\S+)", link) for link in links)
    return {m[1].lower() for m in said if m}


def _tunnels(links: Iterable[str]) -> list[str]:
    return [link for link in links if link.split()[1:2] == ["vxlan"]]


def tunnel_down(
    place: Place, _facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """Look for the device of the overlay."""
    (node, *_) = place.nodes
    devices = [link.split() for link in _tunnels(answers[0])]
    down = [name for name, _, state, *_ in devices if state == "down"]
    if down or not devices:
        return confirms(f"{down[0] if down else 'the tunnel'} is not up on {node}")
    return rules_out(f"{devices[0][0]} is up on {node}")


def other_tunnel_address(
    place: Place, _facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """Compare a tunnel's hardware address with the one that its peers are told."""
    links, published = answers
    told = {p.split()[1].lower() for p in published if p.startswith("mac ")}
    own = _macs(_tunnels(links))
    if not told or not own:
        return NOTHING
    says = " ".join(sorted(own)), " ".join(sorted(told))
    line = (
        f"the tunnel of {place.nodes[0]} is at {says[0]}, its peers are told {says[1]}"
    )
    return rules_out(line) if told <= own else confirms(line)


def taken_for_another(
    place: Place, facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """Compare a tunnel's hardware address with what another Node takes it for."""
    links, *entries = answers
    own = _macs(_tunnels(links))
    end = hop(entries[0]) if entries else None
    if not own or end is None or not end.tunnelled:
        return NOTHING
    (node,) = place.nodes
    (other,) = _others(place, facts)
    line = (
        f"{other} sends what is for the Pods of {node} to {end.mac} "
        f"({end.address} dev {end.device} {end.state}), the tunnel of {node} is at "
        f"{' '.join(sorted(own))}"
    )
    return rules_out(line) if end.mac in own else confirms(line)


def sent_astray(
    place: Place, facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """Look for frames that a Node's tunnel sends elsewhere than to the peer."""
    node, peer = place.nodes
    owners = _owners(facts)
    entries, *ends = answers
    of_vxlan = [line for line in entries if line.startswith(TUNNELS)]
    end = hop(ends[0]) if ends else None
    if of_vxlan and end is not None and end.tunnelled:
        leads = {mac: to for _, mac, _, to in map(str.split, of_vxlan)}
        to = leads.get(end.mac, "")
        line = f"on {node} {end.device} sends what is for the Pods of {peer}"
        if owners.get(to) == peer:
            return rules_out(f"{line} to {to}, which is {peer}")
        where = f"{to}, which is {owners.get(to, 'no Node')}" if to else "nobody"
        return confirms(f"{line} ({end.mac}) to {where}")
    astray = [line for line in of_vxlan if line.split()[-1] not in owners]
    if astray:
        return confirms(f"on {node} {astray[0]}, which is no Node")
    return rules_out(f"the tunnel of {node} leads to Nodes") if of_vxlan else NOTHING


def wrong_neighbour(
    place: Place, facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """Compare what a Node takes for the peer's hardware address with the peer's own.

    Where another Node takes it for the same, somebody answers for all Nodes: some
    clouds' networks do. Without another Node only what was set by hand is evidence.
    """
    node, peer = place.nodes
    entry, links, *others = answers
    seen, own = hop(entry), _macs(links)
    if seen is None or _owners(facts).get(seen.address) != peer or not own:
        return NOTHING
    where = f"{node} knows {peer} ({seen.address} dev {seen.device}) as {seen.state}"
    if seen.state in UNANSWERED:
        return confirms(f"{where}: nobody answers when it asks who has that address")
    if not seen.mac:
        return NOTHING
    if seen.mac in own:
        return remarks(f"{where} at {seen.mac}, and that is right")
    elsewhere = [h.mac for h in map(hop, others) if h is not None]
    if seen.mac in elsewhere or not (elsewhere or seen.state == "PERMANENT"):
        return NOTHING
    return confirms(f"{where} at {seen.mac}, which no device of {peer} has")


def no_route(
    place: Place, facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """Judge the way to the peer's Pods by where the way to other Nodes' Pods leads."""
    node, peer = place.nodes
    if not answers or not answers[0]:
        return NOTHING
    way, other = answers[0][0], [a[0] for a in answers[1:] if a]
    line = f"from {node} the way to the Pods of {peer} is {way}"
    if not way.startswith(("via ", "dev ")):
        return confirms(f"{node} has no way to the Pods of {peer}: {way}")
    gateway = re.search(r"via (\S+)", way)
    owner = _owners(facts).get(gateway[1] if gateway else "")
    device = way.rpartition("dev ")[2]
    if owner == peer or device.startswith(TUNNELS):
        return rules_out(line)
    # Where a router knows all ranges, the default route is the right one.
    if gateway and other and way not in other:
        return confirms(line)
    return NOTHING


# ------------------------------------------------------------------------------- proofs

TUNNEL_DOWN = Proof(of_node(Look.LINKS), tunnel_down)
TUNNEL_MOVED = Proof(
    lambda place, _: (
        Question(Look.LINKS, place.nodes[0]),
        Question(Look.TUNNEL, place.nodes[0]),
    ),
    other_tunnel_address,
)
TUNNEL_MISTAKEN = Proof(of_far_end, taken_for_another)
SENT_ASTRAY = Proof(of_tunnel, sent_astray)
WRONG_NEIGHBOUR = Proof(of_neighbour, wrong_neighbour)
NO_ROUTE = Proof(of_ways, no_route)
