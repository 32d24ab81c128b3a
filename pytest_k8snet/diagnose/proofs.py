"""What proves causes: questions about a place, and how to weigh their answers. Pure."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import TYPE_CHECKING

from pytest_k8snet.diagnose.evidence import (
    NOTHING,
    Look,
    Proof,
    Question,
    Testimony,
    confirms,
    rules_out,
)
from pytest_k8snet.model import Family

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_k8snet.diagnose.cause import Place
    from pytest_k8snet.diagnose.evidence import Asks, Values, Weighs
    from pytest_k8snet.model import ClusterFacts, Node

FULL = 0.95
"""The part of the connection table from which on it is as good as full."""

TRACKED = "net.netfilter.nf_conntrack_"

TUNNELS = ("flannel", "vxlan", "tunl", "wireguard", "cilium", "geneve", "gre", "wg")
"""How the names of devices begin that lead to other Nodes by themselves."""

HOSTILE = r"\b(?:drop|reject)\b|policy drop"
DROPS = r"^(?!policy).*\bdrop\b"
TUNNEL_PORTS = r"\b(?:8472|4789)\b"


# --------------------------------------------------------------------------- questions


def of_node(look: Look) -> Asks:
    """Ask about the Node, or the first one of a pair."""
    return lambda place, _: (Question(look, place.nodes[0]),)


def of_both(look: Look) -> Asks:
    """Ask about every Node of the place."""
    return lambda place, _: tuple(Question(look, node) for node in place.nodes)


def of_things(look: Look) -> Asks:
    """Ask about every address or Service of the place."""
    return lambda place, _: tuple(Question(look, thing=t) for t in place.things)


def of_cluster(look: Look) -> Asks:
    """Ask once."""
    return lambda _place, _facts: (Question(look),)


def of_ways(place: Place, facts: ClusterFacts) -> tuple[Question, ...]:
    """Ask for the ways from the first Node to the second one's Pods, and to others'."""
    node, peer = place.nodes
    others = [n for n in facts.nodes if n.name not in place.nodes][:1]
    known = {n.name: n for n in (*facts.nodes, *facts.left_out)}
    towards = [n for n in (known.get(peer), *others) if n is not None]
    ways = (_inside(n, place.family or facts.families[0]) for n in towards)
    return tuple(Question(Look.ROUTE, node, address) for address in ways if address)


def _inside(node: Node, family: Family) -> str:
    """Give an address in a Node's range; "" without one."""
    version = 6 if family is Family.IPV6 else 4
    ranges = (ip_network(cidr) for cidr in node.pod_cidrs)
    return next((str(r[2]) for r in ranges if r.version == version), "")


# ----------------------------------------------------------------------------- weighing


def settings(values: Iterable[str]) -> dict[str, str]:
    """Read ``name=value``."""
    return dict(v.partition("=")[::2] for v in values)


def switched_off(ipv4: str, ipv6: str, *, absent: bool = False) -> Weighs:
    """Confirm when a setting is 0, for the IP family that fails; or ABSENT."""

    def weighs(
        place: Place, facts: ClusterFacts, answers: tuple[Values, ...]
    ) -> Testimony:
        found = settings(answers[0])
        names = {Family.IPV4: ipv4, Family.IPV6: ipv6}
        families = (place.family,) if place.family else facts.families
        said = {names[f]: found.get(names[f]) for f in families}
        (node, *_) = place.nodes
        for name, value in said.items():
            if value == "0" or (absent and value == ""):
                return confirms(f"{name} is {value or 'not there'} on {node}")
        if said and all(value == "1" for value in said.values()):
            return rules_out(f"{' and '.join(said)} is 1 on {node}")
        return NOTHING

    return weighs


