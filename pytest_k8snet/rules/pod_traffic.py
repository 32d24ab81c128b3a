"""Rule 2: how well the pod network carries what Pods send."""

from __future__ import annotations

from dataclasses import replace

from pytest_k8snet.model import (
    Ask,
    Deviation,
    Feature,
    Level,
    Op,
    Probe,
    Profile,
    Protocol,
    Role,
    Rule,
    Scene,
    Step,
)
from pytest_k8snet.rules._world import (
    FAMILIES,
    NETWORK_MODEL,
    PATHS,
    connect,
    every_way,
    fact,
    nobody_answers,
    of_family,
    pod,
    serves,
    words,
)
from pytest_k8snet.verdict import (
    all_answered,
    all_connected,
    all_equal,
    is_connected,
    is_lost_over_ipv6,
    none_lost,
    settled,
)

DATAGRAMS = 10
"""For each pair: of nine paths that lose one in 20, one shows it 99 times in 100."""

FRAGMENTED = 12000
"""Bytes: more than a jumbo frame, and some fragments on every usual link."""

IDLE = 60
"""Seconds of silence on a connection."""


def target_address(scene: Scene, probe: Probe) -> tuple[str, ...]:
    """Give the address of the server Pod that is asked."""
    found = scene.pod(Role.SERVER, probe.target.node)
    return of_family(found.addresses if found else (), probe.family)[:1]


POD_MTU_CONSISTENT = Rule(
    id="POD-MTU-CONSISTENT",
    requirement="Pods SHOULD have the same MTU on every Node.",
    spec=NETWORK_MODEL,
    mark="rule2",
    level=Level.SHOULD,
    probes=(fact(Role.CLIENT, "mtu", words()),),
    judge=all_equal,
    usually="a Node whose CNI configuration, or whose own link, differs",
)

POD_FRAGMENTS = Rule(
    id="POD-FRAGMENTS",
    requirement=(
        "A datagram above the MTU SHOULD be fragmented and arrive whole, both ways."
    ),
    spec=NETWORK_MODEL,
    mark="rule2",
    level=Level.SHOULD,
    families=FAMILIES,
    paths=PATHS,
    provided=(serves(Role.SERVER),),
    probes=(
        connect(
            Role.CLIENT,
            pod(Role.SERVER),
            protocol=Protocol.UDP,
            settings=(("size", FRAGMENTED),),
        ),
    ),
    judge=all_connected,
    deviations=(
        Deviation(
            "Cilium",
            "before 1.18 Cilium drops the fragments of IPv6: cilium/cilium#26292",
            is_lost_over_ipv6,
            before="1.18",
        ),
    ),
    usually="a firewall or a security group that drops fragments",
)

POD_LOSS = Rule(
    id="POD-LOSS",
    requirement=(
        f"Of {DATAGRAMS} datagrams between each pair of Pods none SHOULD be lost."
    ),
    spec=NETWORK_MODEL,
    mark="rule2",
    level=Level.SHOULD,
    families=FAMILIES,
    paths=PATHS,
    provided=(serves(Role.SERVER),),
    probes=(
        connect(
            Role.CLIENT,
            pod(Role.SERVER),
            protocol=Protocol.UDP,
            settings=(("once", True),),
            count=DATAGRAMS,
        ),
    ),
    judge=none_lost,
    usually="a bad or overloaded link, a full conntrack table, or a policer",
)

POD_PING = Rule(
    id="POD-PING",
    requirement="Every Pod SHOULD answer an ICMP echo of every other Pod.",
    spec=NETWORK_MODEL,
    mark="rule2",
    level=Level.SHOULD,
    families=FAMILIES,
    paths=PATHS,
    provided=(serves(Role.SERVER),),
    probes=(Ask(Role.CLIENT, Op.PING, pod(Role.SERVER), expect=target_address),),
    judge=all_answered,
    usually="a firewall that drops ICMP, and with it what path MTU discovery needs",
)

POD_IDLE_CONNECTION = Rule(
    id="POD-IDLE-CONNECTION",
    requirement=f"A TCP connection SHOULD still carry data after {IDLE} s of silence.",
    spec=NETWORK_MODEL,
    mark="rule2",
    level=Level.SHOULD,
    profile=Profile.FULL,
    provided=(serves(Role.SERVER), nobody_answers(Role.CLIENT)),
    steps=(
        Step(
            asks=tuple(
                replace(ask, settings=(("idle", IDLE),))
                for ask in every_way(
                    connect(Role.CLIENT, pod(Role.SERVER), timeout="idle")
                )
                if ask.protocol is Protocol.TCP
            ),
            until=is_connected,
            budget="idle",
        ),
    ),
    judge=settled(is_connected),
    usually="a stateful firewall or a tunnel that forgets quiet connections",
)

POD_SCTP = Rule(
    id="POD-SCTP",
    requirement="Every Pod MUST reach every other Pod at its Pod IP by SCTP.",
    spec=NETWORK_MODEL,
    mark="rule2",
    level=Level.FEATURE,
    needs=frozenset({Feature.SCTP}),
    protocols=(Protocol.SCTP,),
    families=FAMILIES,
    paths=PATHS,
    # By TCP: a kernel without SCTP is what the rule is to show.
    provided=(serves(Role.SERVER, Protocol.TCP),),
    probes=(connect(Role.CLIENT, pod(Role.SERVER)),),
    judge=all_connected,
    usually="a kernel without SCTP, or a firewall that knows TCP and UDP only",
)

RULES = (
    POD_MTU_CONSISTENT,
    POD_FRAGMENTS,
    POD_LOSS,
    POD_PING,
    POD_IDLE_CONNECTION,
    POD_SCTP,
)
