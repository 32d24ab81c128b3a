"""NetworkPolicy: what policies allow gets through, and nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_k8snet.manifests import LABEL
from pytest_k8snet.model import (
    OUTSIDE,
    Deviation,
    Family,
    Kind,
    Op,
    Peer,
    Role,
    Spread,
)
from pytest_k8snet.rules._policed import (
    BY_POD,
    CLIENTS,
    DENY_EGRESS,
    DENY_INGRESS,
    ENFORCED,
    ENFORCED_EGRESS,
    FRIENDS,
    FROM_OUTSIDE,
    GUARD,
    GUARD_OUTSIDE,
    ISOLATION,
    LET_IN,
    LET_OUT,
    NETWORK_POLICIES,
    OPEN,
    SELECTORS,
    SERVED,
    SERVERS,
    TCP,
    TO_DNS,
    TO_SECOND,
    UDP,
    UNCONFINED,
    admit,
    allowed,
    blocked,
    entering,
    node_port,
    open_to,
    policy_rule,
    there,
)
from pytest_k8snet.rules._world import (
    BOTH,
    FAMILIES,
    PATHS,
    api_addresses,
    cluster_ip,
    dns,
    pod,
    server_there,
    serves,
)
from pytest_k8snet.verdict import each, is_answered, is_as_allowed, is_silent

if TYPE_CHECKING:
    from pytest_k8snet.model import Observation

NEIGHBOUR, CLIENT, SERVER = Role.NEIGHBOUR, Role.CLIENT, Role.SERVER
GUARDED, CONFINED = Role.GUARDED, Role.CONFINED

DEFAULT_ALLOW = policy_rule(
    id="NP-DEFAULT-ALLOW",
    requirement="A Pod that no policy selects MUST NOT be isolated in any direction.",
    spec=ISOLATION,
    protocols=BOTH,
    families=FAMILIES,
    paths=PATHS,
    services=(OPEN, SERVED),
    policies=(DENY_INGRESS,),
    provided=(serves(NEIGHBOUR), ENFORCED),
    probes=(
        allowed(CLIENT, pod(NEIGHBOUR)),
        allowed(SERVER, cluster_ip(OPEN), who=there(NEIGHBOUR)),
        allowed(NEIGHBOUR, pod(CLIENT)),
        allowed(NEIGHBOUR, cluster_ip(SERVED), who=server_there),
        allowed(NEIGHBOUR, pod(NEIGHBOUR), Spread.NEXT),
    ),
    usually="a network plugin that isolates whole namespaces or Nodes",
)

INGRESS_DEFAULT_DENY = policy_rule(
    id="NP-INGRESS-DEFAULT-DENY",
    requirement="A Pod isolated for ingress MUST NOT be reached unless it is allowed.",
    spec=NETWORK_POLICIES + "#default-deny-all-ingress-traffic",
    protocols=BOTH,
    families=FAMILIES,
    paths=PATHS,
    services=(GUARD,),
    policies=(DENY_INGRESS, BY_POD),
    provided=(serves(GUARDED), LET_IN, *open_to(NEIGHBOUR, CLIENT, SERVER)),
    probes=(
        *entering("main", but=(NEIGHBOUR, CLIENT, SERVER)),
        blocked(GUARDED, pod(GUARDED), Spread.NEXT),
    ),
)

EGRESS_DEFAULT_DENY = policy_rule(
    id="NP-EGRESS-DEFAULT-DENY",
    requirement="A Pod isolated for egress MUST NOT reach others unless it is allowed.",
    spec=NETWORK_POLICIES + "#default-deny-all-egress-traffic",
    protocols=BOTH,
    families=FAMILIES,
    paths=PATHS,
    services=(SERVED,),
    policies=(DENY_EGRESS, TO_SECOND),
    provided=(serves(CLIENT), LET_OUT, *UNCONFINED),
    probes=(
        blocked(CONFINED, pod(CLIENT)),
        blocked(CONFINED, pod(NEIGHBOUR)),
        blocked(CONFINED, cluster_ip(SERVED), who=server_there),
    ),
)

ISOLATION_PER_DIRECTION = policy_rule(
    id="NP-ISOLATION-PER-DIRECTION",
    requirement="A Pod isolated in one direction MUST NOT be isolated in the other.",
    spec=ISOLATION,
    protocols=BOTH,
    families=FAMILIES,
    paths=PATHS,
    services=(SERVED,),
    policies=(DENY_INGRESS, DENY_EGRESS),
    provided=(serves(CONFINED), ENFORCED, ENFORCED_EGRESS),
    probes=(
        allowed(GUARDED, pod(CLIENT)),
        allowed(GUARDED, pod(NEIGHBOUR)),
        allowed(GUARDED, cluster_ip(SERVED), who=server_there),
        allowed(CLIENT, pod(CONFINED)),
        allowed(NEIGHBOUR, pod(CONFINED)),
    ),
    usually="a network plugin that isolates in both directions, or loses replies",
)

POD_SELECTOR = policy_rule(
    id="NP-POD-SELECTOR",
    requirement="A podSelector MUST allow the Pods of its own namespace that match it.",
    spec=SELECTORS,
    protocols=(TCP,),
    families=FAMILIES,
    paths=PATHS,
    services=(GUARD,),
    policies=(DENY_INGRESS, BY_POD),
    provided=(serves(GUARDED), *open_to(CLIENT, SERVER, GUARDED)),
    probes=(
        # Clients match, in another namespace; guarded Pods do not match.
        *entering("pod", by=(NEIGHBOUR,), but=(CLIENT, SERVER)),
        blocked(GUARDED, pod(GUARDED, "pod"), Spread.NEXT),
    ),
)

NAMESPACE_SELECTOR = policy_rule(
    id="NP-NAMESPACE-SELECTOR",
    requirement="A namespaceSelector MUST allow all Pods of the namespaces it matches.",
    spec=SELECTORS,
    protocols=(TCP,),
    families=FAMILIES,
    paths=PATHS,
    services=(GUARD, SERVED),
    policies=(
        DENY_INGRESS,
        admit("by-namespace", "space", CLIENTS),
        DENY_EGRESS,
        TO_SECOND,
    ),
    provided=(serves(GUARDED), *open_to(NEIGHBOUR, SERVER), UNCONFINED[0]),
    probes=(
        *entering("space", by=(CLIENT,), but=(NEIGHBOUR, SERVER)),
        allowed(CONFINED, pod(SERVER, "second")),
        allowed(CONFINED, cluster_ip(SERVED, "second"), who=server_there),
        blocked(CONFINED, pod(CLIENT)),
    ),
)

BOTH_SELECTORS = policy_rule(
    id="NP-BOTH-SELECTORS",
    requirement="A peer with both selectors MUST match in its namespace and its Pod.",
    spec=SELECTORS,
    protocols=(TCP,),
    families=FAMILIES,
    paths=PATHS,
    services=(GUARD,),
    policies=(
        DENY_INGRESS,
        admit(
            "by-both",
            "pair",
            Peer(FRIENDS.pods, CLIENTS.namespaces),
            Peer(FRIENDS.pods, SERVERS.namespaces),
        ),
    ),
    provided=(serves(GUARDED), *open_to(NEIGHBOUR, SERVER)),
    # Of neighbours only the labels match, of servers only the namespace.
    probes=entering("pair", by=(CLIENT,), but=(NEIGHBOUR, SERVER)),
    usually="a network plugin that takes one selector for the other, or both as or",
)

PEER_LIST = policy_rule(
    id="NP-PEER-LIST",
    requirement="A list of peers MUST allow whoever matches any of them.",
    spec=SELECTORS,
    protocols=(TCP,),
    families=FAMILIES,
    paths=PATHS,
    services=(GUARD,),
    policies=(DENY_INGRESS, admit("by-list", "list", FRIENDS, CLIENTS)),
    provided=(serves(GUARDED), *open_to(SERVER)),
    probes=entering("list", by=(NEIGHBOUR, CLIENT), but=(SERVER,)),
    usually="a network plugin that takes the peers of a list together, as and",
)

KEY, ROLE, FRIEND = LABEL + "key", LABEL + "role", LABEL + "friend"
OF_TWO = ("client", "policy")

MATCH_EXPRESSIONS = policy_rule(
    id="NP-MATCH-EXPRESSIONS",
    requirement="Selectors MUST match by In, NotIn, Exists and DoesNotExist.",
    spec=f"{NETWORK_POLICIES}#targeting-multiple-namespaces-by-label",
    protocols=(TCP,),
    families=FAMILIES,
    paths=PATHS,
    services=(GUARD,),
    policies=(
        DENY_INGRESS,
        admit(
            "by-expressions",
            "match",
            Peer(
                ((ROLE, "NotIn", ("client", "spare")), (FRIEND, "Exists", ())),
                ((KEY, "In", OF_TWO),),
            ),
            Peer(
                ((FRIEND, "DoesNotExist", ()),),
                ((KEY, "Exists", ()), (KEY, "NotIn", OF_TWO)),
            ),
        ),
    ),
    provided=(serves(GUARDED), *open_to(CLIENT, GUARDED)),
    probes=(
        *entering("match", by=(NEIGHBOUR, SERVER), but=(CLIENT,)),
        blocked(GUARDED, pod(GUARDED, "match"), Spread.NEXT),
    ),
)

PORT = policy_rule(
    id="NP-PORT",
    requirement="A policy with ports MUST allow its peers at those ports alone.",
    spec=NETWORK_POLICIES + "#networkpolicy-resource",
    protocols=BOTH,
    families=FAMILIES,
    paths=PATHS,
    services=(GUARD, SERVED),
    policies=(
        DENY_INGRESS,
        *(admit(f"first-{p}", "first", FRIENDS, protocol=p) for p in BOTH),
        *(admit(f"second-{p}", "second", SERVERS, protocol=p) for p in BOTH),
        DENY_EGRESS,
        TO_SECOND,
    ),
    provided=(serves(GUARDED), *open_to(NEIGHBOUR, SERVER), *UNCONFINED),
    probes=(
        *entering("first", by=(NEIGHBOUR,), but=(SERVER,)),
        *entering("second", by=(SERVER,), but=(NEIGHBOUR,)),
        allowed(CONFINED, pod(SERVER, "second"), protocol=TCP),
        blocked(CONFINED, pod(SERVER)),
        blocked(CONFINED, cluster_ip(SERVED), who=server_there),
    ),
    usually="a network plugin that judges by the Service's port, or by none",
)

NAMED_PORT = policy_rule(
    id="NP-NAMED-PORT",
    requirement="A port by name MUST stand for each Pod's own port of that name.",
    spec=NETWORK_POLICIES + "#networkpolicy-resource",
    protocols=(TCP,),
    families=FAMILIES,
    paths=PATHS,
    services=(GUARD,),
    policies=(DENY_INGRESS, admit("by-name", "named", FRIENDS)),
    provided=(serves(GUARDED), *open_to(NEIGHBOUR)),
    # On every second Node the numbers are the other way round.
    probes=(
        *entering("named", by=(NEIGHBOUR,)),
        *entering("unnamed", but=(NEIGHBOUR,)),
    ),
    usually="a network plugin that keeps one number for the same name on all Pods",
)


def _takes_the_first_alone(seen: Observation) -> bool:
    return seen.probe.target.port == "to" and is_silent(seen)


END_PORT = policy_rule(
    id="NP-END-PORT",
    requirement="A range of ports MUST allow both its ends, and nothing beside it.",
    spec=NETWORK_POLICIES + "#targeting-a-range-of-ports",
    protocols=(TCP,),
    families=FAMILIES,
    paths=PATHS,
    services=(GUARD,),
    policies=(DENY_INGRESS, admit("by-range", "from", FRIENDS, last="to")),
    provided=(serves(GUARDED), *open_to(NEIGHBOUR)),
    probes=(
        *entering("from", by=(NEIGHBOUR,)),
        *entering("to", by=(NEIGHBOUR,)),
        *entering("before", but=(NEIGHBOUR,)),
        *entering("after", but=(NEIGHBOUR,)),
    ),
    deviations=(
        Deviation(
            "Cilium",
            "before 1.16 Cilium does not know endPort: cilium/cilium#16622",
            _takes_the_first_alone,
            before="1.16",
        ),
    ),
    usually="a network plugin that does not know endPort: it takes the first alone",
)

PROTOCOL = policy_rule(
    id="NP-PROTOCOL",
    requirement="A port of one protocol MUST NOT be allowed by another protocol.",
    spec=NETWORK_POLICIES + "#networkpolicy-resource",
    families=FAMILIES,
    paths=PATHS,
    services=(GUARD,),
    policies=(
        DENY_INGRESS,
        admit("over-tcp", "over-tcp", FRIENDS),
        admit("over-udp", "over-udp", FRIENDS, protocol=UDP),
    ),
    provided=(serves(GUARDED), *open_to(NEIGHBOUR)),
    probes=(
        *entering("over-tcp", by=(NEIGHBOUR,), protocol=TCP),
        *entering("over-tcp", but=(NEIGHBOUR,), protocol=UDP),
        *entering("over-udp", by=(NEIGHBOUR,), protocol=UDP),
        *entering("over-udp", but=(NEIGHBOUR,), protocol=TCP),
    ),
)

ADDITIVE = policy_rule(
    id="NP-ADDITIVE",
    requirement="Several policies MUST allow together what each of them allows.",
    spec=ISOLATION,
    protocols=(TCP,),
    families=FAMILIES,
    paths=PATHS,
    services=(GUARD,),
    policies=(
        DENY_INGRESS,
        admit("union-friends", "union", FRIENDS),
        admit("union-clients", "union", CLIENTS),
    ),
    provided=(serves(GUARDED), *open_to(SERVER)),
    probes=entering("union", by=(NEIGHBOUR, CLIENT), but=(SERVER,)),
    usually="a network plugin with which the last policy, or a denying one, wins",
)

ANYWHERE = ("0.0.0.0/0", "::/0")
NOWHERE = ("192.0.2.0/24", "100::/64")
"""Ranges for documentation and for discarding: nobody comes from there."""

OUTSIDE_TO = {
    port: (node_port(GUARD_OUTSIDE, port), Spread.NODES)
    for port in ("block", "elsewhere", "except", "except-else")
}

IP_BLOCK = policy_rule(
    id="NP-IP-BLOCK",
    requirement="An ipBlock MUST allow the addresses outside the cluster in its range.",
    spec=SELECTORS,
    protocols=(TCP,),
    families=FAMILIES,
    services=(GUARD, GUARD_OUTSIDE, OPEN),
    policies=(
        DENY_INGRESS,
        admit("by-block", "block", Peer(blocks=(OUTSIDE,))),
        admit("by-other-block", "elsewhere", Peer(blocks=NOWHERE), FRIENDS),
    ),
    provided=(serves(GUARDED), FROM_OUTSIDE, *open_to(NEIGHBOUR)),
    # No range names a Pod: its address says nothing of who it is.
    probes=(
        allowed(Role.OUTSIDE, *OUTSIDE_TO["block"], who=there(GUARDED)),
        blocked(Role.OUTSIDE, *OUTSIDE_TO["elsewhere"]),
        *entering("elsewhere", by=(NEIGHBOUR,)),
        *entering("block", but=(NEIGHBOUR,)),
    ),
    usually="an address translation in front of the network plugin's rules",
)

IP_BLOCK_EXCEPT = policy_rule(
    id="NP-IP-BLOCK-EXCEPT",
    requirement="An ipBlock MUST NOT allow what it excepts.",
    spec=SELECTORS,
    protocols=(TCP,),
    families=FAMILIES,
    services=(GUARD, GUARD_OUTSIDE, OPEN),
    policies=(
        DENY_INGRESS,
        admit("by-but", "except", Peer(blocks=ANYWHERE, but=(OUTSIDE,)), FRIENDS),
        admit("by-other-but", "except-else", Peer(blocks=ANYWHERE, but=NOWHERE)),
    ),
    provided=(serves(GUARDED), FROM_OUTSIDE),
    probes=(
        blocked(Role.OUTSIDE, *OUTSIDE_TO["except"]),
        *entering("except", by=(NEIGHBOUR,)),
        allowed(Role.OUTSIDE, *OUTSIDE_TO["except-else"], who=there(GUARDED)),
    ),
    usually="a network plugin that ignores except",
)

NODE_TO_LOCAL_POD = policy_rule(
    id="NP-NODE-TO-LOCAL-POD",
    requirement="A Node MUST reach its own Pods whatever the policies are.",
    spec=NETWORK_POLICIES + "#networkpolicy-resource",
    protocols=BOTH,
    families=FAMILIES,
    policies=(DENY_INGRESS,),
    provided=(serves(GUARDED), ENFORCED),
    probes=(allowed(Role.HOST, pod(GUARDED), Spread.OWN),),
    usually="a network plugin that polices the kubelet: readiness probes fail, too",
)


def _hairpin_over_ipv6(seen: Observation) -> bool:
    through = seen.probe.target.kind is Kind.CLUSTER_IP
    return through and seen.probe.family is Family.IPV6 and is_silent(seen)


SELF = policy_rule(
    id="NP-SELF",
    requirement="A Pod MUST reach itself whatever the policies are.",
    spec=NETWORK_POLICIES,
    protocols=BOTH,
    families=FAMILIES,
    services=(GUARD,),
    policies=(DENY_INGRESS,),
    provided=(ENFORCED,),
    probes=(
        allowed(GUARDED, pod(GUARDED), Spread.OWN),
        allowed(GUARDED, cluster_ip(GUARD), Spread.OWN, who=there(GUARDED)),
    ),
    deviations=(
        Deviation(
            "Cilium",
            "where kube-proxy stays, Cilium's own balancing has no hairpin for IPv6: "
            "cilium/cilium#26733",
            _hairpin_over_ipv6,
        ),
    ),
    usually=(
        "a network plugin that polices what comes back through a Service, or a "
        "Service that no Pod reaches itself through: see SERVICE-HAIRPIN"
    ),
)


def _resolved_or_as_allowed(seen: Observation) -> bool:
    return is_answered(seen) if seen.probe.ask.op is Op.DNS else is_as_allowed(seen)


EGRESS_DNS = policy_rule(
    id="NP-EGRESS-DNS",
    requirement="A Pod that is allowed the cluster DNS alone MUST resolve names.",
    spec=NETWORK_POLICIES + "#default-deny-all-egress-traffic",
    protocols=BOTH,
    families=FAMILIES,
    services=(SERVED,),
    policies=(DENY_EGRESS, TO_DNS),
    provided=(serves(CLIENT), *UNCONFINED),
    probes=(
        dns("kubernetes.default.svc.{domain}", api_addresses, source=CONFINED),
        blocked(CONFINED, pod(CLIENT)),
        blocked(CONFINED, cluster_ip(SERVED), who=server_there),
    ),
    judge=each(_resolved_or_as_allowed),
    usually="a network plugin that judges before the Service's address is translated",
)

RULES = (
    DEFAULT_ALLOW,
    INGRESS_DEFAULT_DENY,
    EGRESS_DEFAULT_DENY,
    ISOLATION_PER_DIRECTION,
    POD_SELECTOR,
    NAMESPACE_SELECTOR,
    BOTH_SELECTORS,
    PEER_LIST,
    MATCH_EXPRESSIONS,
    PORT,
    NAMED_PORT,
    END_PORT,
    PROTOCOL,
    ADDITIVE,
    IP_BLOCK,
    IP_BLOCK_EXCEPT,
    NODE_TO_LOCAL_POD,
    SELF,
    EGRESS_DNS,
)
