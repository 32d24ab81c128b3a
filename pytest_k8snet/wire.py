"""From probes to the agent's requests, and from its replies to observations.

Pure. A probe names its ends; here the names become addresses. What cannot be
resolved, because a Pod does not run, is *not probed*: never *blocked*.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from pytest_k8snet.manifests import CA
from pytest_k8snet.model import (
    LEADS_IN,
    TIMEOUTS,
    Actor,
    Family,
    Feature,
    Kind,
    Observation,
    Op,
    Outcome,
    Probe,
    Protocol,
    Role,
)
from pytest_k8snet.rules._world import fill, of_family

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_k8snet.model import EntryState, PodState, Scene

CLOSED_PORT = 9
"""The discard service: nobody listens there, and nobody reuses the number."""

API_SERVER = "kubernetes"


HTTP_PORTS = {"http": 80, "https": 443}
"""Where people's clients go, whatever port a Gateway's listener is said to have."""

PROMISE = {
    Kind.LOAD_BALANCER: Feature.LOAD_BALANCER,
    Kind.INGRESS: Feature.INGRESS,
    Kind.GATEWAY: Feature.GATEWAY,
}
"""Whoever claims the feature claims that such a thing gets an address."""


class Unresolved(Exception):  # noqa: N818 - a fact, not an error
    """A name in a probe stands for nothing: its Pod or Service is not there."""


class Lacking(Unresolved):
    """... because the cluster does not have what nobody claimed that it has."""


def request(probe: Probe, scene: Scene, scale: float = 1.0) -> dict[str, Any]:
    """Give the agent's request for a probe, without its id.

    Args:
        probe: what to ask.
        scene: what the names stand for.
        scale: multiplies every time-out.

    Raises:
        Unresolved: when the source or the target does not run.

    """
    ask = probe.ask
    settings = dict(ask.settings)
    made: dict[str, Any] = {
        "op": str(ask.op),
        "timeout": TIMEOUTS[ask.timeout] * scale,
    }
    if pause := settings.pop("spaced", None):
        # The attempts of one cell, one after the other.
        made["wait"] = probe.number * int(str(pause))
        made["timeout"] += made["wait"]
    if probe.protocol:
        made["protocol"] = str(probe.protocol)
    if probe.family:
        made["family"] = str(probe.family)
    if ask.op is Op.FACT:
        made |= _fact(probe, scene, settings)
    elif ask.op is Op.DNS:
        made |= _question(probe, scene, settings)
    elif ask.op is Op.LOOKUP:
        made["name"] = fill(probe.target.name, scene, probe)
    elif ask.op is Op.BIND:
        made |= {"address": probe.target.name, "port": dial(probe, scene)[1]}
    elif probe.target.kind is Kind.NAME:
        made["name"] = fill(probe.target.name, scene, probe)
        made["port"] = int(fill(probe.target.port, scene, probe))
        made |= settings
    else:
        address, made["port"] = dial(probe, scene)
        made["address" if is_address(address) else "name"] = address
        made |= settings
    return made | _hosts(probe, scene, made)


def _hosts(probe: Probe, scene: Scene, made: Mapping[str, Any]) -> dict[str, Any]:
    """Give the host that is asked for by HTTP or TLS, and who vouches for it."""
    names = made.keys() & {"host", "server_name"}
    more: dict[str, Any] = {key: fill(made[key], scene, probe) for key in names}
    if probe.ask.op is Op.FETCH:
        more["tls"] = probe.target.port == "https"
    if probe.ask.op is Op.TLS:
        ours = probe.target.kind in LEADS_IN
        more |= {"ca": scene.authority} if ours else {"ca_file": CA}
    return more


def observe(
    probe: Probe,
    reply: Mapping[str, Any],
    scene: Scene,
    asked: Mapping[str, Any] | None = None,
    after: float | None = None,
) -> Observation:
    """Put a reply beside what was expected.

    Args:
        probe: what was asked.
        reply: the agent's reply; ``outcome`` is all it must have.
        scene: what the names stand for.
        asked: the request, for the address that was dialled.
        after: seconds since the change that is watched.

    """
    asked = asked or {}
    ask = probe.ask
    dialled = asked.get("address") or asked.get("name") or asked.get("server", "")
    source = scene.pod(probe.source.role, probe.source.node)
    own = tuple(x for x in (reply.get("own"),) if x)
    return Observation(
        probe=probe,
        outcome=Outcome(reply["outcome"]),
        phase=reply.get("phase", ""),
        detail=reply.get("detail", ""),
        seconds=reply.get("seconds", 0.0),
        dialled=f"{dialled} {asked.get('port', '')} {_url(asked)}".strip(),
        answered_by=reply.get("who") or "",
        peer=reply.get("peer") or "",
        local=reply.get("local") or "",
        source_addresses=source.addresses if source else own,
        values=_values(probe, scene, tuple(reply.get("values") or ())),
        expected=ask.expect(scene, probe) if ask.expect else (),
        may_answer=_may_answer(probe, scene),
        after=after,
    )


def _url(asked: Mapping[str, Any]) -> str:
    """Give the host and the path of a request by HTTP; "" for any other."""
    return f"{asked['host']}{asked['path']}" if "host" in asked else ""


def lacking(probe: Probe, scene: Scene, why: str) -> Observation:
    """Give the observation of a probe that this cluster has no use for."""
    return observe(probe, {"outcome": Outcome.UNSUPPORTED, "detail": why}, scene)


def not_probed(probe: Probe, scene: Scene, why: str) -> Observation:
    """Give the observation of a probe that was not executed."""
    return observe(probe, {"outcome": Outcome.NOT_PROBED, "detail": why}, scene)


def dial(probe: Probe, scene: Scene) -> tuple[str, int]:
    """Give the address and port that a probe's target stands for."""
    return _DIAL[probe.target.kind](probe, scene)


