"""What a Node does for Services, held against what the API says of them. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Json = dict[str, Any]
Lines = tuple[str, ...]

MOST = 3
ADDRESS = re.compile(r"[0-9a-f]*[.:][0-9a-f.:]*[0-9a-f]")
OF_NFT = re.compile(r"goto endpoint-\w+-([^/\s]+/[^/\s]+)/\S*?__([0-9a-f.]+)/\d+")
OF_IPTABLES = re.compile(
    r'-A KUBE-SVC-.*--comment "([^/\s"]+/[^:\s"]+)\S* -> \[?([0-9a-f.:]+?)\]?:\d+"'
)
"""How kube-proxy leads from a Service's chain to an endpoint."""


def addresses(services: Iterable[Json], protocol: str = "") -> dict[str, str]:
    """Give the Services' names, as "namespace/name", by their cluster addresses.

    Args:
        services: of the run.
        protocol: leave out those without such a port.

    """
    return {
        address: _name(one)
        for one in services
        for address in one["spec"].get("clusterIPs") or ()
        if address != "None"
        if not protocol
        or any(p.get("protocol") == protocol for p in one["spec"].get("ports", ()))
    }


def served(
    lines: Iterable[str], services: Sequence[Json], slices: Iterable[Json]
) -> Lines:
    """Say which Services packet filters know, and which they lead to whom they left.

    Args:
        lines: what ``nft list ruleset`` and ``iptables-save`` say.
        services: of the run.
        slices: of its namespaces.

    """
    text = "\n".join(lines)
    known = set(ADDRESS.findall(text))
    wanted = addresses(services)
    missing = sorted(
        f"{_short(n)}, at {a}," for a, n in wanted.items() if a not in known
    )
    if not wanted:
        return ()
    lacking = {name for address, name in wanted.items() if address not in known}
    total = len(set(wanted.values()))
    counted = f"served {total - len(lacking)} of this run's {total} Services"
    return (
        counted + (f": {missing[0]} is missing" if missing else ""),
        *list(_misled(text, set(wanted.values()), slices))[:MOST],
    )


def _misled(text: str, names: set[str], slices: Iterable[Json]) -> Iterator[str]:
    known = _endpoints(slices)
    # The names of nft's chains have dots where an IPv6 address has colons.
    spelled = {name: {_dotted(a) for a in known[name]} for name in names}
    led = {*OF_NFT.findall(text), *OF_IPTABLES.findall(text)}
    for name, address in sorted(led):
        if name in names and _dotted(address) not in spelled[name]:
            yield f"served {_short(name)} by {address}, which is no endpoint of it"


def led_astray(
    flows: Iterable[str], services: Iterable[Json], slices: Iterable[Json]
) -> Lines:
    """Say which flows to a Service are answered by what is no endpoint of it.

    Args:
        flows: "udp SOURCE PORT to ADDRESS PORT by ADDRESS PORT" of a Node.
        services: of the run.
        slices: of its namespaces.

    """
    names, known = addresses(services), _endpoints(slices)
    lines = []
    for flow in flows:
        protocol, source, port, _, to, _, _, by, _ = flow.split()
        name = names.get(to, "")
        # What began before there were rules goes to the address itself, for a while.
        if name and by != to and by not in known[name]:
            lines.append(
                f"{protocol} from {source} port {port} to {_short(name)} at {to} goes "
                f"to {by}, which is no endpoint of it"
            )
    return tuple(lines)[:MOST]


def _endpoints(slices: Iterable[Json]) -> defaultdict[str, set[str]]:
    """Give the addresses that Services lead to, ready or not, by name."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for one in slices:
        meta = one["metadata"]
        service = meta["labels"].get("kubernetes.io/service-name", "")
        for endpoint in one.get("endpoints") or ():
            found[f"{meta['namespace']}/{service}"].update(endpoint["addresses"])
    return found


def _name(service: Json) -> str:
    return f"{service['metadata']['namespace']}/{service['metadata']['name']}"


def _short(name: str) -> str:
    return name.partition("/")[2]


def _dotted(address: str) -> str:
    return address.replace(":", ".")
