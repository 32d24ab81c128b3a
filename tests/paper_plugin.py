"""A network plugin on paper: what NetworkPolicies say of one connection.

Written from the API's documentation, and not from our rules: they are held against it,
and against plugins that get one thing wrong.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class End:
    """One end of a connection: a Pod, a Node's own process, or somebody outside.

    Attributes:
        labels: a Pod's; None for what is no Pod.
        namespace: its namespace's name.
        namespace_labels: and labels.
        named: its container ports, (name, protocol) to number.
        node: where it is; "" for what is outside.
        address: where no policy knows more than that.

    """

    labels: Json | None = None
    namespace: str = ""
    namespace_labels: Json | None = None
    named: dict[tuple[str, str], int] | None = None
    node: str = ""
    address: str = ""


class Plugin:
    """Does what the documentation says. Policies are (namespace, object) pairs."""

    def lets(
        self,
        policies: list[tuple[str, Json]],
        source: End,
        target: End,
        protocol: str,
        port: int,
    ) -> bool:
        if source == target or (source.labels is None and source.node == target.node):
            return True
        ways = ((source, target, "Egress", "to"), (target, source, "Ingress", "from"))
        return all(
            self.direction(policies, subject, peer, way, end, (protocol, port, target))
            for subject, peer, way, end in ways
        )

    def direction(
        self,
        policies: list[tuple[str, Json]],
        subject: End,
        peer: End,
        way: str,
        end: str,
        at: tuple[str, int, End],
    ) -> bool:
        applying = [
            policy["spec"]
            for namespace, policy in policies
            if namespace == subject.namespace
            and subject.labels is not None
            and self.matches(policy["spec"]["podSelector"], subject.labels)
            and self.isolates(policy["spec"], way)
        ]
        return not applying or self.together(
            [
                any(
                    self.peers(rule.get(end), peer, subject)
                    and self.ports(rule.get("ports"), *at)
                    for rule in spec.get(way.lower(), ())
                )
                for spec in applying
            ]
        )

    def isolates(self, spec: Json, way: str) -> bool:
        return way in spec["policyTypes"]

    def together(self, said: list[bool]) -> bool:
        return any(said)

    def peers(self, listed: list[Json] | None, peer: End, subject: End) -> bool:
        return not listed or any(self.peer(one, peer, subject) for one in listed)

    def peer(self, one: Json, peer: End, subject: End) -> bool:
        if "ipBlock" in one:
            return peer.labels is None and self.in_block(one["ipBlock"], peer.address)
        if peer.labels is None or peer.namespace_labels is None:
            return False
        if "namespaceSelector" in one:
            home = self.matches(one["namespaceSelector"], peer.namespace_labels)
        else:
            home = self.at_home(peer, subject)
        return home and self.matches(one.get("podSelector", {}), peer.labels)

    def at_home(self, peer: End, subject: End) -> bool:
        return peer.namespace == subject.namespace

    def in_block(self, block: Json, address: str) -> bool:
        def inside(cidr: str) -> bool:
            return ipaddress.ip_address(address) in ipaddress.ip_network(cidr)

        return inside(block["cidr"]) and not any(map(inside, block["except"]))

    def ports(
        self, listed: list[Json] | None, protocol: str, port: int, target: End
    ) -> bool:
        return not listed or any(self.port(o, protocol, port, target) for o in listed)

    def port(self, one: Json, protocol: str, port: int, target: End) -> bool:
        if one["protocol"] != protocol:
            return False
        if isinstance(one["port"], str):
            return (target.named or {}).get((one["port"], protocol)) == port
        last: Any = one.get("endPort", one["port"])
        return bool(one["port"] <= port <= last)

    def matches(self, selector: Json, labels: Json) -> bool:
        return selector.get("matchLabels", {}).items() <= labels.items() and all(
            self.requires(one["key"], one["operator"], one.get("values", ()), labels)
            for one in selector.get("matchExpressions", ())
        )

    def requires(
        self, key: str, operator: str, values: tuple[str, ...], labels: Json
    ) -> bool:
        return {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[operator]