def _pod(scene: Scene, role: Role, node: str) -> PodState:
    found = scene.pod(role, node)
    if found is None or not found.addresses:
        raise Unresolved(f"{Actor(role, node)} does not run")
    return found


def _pick(addresses: tuple[str, ...], probe: Probe, what: str) -> str:
    found = of_family(addresses, probe.family)
    if not found:
        raise Unresolved(f"{what} has no {probe.family or 'IP'} address")
    return found[0]


def _port(ports: Mapping[str, int], name: str, what: str) -> int:
    if name not in ports:
        raise Unresolved(f"{what} has no port {name}")
    return ports[name]


def _numbered(probe: Probe) -> str:
    return f"{probe.target.port}/{probe.protocol or Protocol.TCP}"


def _dial_pod(probe: Probe, scene: Scene) -> tuple[str, int]:
    pod = _pod(scene, Role(probe.target.name), probe.target.node)
    address = _pick(pod.addresses, probe, pod.name)
    if probe.target.port == "closed":
        return address, CLOSED_PORT
    return address, _port(pod.ports, _numbered(probe), pod.name)


def _dial_loopback(probe: Probe, scene: Scene) -> tuple[str, int]:
    role, _, name = probe.target.port.rpartition("-")
    owner = _pod(scene, Role(role or probe.source.role), probe.source.node)
    port = _port(owner.ports, f"{name}/{probe.protocol or Protocol.TCP}", owner.name)
    return ("::1" if probe.family is Family.IPV6 else "127.0.0.1"), port


def _dial_cluster_ip(probe: Probe, scene: Scene) -> tuple[str, int]:
    if probe.target.name == API_SERVER:
        return _pick(scene.facts.api_addresses, probe, API_SERVER), 443
    service = scene.service(probe.target.name, probe.target.node)
    if service is None:
        raise Unresolved(f"Service {probe.target.name} does not exist")
    name = f"{probe.target.port}-{probe.protocol or Protocol.TCP}"
    return (
        _pick(service.addresses, probe, service.name),
        _port(service.ports, name, service.name),
    )


def _node_address(probe: Probe, scene: Scene) -> str:
    node = scene.facts.node(probe.target.node)
    return _pick(node.addresses, probe, f"Node {node.name}")


def _dial_node_port(probe: Probe, scene: Scene) -> tuple[str, int]:
    service = scene.service(probe.target.name, probe.target.node)
    if service is None:
        raise Unresolved(f"Service {probe.target.name} does not exist")
    name = f"{probe.target.port}-{probe.protocol or Protocol.TCP}"
    return _node_address(probe, scene), _port(service.node_ports, name, service.name)


def _dial_host_port(probe: Probe, scene: Scene) -> tuple[str, int]:
    _pod(scene, Role.EDGE, probe.target.node)
    return _node_address(probe, scene), scene.host_port


def _dial_node(probe: Probe, scene: Scene) -> tuple[str, int]:
    return _node_address(probe, scene), int(probe.target.port)


def entry(probe: Probe, scene: Scene) -> EntryState:
    """Give what the API says of the target, which leads into the cluster.

    Raises:
        Unresolved: when nothing is known of it.
        Lacking: when it got no address, and nobody claimed that such things do.

    """
    kind, name = entry_key(probe)
    state = scene.entries.get((kind, name))
    if state is None or state.problem:
        why = state.problem if state else "nobody asked the API"
        raise Unresolved(f"{kind} {name}: {why}")
    if not state.addresses and PROMISE[kind] not in scene.facts.claimed:
        why = f"nobody claims {PROMISE[kind]} (--k8snet-features)"
        raise Lacking(f"{kind} {name} got no address, and {why}")
    return state