def table_full(
    place: Place, _facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """Compare the count of tracked connections with what there may be."""
    found = settings(answers[0])
    try:
        count, most = (
            int(found[f"net.netfilter.nf_conntrack_{word}"])
            for word in ("count", "max")
        )
    except (KeyError, ValueError):
        return NOTHING
    line = f"{place.nodes[0]} tracks {count} connections, of at most {most}"
    return confirms(line) if count >= FULL * most else rules_out(line)


def no_hairpin(
    place: Place, _facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """Look for ports of bridges that send nothing back to where it came from."""
    ports = [link for link in answers[0] if "hairpin=" in link]
    off = [link.split()[0] for link in ports if "hairpin=0" in link]
    (node, *_) = place.nodes
    if off:
        return confirms(
            f"hairpin is off at {len(off)} ports on {node}, such as {off[0]}"
        )
    return (
        rules_out(f"hairpin is on at every bridge port on {node}") if ports else NOTHING
    )


def tunnel_down(
    place: Place, _facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """Look for the device of the overlay."""
    (node, *_) = place.nodes
    devices = [link.split() for link in answers[0] if link.split()[1:2] == ["vxlan"]]
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
    devices = [link for link in links if link.split()[1:2] == ["vxlan"]]
    macs = [re.search(r"mac=(\S+)", link) for link in devices]
    own = {m[1].lower() for m in macs if m}
    if not told or not own:
        return NOTHING
    says = " ".join(sorted(own)), " ".join(sorted(told))
    line = (
        f"the tunnel of {place.nodes[0]} is at {says[0]}, its peers are told {says[1]}"
    )
    return rules_out(line) if told <= own else confirms(line)


def sent_astray(
    place: Place, facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """Look for frames that a Node's tunnel sends to what is no Node."""
    known = {a for n in (*facts.nodes, *facts.left_out) for a in n.addresses}
    of_vxlan = [line for line in answers[0] if line.startswith(TUNNELS)]
    astray = [line for line in of_vxlan if line.split()[-1] not in known]
    (node, *_) = place.nodes
    if astray:
        return confirms(f"on {node} {astray[0]}, which is no Node")
    return rules_out(f"the tunnel of {node} leads to Nodes") if of_vxlan else NOTHING


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
    hop = re.search(r"via (\S+)", way)
    owner = {a: n.name for n in (*facts.nodes, *facts.left_out) for a in n.addresses}
    device = way.rpartition("dev ")[2]
    if owner.get(hop[1] if hop else "") == peer or device.startswith(TUNNELS):
        return rules_out(line)
    # Where a router knows all ranges, the default route is the right one.
    if hop and other and way not in other:
        return confirms(line)
    return NOTHING


def filters(
    *hooks: str, what: str = HOSTILE, such: str = "", else_not: bool = False
) -> Weighs:
    """Confirm when a packet filter has a rule that nobody of Kubernetes made.

    Args:
        hooks: where it hooks in; none for anywhere.
        what: what the rule does, as a pattern.
        such: what else is in it, as a pattern.
        else_not: that there is none rules the cause out.

    """

    def weighs(
        place: Place, _facts: ClusterFacts, answers: tuple[Values, ...]
    ) -> Testimony:
        for node, lines in zip(place.nodes, answers, strict=False):
            for line in lines:
                hook, _, rest = line.partition(" ")
                text = rest.partition(": ")[2]
                fits = not hooks or hook in hooks
                if fits and all(
                    re.search(p, text, re.IGNORECASE) for p in (what, such)
                ):
                    return confirms(f"on {node}: {line}")
        if else_not:
            nodes = " and ".join(place.nodes)
            return rules_out(f"on {nodes} there is no rule of that kind")
        return NOTHING

    return weighs


def no_service_rules(
    place: Place, facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """Count the rules for Services, where a service proxy makes such."""
    if facts.service_proxy not in {"kube-proxy iptables", "kube-proxy nftables"}:
        return NOTHING
    counts = [line for line in answers[0] if line.startswith("services ")]
    known = sum(int(line.rpartition(": ")[2]) for line in counts)
    (node, *_) = place.nodes
    line = f"on {node} there are rules for {known} ports of Services"
    return rules_out(line) if known else confirms(line)


def proxy_silent(
    place: Place, facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """See whether kube-proxy says that it is well."""
    if not facts.service_proxy.startswith("kube-proxy") or not answers[0]:
        return NOTHING
    said, node = answers[0][0], place.nodes[0]
    if said == "200":
        return rules_out(f"kube-proxy on {node} says that it is well")
    return confirms(f"kube-proxy on {node} does not say that it is well: {said}")


def mentions(pattern: str) -> Weighs:
    """Confirm by the first of the values that a pattern is found in."""

    def weighs(
        place: Place, _facts: ClusterFacts, answers: tuple[Values, ...]
    ) -> Testimony:
        del place
        found = (v for values in answers for v in values if re.search(pattern, v))
        line = next(found, "")
        return confirms(line) if line else NOTHING

    return weighs


def each_mentions(pattern: str) -> Weighs:
    """Confirm when a pattern is found in the values of every answer."""

    def weighs(
        place: Place, facts: ClusterFacts, answers: tuple[Values, ...]
    ) -> Testimony:
        found = [mentions(pattern)(place, facts, (values,)) for values in answers]
        return found[0] if found and NOTHING not in found else NOTHING

    return weighs


def or_else(pattern: str, otherwise: str = "") -> Weighs:
    """Confirm by a value that a pattern is found in; OTHERWISE rules out."""

    def weighs(
        place: Place, facts: ClusterFacts, answers: tuple[Values, ...]
    ) -> Testimony:
        found = mentions(pattern)(place, facts, answers)
        if found is not NOTHING or not otherwise:
            return found
        against = mentions(otherwise)(place, facts, answers)
        return rules_out(against.line) if against.line else NOTHING

    return weighs


def no_plugin_configured(
    place: Place, _facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """Look for a configuration of a network plugin."""
    found = [v for v in answers[0] if re.search(r"\.(conf|conflist|json)$", v)]
    if found:
        return rules_out(f"on {place.nodes[0]}: {found[0]}")
    return confirms(f"on {place.nodes[0]} no network plugin is configured")


def strays(
    place: Place, _facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """Look for Pods of the Node whose addresses are not of its range."""
    found = (line for line in answers[0] if f" on {place.nodes[0]}, whose " in line)
    line = next(found, "")
    return confirms(line) if line else NOTHING


def anything(
    _place: Place, _facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """Confirm by whatever there is to say."""
    lines = [value for values in answers for value in values]
    return confirms(lines[0]) if lines else NOTHING


# ------------------------------------------------------------------------------- proofs

FORWARDING_OFF = Proof(
    of_node(Look.SETTINGS),
    switched_off("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"),
)
BRIDGE_UNSEEN = Proof(
    of_node(Look.SETTINGS),
    switched_off(
        "net.bridge.bridge-nf-call-iptables",
        "net.bridge.bridge-nf-call-ip6tables",
        absent=True,
    ),
)
TABLE_FULL = Proof(of_node(Look.SETTINGS), table_full)
NO_HAIRPIN = Proof(of_node(Look.LINKS), no_hairpin)
TUNNEL_DOWN = Proof(of_node(Look.LINKS), tunnel_down)
TUNNEL_MOVED = Proof(
    lambda place, _: (
        Question(Look.LINKS, place.nodes[0]),
        Question(Look.TUNNEL, place.nodes[0]),
    ),
    other_tunnel_address,
)
SENT_ASTRAY = Proof(of_node(Look.FORWARDING), sent_astray)
NO_ROUTE = Proof(of_ways, no_route)
NO_SERVICE_RULES = Proof(of_node(Look.RULES), no_service_rules)
AGENTS = "flannel|cilium|calico|antrea|kube-router|ovnkube|weave|kindnet"
PROXY_SILENT = Proof(of_node(Look.HEALTH), proxy_silent)


def ruled(
    *hooks: str, what: str = HOSTILE, such: str = "", else_not: bool = False
) -> Proof:
    """Look for a rule of a packet filter: see ``filters``."""
    return Proof(
        of_both(Look.RULES), filters(*hooks, what=what, such=such, else_not=else_not)
    )


def lacks(pattern: str) -> Proof:
    """Look for a DaemonSet of the cluster's own that the Node lacks a Pod of."""
    return Proof(of_node(Look.WORKLOADS), mentions(pattern))


def warned(pattern: str) -> Proof:
    """Look for a warning about our Pods on the Node."""
    return Proof(of_node(Look.EVENTS), mentions(pattern))
