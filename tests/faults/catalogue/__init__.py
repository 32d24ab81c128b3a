"""What must be seen of each fault, and which are made together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.catalogue import (
    kernel,
    network,
    objects,
    pods,
    policies,
    services,
)

if TYPE_CHECKING:
    from faults.expected import Expected, Round

EXPECTED: tuple[Expected, ...] = (
    *network.EXPECTED,
    *pods.EXPECTED,
    *objects.EXPECTED,
    *policies.EXPECTED,
)

BY_THEMSELVES: tuple[Expected, ...] = (
    *kernel.EXPECTED,
    *services.EXPECTED,
    *pods.BY_THEMSELVES,
)
"""What must be seen of faults that only the benchmark makes, each by itself."""

ALONE = (
    network.ROUTE_MISSING,
    network.RULES_MISSING,
    network.LARGE_PACKETS_LOST,
    network.DNS_REPLICA_SILENT,
    network.CUT_OFF,
    pods.OWN_PODS_BLOCKED,
    pods.KUBELET_CLOSED,
    pods.RANGE_EXHAUSTED,
    network.SCTP_DROPPED,
    objects.API_ELSEWHERE,
    *policies.EXPECTED,
)
"""Faults of which much goes wrong, or which need arguments of their own."""

ROUNDS: tuple[Round, ...] = (
    *((fault,) for fault in ALONE),
    (
        network.MASQUERADED,
        network.HAIRPIN_OFF,
        network.ECHOES_DROPPED,
        pods.CONTAINERS_APART,
        pods.HOST_PORTS_UNMAPPED,
        pods.WRONG_CLUSTER_DNS,
        pods.NODE_ASKS_THE_CLUSTER,
        pods.ADDRESS_SHARED,
        objects.POLICIES_UNDONE,
        objects.FIELDS_CHANGED,
    ),
    (
        network.OTHER_MTU,
        network.FRAGMENTS_DROPPED,
        network.DEAF_TO_PODS,
        pods.LOOPBACK_PUBLISHED,
        pods.NODE_LOOPBACK_SHOWN,
        pods.LOOPBACK_REFUSES,
        pods.SECOND_ADDRESS,
        pods.HOSTS_FILE_CHANGED,
        pods.ADDRESS_FOREIGN,
        objects.SELECTS_ANOTHER,
        objects.REFUSALS_SWALLOWED,
        objects.NETWORK_UNAVAILABLE,
        objects.DNS_ELSEWHERE,
    ),
    (
        network.QUIET_FORGOTTEN,
        pods.GIVEN_AWAY_EARLY,
        objects.ONE_BACKEND,
        objects.NAME_NOT_UPDATED,
    ),
)
"""Few, because each is a run of the suite; in each, every rule has one reason to fail
on any one Node."""
