"""What proves causes: questions about a place, and how to weigh their answers. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_k8snet.diagnose.evidence import (
    NOTHING,
    Look,
    Proof,
    Question,
    Says,
    Testimony,
    confirms,
    remarks,
    rules_out,
)
from pytest_k8snet.model import Family, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_k8snet.diagnose.cause import Place
    from pytest_k8snet.diagnose.evidence import Asks, Values, Weighs
    from pytest_k8snet.model import ClusterFacts

FULL = 0.95
"""The part of the connection table from which on it is as good as full."""

BEHIND = ("is missing", "is no endpoint of it")
"""How it ends what says that rules are not what the API wants."""

TRACKED = "net.netfilter.nf_conntrack_"

WELL = "200"
"""How who is well answers, in HTTP."""

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


def rules_behind(
    place: Place, facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """See whether the rules know every Service, and lead to its endpoints only."""
    if not facts.service_proxy.startswith("kube-proxy"):
        return NOTHING
    said = [v.removeprefix("served ") for v in answers[0] if v.startswith("served ")]
    behind = [v for v in said if v.endswith(BEHIND)]
    where = f"the rules on {place.nodes[0]} serve"
    if behind:
        return confirms(f"{where} {behind[0]}")
    return rules_out(f"{where} {said[0]}") if said else NOTHING


def proxy_silent(
    place: Place, facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """See whether kube-proxy says that it is well."""
    if not facts.service_proxy.startswith("kube-proxy") or not answers[0]:
        return NOTHING
    node = place.nodes[0]
    if answers[0][0] == WELL:
        return rules_out(f"kube-proxy on {node} says that it is well")
    return confirms(
        f"kube-proxy on {node} does not say that it is well: {' '.join(answers[0])}"
    )


def proxy_robbed(
    place: Place, facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """Say whether kube-proxy is well, where there are no rules: not why."""
    said = proxy_silent(place, facts, answers)
    robbed = ": does another program remove its rules?"
    return remarks(said.line + robbed * (said.says is Says.RULES_OUT))


def kubelet_unwell(
    place: Place, _facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """See whether the kubelet says, on its own Node, that it is well.

    Where nobody says so the kubelet was told not to: without it we could not ask.
    """
    if answers[0] in {(), (Outcome.REFUSED,)}:
        return NOTHING
    said = " ".join(answers[0])
    if answers[0][0] == WELL:
        return remarks(f"asked on {place.nodes[0]}, the kubelet says that it is well")
    return confirms(f"asked on {place.nodes[0]}, the kubelet is not well: {said}")


def kubelet_unreached(
    place: Place, facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """See whether the kubelet is well, so that only the way to it may be at fault."""
    said = kubelet_unwell(place, facts, answers)
    if said.says is Says.CONFIRMS:
        return rules_out(said.line)
    return confirms(said.line) if said.line else said


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
    place: Place, _facts: ClusterFacts, answers: tuple[Values, ...]
) -> Testimony:
    """Confirm by whatever there is to say."""
    lines = [value for values in answers for value in values]
    where = f"on {place.nodes[0]} " if place.nodes else ""
    return confirms(where + lines[0]) if lines else NOTHING


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
NO_SERVICE_RULES = Proof(of_node(Look.RULES), no_service_rules)
AGENTS = "flannel|cilium|calico|antrea|kube-router|ovnkube|weave|kindnet"
RULES_BEHIND = Proof(of_node(Look.RULES), rules_behind)
PROXY_SILENT = Proof(of_node(Look.HEALTH), proxy_silent)
PROXY_ROBBED = Proof(of_node(Look.HEALTH), proxy_robbed)
KUBELET_UNWELL = Proof(of_node(Look.KUBELET), kubelet_unwell)
KUBELET_UNREACHED = Proof(of_node(Look.KUBELET), kubelet_unreached)


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