def is_address(text: str) -> bool:
    """Whether it is an IP address, and not a name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def entry_key(probe: Probe) -> tuple[Kind, str]:
    """Say what the target is in the scene: load balancers have one transport each."""
    kind, name = probe.target.kind, probe.target.name
    if kind is Kind.LOAD_BALANCER:
        name += f"-{probe.protocol or Protocol.TCP}"
    return kind, name


def _enter(probe: Probe, scene: Scene) -> str:
    kind, name = entry_key(probe)
    found = entry(probe, scene).addresses
    numbers = tuple(a for a in found if is_address(a))
    names = tuple(a for a in found if not is_address(a))
    if not found:
        raise Unresolved(f"{kind} {name} has no address")
    # A family of two is no promise: a load balancer may know the other one only.
    usable = of_family(numbers, probe.family) or names
    if not usable:
        raise Lacking(f"{kind} {name} has no {probe.family} address")
    return usable[0]


def _dial_load_balancer(probe: Probe, scene: Scene) -> tuple[str, int]:
    _, own = entry_key(probe)
    service = scene.service(own)
    if service is None:
        raise Unresolved(f"Service {own} does not exist")
    name = f"{probe.target.port}-{probe.protocol or Protocol.TCP}"
    return _enter(probe, scene), _port(service.ports, name, service.name)


def _dial_http(probe: Probe, scene: Scene) -> tuple[str, int]:
    return _enter(probe, scene), HTTP_PORTS[probe.target.port]


_DIAL: Mapping[Kind, Callable[[Probe, Scene], tuple[str, int]]] = {
    Kind.POD: _dial_pod,
    Kind.LOOPBACK: _dial_loopback,
    Kind.CLUSTER_IP: _dial_cluster_ip,
    Kind.NODE_PORT: _dial_node_port,
    Kind.HOST_PORT: _dial_host_port,
    Kind.NODE: _dial_node,
    Kind.LOAD_BALANCER: _dial_load_balancer,
    Kind.INGRESS: _dial_http,
    Kind.GATEWAY: _dial_http,
}


_PART_OF = {
    "search-cluster": "search",
    "ndots": "options",
    "cluster-dns": "nameservers",
}
"""Facts that the rules compare only a part of: see ``_values``."""


def _fact(probe: Probe, scene: Scene, settings: Mapping[str, Any]) -> dict[str, Any]:
    made = {"field": _PART_OF.get(settings["field"], settings["field"])}
    if "name" in settings:
        made["name"] = fill(settings["name"], scene, probe)
    return made


def _question(
    probe: Probe, scene: Scene, settings: Mapping[str, Any]
) -> dict[str, Any]:
    record = settings["type"] or ("AAAA" if probe.family is Family.IPV6 else "A")
    made: dict[str, Any] = {
        "type": record,
        "transport": str(probe.protocol or Protocol.UDP),
        "name": fill(probe.ask.to.name, scene, probe),
    }
    if settings.get("whole"):
        made["whole"] = True
    if probe.target.kind is Kind.DNS_SERVER:
        made["server"] = probe.target.name
    if reverse := settings.get("reverse"):
        made["reverse"] = True
        made["name"] = _pick(_reversed(reverse, probe, scene), probe, made["name"])
    return made


def _reversed(what: str, probe: Probe, scene: Scene) -> tuple[str, ...]:
    if what == "pod":
        return _pod(scene, Role(probe.ask.to.name), probe.target.node).addresses
    service = scene.service(probe.ask.to.name)
    return service.addresses if service else ()


def _values(probe: Probe, scene: Scene, values: tuple[str, ...]) -> tuple[str, ...]:
    """Keep the part of an answer that the rule compares."""
    settings = dict(probe.ask.settings)
    if settings.get("srv"):
        return tuple(v.split(" ", 2)[-1] for v in values)
    field = settings.get("field")
    if field == "search-cluster":
        return values[:3]
    if field == "ndots":
        return tuple(v[len("ndots:") :] for v in values if v.startswith("ndots:"))
    if field == "cluster-dns":
        return ("yes" if set(values) & set(scene.facts.dns_addresses) else "no",)
    if field == "nameservers":
        return values[:1]
    return values


def _may_answer(probe: Probe, scene: Scene) -> tuple[str, ...]:
    if probe.ask.who:
        return probe.ask.who(scene, probe)
    if probe.target.kind is Kind.POD:
        return (str(Actor(Role(probe.target.name), probe.target.node)),)
    return ()
