"""What objects of the API show, in the words of ``Look``. Pure."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from contextlib import suppress
from ipaddress import ip_address, ip_network
from itertools import combinations
from typing import TYPE_CHECKING, Any

from pytest_k8snet.cluster.apply import is_ready, why_not_ready

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_k8snet.model import ClusterFacts

LONGEST = 400
MOST = 5
BACKEND = "flannel.alpha.coreos.com/backend-data"
FORWARD = re.compile(r"^\s*(forward\s+\S+\s+[^{\n]+?)\s*{?\s*$", re.MULTILINE)
Json = dict[str, Any]
Lines = tuple[str, ...]


def conditions(node: Json) -> Lines:
    """Say which conditions of a Node are not as they should be."""
    lines = []
    for one in node.get("status", {}).get("conditions", ()):
        good = "True" if one["type"] == "Ready" else "False"
        if one["status"] != good:
            why = f"{one.get('reason', '')}: {one.get('message', '')}"
            lines.append(f"{one['type']} is {one['status']}: {why}"[:LONGEST])
    return tuple(lines)


def tunnel(node: Json) -> Lines:
    """Give the hardware address that flannel has published for a Node's tunnel."""
    told = node["metadata"].get("annotations", {}).get(BACKEND, "")
    with suppress(ValueError, TypeError, KeyError):
        return (f"mac {json.loads(told)['VtepMAC']}",)
    return ()


def events(found: Iterable[Json], node: str) -> Lines:
    """Give the warnings that a Node's kubelet has about our Pods, each once."""
    lines: dict[str, None] = {}
    for one in found:
        by = one.get("source", {}).get("host") or one.get("reportingInstance")
        if one.get("type") == "Warning" and by == node:
            line = f"{one.get('reason', '')}: {one.get('message', '')}"
            lines[re.sub(r"[0-9a-f]{12,}", "...", line)[:LONGEST]] = None
    return tuple(lines)[:MOST]


def workloads(pods: Iterable[Json], node: str) -> Lines:
    """Say of which DaemonSets a Node lacks a Pod that others have, or that is ready.

    Args:
        pods: of the cluster's own namespace.
        node: the Node's name.

    """
    places: dict[str, dict[str, str]] = defaultdict(dict)
    for pod in pods:
        owners = pod["metadata"].get("ownerReferences", ())
        for owner in (o["name"] for o in owners if o["kind"] == "DaemonSet"):
            there = pod["spec"].get("nodeName", "")
            places[owner][there] = "" if is_ready(pod) else why_not_ready(pod)
    lines = []
    for owner, found in sorted(places.items()):
        if node not in found:
            lines.append(f"{owner} has no Pod on {node}, as on {len(found)} others")
        elif found[node]:
            lines.append(f"{owner} is not ready on {node}: {found[node]}"[:LONGEST])
    return tuple(lines)


def ranges(facts: ClusterFacts, entries: Mapping[str, Sequence[str]]) -> Lines:
    """Say which ranges and addresses clash.

    Args:
        facts: with the Nodes' ranges.
        entries: "address owner" of every Pod, by Node.

    """
    own = {
        n.name: [ip_network(c) for c in n.pod_cidrs]
        for n in (*facts.nodes, *facts.left_out)
    }
    lines = [
        f"{a} and {b} both have addresses of {x}"
        for a, b in combinations(own, 2)
        for x in own[a]
        if any(x.version == y.version and x.overlaps(y) for y in own[b])
    ]
    owners: dict[str, list[str]] = defaultdict(list)
    strays: dict[str, list[str]] = {}
    for node, found in entries.items():
        strays[node] = []
        for address, _, owner in (entry.partition(" ") for entry in found):
            owners[address].append(f"{owner} on {node}")
            inside = any(ip_address(address) in r for r in own.get(node, ()))
            strays[node] += [] if inside else [f"{address} of {owner} on {node}"]
    # Where no Pod anywhere is in its Node's range, somebody else gives addresses.
    if any(entries[node] and not found for node, found in strays.items()):
        lines += [
            f"{found[0]}, whose range is {' '.join(map(str, own.get(node, ())))}"
            for node, found in sorted(strays.items())
            if found
        ]
    shared = [
        f"{address} is the address of {' and of '.join(sorted(who))}"
        for address, who in sorted(owners.items())
        if len(who) > 1
    ]
    return (*lines, *shared[:MOST])


def service(
    name: str,
    services: Iterable[Json],
    slices: Sequence[Json],
    pods: Sequence[Json],
) -> Lines:
    """Say what is in the Services of ours that a name stands for.

    Args:
        name: of a Service, or that which the servers' ranks are appended to.
        services: those of the run.
        slices: of its namespaces.
        pods: of the run.

    """
    lines: list[str] = []
    for one in services:
        own = one["metadata"]["name"]
        if re.fullmatch(rf"{re.escape(name)}(-\d+)?", own):
            lines += (f"{own}: {said}" for said in _service(one, slices, pods))
    return tuple(lines)


def _service(one: Json, slices: Sequence[Json], pods: Sequence[Json]) -> Iterable[str]:
    spec, meta = one["spec"], one["metadata"]
    mine = [
        e
        for s in slices
        if s["metadata"]["namespace"] == meta["namespace"]
        and s["metadata"]["labels"].get("kubernetes.io/service-name") == meta["name"]
        for e in s.get("endpoints") or ()
        if e.get("conditions", {}).get("ready", True)
    ]
    nodes = sorted({e.get("nodeName", "") for e in mine} - {""})
    yield f"{len({e['addresses'][0] for e in mine})} ready endpoints" + (
        f" on {' '.join(nodes)}" if nodes else ""
    )
    for field in ("externalTrafficPolicy", "internalTrafficPolicy"):
        if spec.get(field) == "Local":
            yield f"{field} Local"
    selector = spec.get("selector")
    if not selector:
        return
    selected = [
        p
        for p in pods
        if p["metadata"]["namespace"] == meta["namespace"]
        and selector.items() <= p["metadata"].get("labels", {}).items()
    ]
    own = {a["ip"] for p in pods for a in p.get("status", {}).get("podIPs", ())}
    strange = sorted({a for e in mine for a in e["addresses"]} - own)
    yield from (f"its endpoint {address} is no Pod's" for address in strange[:1])
    words = ",".join(f"{k}={v}" for k, v in sorted(selector.items()))
    yield f"its selector {words} matches {len(selected)} Pods"
    known: set[int | str] = {
        port.get(key, "")
        for p in selected
        for c in p["spec"]["containers"]
        for port in c.get("ports", ())
        for key in ("containerPort", "name")
    }
    for port in spec.get("ports", ()):
        target = port.get("targetPort", port["port"])
        if selected and target not in known:
            yield f"its targetPort {target} is none of its Pods' ports"


def forward(corefile: str, log: str) -> Lines:
    """Say where the cluster DNS asks for other names, and its last errors."""
    lines = [f"forward {' '.join(f.split()[1:])}" for f in FORWARD.findall(corefile)]
    errors = [line for line in log.splitlines() if "[ERROR]" in line]
    return (*lines, *(f"log {line[:LONGEST]}" for line in errors[-MOST:]))
