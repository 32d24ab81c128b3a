"""The NetworkPolicies of a lab, as plain dicts. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_k8snet.manifests import LABEL, labels, ranges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_k8snet.manifests import LabSpec
    from pytest_k8snet.model import Allow, Peer, Policy, Selector


def network_policy(
    spec: LabSpec, wanted: Policy, outside: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Make a NetworkPolicy; OUTSIDE are the addresses of the outside."""
    subject = () if wanted.all_pods else ((LABEL + "role", "=", (str(wanted.role),)),)
    body: dict[str, Any] = {"podSelector": _selector(subject), "policyTypes": []}
    directions = (("Ingress", "from", wanted.ingress), ("Egress", "to", wanted.egress))
    for direction, end, allowed in directions:
        if allowed is not None:
            body["policyTypes"].append(direction)
            made = (_allow(one, end, outside) for one in allowed)
            body[direction.lower()] = [one for one in made if one is not None]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": wanted.name, "labels": labels(spec)},
        "spec": body,
    }


def _allow(wanted: Allow, end: str, outside: tuple[str, ...]) -> dict[str, Any] | None:
    made: dict[str, Any] = {}
    if wanted.peers:
        made[end] = [one for peer in wanted.peers for one in _peers(peer, outside)]
        if not made[end]:
            # An empty list would allow everybody.
            return None
    if wanted.ports:
        made["ports"] = [
            {"protocol": protocol.upper(), "port": port}
            | ({"endPort": last} if last else {})
            for protocol, port, last in wanted.ports
        ]
    return made


def _peers(wanted: Peer, outside: tuple[str, ...]) -> list[dict[str, Any]]:
    if wanted.blocks:
        but = ranges(wanted.but, outside)
        return [
            {"ipBlock": {"cidr": cidr, "except": _same_family(cidr, but)}}
            for cidr in ranges(wanted.blocks, outside)
        ]
    selectors = {"podSelector": wanted.pods, "namespaceSelector": wanted.namespaces}
    return [{k: _selector(s) for k, s in selectors.items() if s is not None}]


def _same_family(cidr: str, others: list[str]) -> list[str]:
    return [other for other in others if (":" in other) == (":" in cidr)]


def _selector(wanted: Selector) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, operator, values in wanted:
        if operator == "=":
            made.setdefault("matchLabels", {})[key] = values[0]
        else:
            one = {"key": key, "operator": operator}
            more = {"values": list(values)} if values else {}
            made.setdefault("matchExpressions", []).append(one | more)
    return made


def allows_nothing(item: dict[str, Any]) -> bool:
    """Whether a policy isolates in a direction in which it allows nothing at all."""
    body = item["spec"]
    return any(not body.get(way.lower()) for way in body.get("policyTypes", ()))


def interference(found: Sequence[dict[str, Any]]) -> str:
    """Say which policies of others are in the way; "" when there are none."""
    if not found:
        return ""
    places = (one["metadata"] for one in found)
    names = ", ".join(sorted(f"{m['namespace']}/{m['name']}" for m in places))
    return f"policies that are not ours apply to our Pods ({names})"
