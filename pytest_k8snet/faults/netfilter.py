"""Packet filters and address translation that should not be there."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_k8snet.faults.site import POD_RANGES, output
from pytest_k8snet.localcluster.errors import LocalClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_k8snet.faults.fault import Inject
    from pytest_k8snet.faults.site import Site

# Also when it is not there; nft learnt "destroy" later than distributions have it.
REMOVE = "add table {0}\ndelete table {0}\n"
FAMILY = {False: "ip", True: "ip6"}

# Before conntrack: also what was let through before the fault is dropped.
EARLY = "type filter hook prerouting priority raw; policy accept;"
# After conntrack, and before what is dialled is translated, which is at -100.
UNLED = "type filter hook prerouting priority mangle; policy accept;"
# Before conntrack puts fragments together, which is at -400.
EARLIEST = "type filter hook prerouting priority -450; policy accept;"
ARRIVING = "type filter hook input priority filter; policy accept;"
PASSING = "type filter hook forward priority -10; policy accept;"
LEAVING = "type filter hook output priority filter; policy accept;"
# Before the cluster's own translation.
TRANSLATION = "type nat hook prerouting priority dstnat - 5; policy accept;"
HIDING = "type nat hook postrouting priority srcnat - 5; policy accept;"

PINNED = "inet k8snet-fault-pinned"
# From 20053 the suite asks when it keeps a port; 80 and 8080 are the ports of its
# Services, and of what is behind them.
PINS = """
map ip-first { type ipv4_addr : ipv4_addr; size 65535; flags dynamic; }
chain ip-learn {
  type filter hook postrouting priority filter; policy accept;
  udp sport 20053 ct status dnat ct direction original \\
    add @ip-first { ip saddr : ip daddr }
}
chain ip-pin {
  type nat hook prerouting priority dstnat - 5; policy accept;
  udp sport 20053 udp dport 80 dnat ip to ip saddr map @ip-first:8080
}
"""

FORGETFUL = "inet k8snet-fault-forgetful"
# Each direction of a connection is known from its first packet on, and by each one.
QUIET = """
set ip-alive {{
  type ipv4_addr . inet_service . ipv4_addr . inet_service
  size 65535; flags dynamic,timeout; timeout {seconds}s;
}}
chain ip-quiet {{
  type filter hook forward priority -10; policy accept;
  meta nfproto != ipv4 accept
  ip saddr != {pods} accept
  ip daddr != {pods} accept
  meta l4proto != tcp accept
  tcp flags & (syn | rst) != 0 update @ip-alive {{ {flow} }} accept
  {flow} @ip-alive update @ip-alive {{ {flow} }} accept
  drop
}}
"""
FLOW = "ip saddr . tcp sport . ip daddr . tcp dport"


def _in_ipv6(text: str) -> str:
    """Write for IPv6 what is written for IPv4."""
    return re.sub(r"\bip\b", "ip6", text.replace("ipv4", "ipv6"))


def _for_pods(rule: str) -> str:
    """Write a rule once for each family; ``{ip}`` and ``{pods}`` are filled in."""
    return "\n".join(
        rule.format(ip=FAMILY[":" in pods], pods=pods) for pods in POD_RANGES
    )


def table(name: str, chain: str, rules: str) -> str:
    """Write a table of one chain."""
    return f"table {name} {{\nchain fault {{\n{chain}\n{rules}\n}}\n}}\n"


def on_node(node: str, what: str, chain: str, rules: str) -> Inject:
    """Have a table of one chain on a Node."""
    name = f"inet k8snet-fault-{what}"
    return with_table(node, name, table(name, chain, rules))


def with_table(node: str, name: str, text: str) -> Inject:
    """Have a table on a Node; what is added to it meanwhile goes with it."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        try:
            site.nft(node, text)
            yield
        finally:
            site.nft(node, REMOVE.format(name))

    return inject


def led_to(address: str, other: str) -> str:
    """Write the rule that leads what comes for one address to another one."""
    family = FAMILY[":" in address]
    return f"{family} daddr {address} dnat {family} to {other}"


def dropped_for(
    node: str, what: str, chain: str, rule: str, whose: Callable[[Site], list[str]]
) -> Inject:
    """Drop on a Node what a rule matches; ``{address}`` is each of some addresses.

    The rule begins behind the family: with "saddr {address}", say.
    """

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        rules = "\n".join(
            f"{FAMILY[':' in address]} {rule.format(address=address)} drop"
            for address in whose(site)
        )
        with on_node(node, what, chain, rules)(site):
            yield

    return inject


def no_pod_traffic(node: str) -> Inject:
    """Drop what arrives at a Node from or for Pods; its own traffic goes on."""
    rules = _for_pods('iifname "eth0" {ip} daddr {pods} drop')
    rules += "\n" + _for_pods('iifname "eth0" {ip} saddr {pods} drop')
    return on_node(node, "cut-off", EARLY, rules)


def large_packets_lost(node: str, most: int) -> Inject:
    """Drop what arrives at a Node for its Pods and is too large; nobody is told."""
    rules = _for_pods(f'iifname "eth0" {{ip}} daddr {{pods}} meta length > {most} drop')
    return on_node(node, "large", EARLY, rules)


def protocol_dropped(node: str, protocol: str) -> Inject:
    """Drop what arrives at a Node, or comes from its Pods, over a protocol."""
    return on_node(node, protocol, EARLY, f"meta l4proto {protocol} drop")


def echoes_dropped(node: str) -> Inject:
    """Drop the ICMP echoes that arrive at a Node for its Pods."""
    rules = 'iifname "eth0" icmp type echo-request drop\n'
    rules += 'iifname "eth0" icmpv6 type echo-request drop'
    return on_node(node, "echoes", EARLY, rules)


def fragments_dropped(node: str) -> Inject:
    """Drop the fragments that arrive at a Node, before they are put together."""
    rules = 'iifname "eth0" ip frag-off & 0x1fff != 0 drop\n'
    rules += 'iifname "eth0" exthdr frag exists drop'
    return on_node(node, "fragments", EARLIEST, rules)


def deaf_to_pods(node: str) -> Inject:
    """Drop what Pods send to a Node's kubelet, and to what checks its health."""
    rules = _for_pods("{ip} saddr {pods} tcp dport {{ 10250, 30000-32767 }} drop")
    return on_node(node, "deaf", ARRIVING, rules)


def kubelet_closed(node: str) -> Inject:
    """Refuse every connection to a Node's kubelet."""
    rules = "tcp dport 10250 reject with tcp reset"
    return on_node(node, "kubelet", ARRIVING, rules)


def own_pods_blocked(node: str) -> Inject:
    """Drop what a Node itself, its kubelet included, would begin with its Pods."""
    return on_node(node, "own-pods", LEAVING, 'oifname "cni0" ct state new drop')


def refusals_swallowed(node: str) -> Inject:
    """Drop the ICMP errors by which a Node refuses what its Pods ask for."""
    rules = 'oifname "cni0" icmp type destination-unreachable icmp code 3 drop\n'
    rules += 'oifname "cni0" icmpv6 type destination-unreachable icmpv6 code 4 drop'
    return on_node(node, "refusals", LEAVING, rules)


def pods_masqueraded(node: str) -> Inject:
    """Hide the addresses of a Node's Pods from other Nodes' Pods and processes."""
    rules = _for_pods('oifname "eth0" {ip} saddr {pods} masquerade')
    return on_node(node, "masquerade", HIDING, rules)


def a_port_of_pods_closed(node: str) -> Inject:
    """Drop what a Node passes on to a port of its Pods, where few look for rules."""
    rule = "daddr {address} tcp dport 8080"
    return dropped_for(node, "hidden", PASSING, rule, lambda s: s.pod_ranges(node))


def packets_lost(node: str) -> Inject:
    """Drop one in five of the packets that arrive at a Node."""
    rules = 'iifname "eth0" numgen random mod 5 == 0 drop'
    return on_node(node, "lossy", EARLY, rules)


def node_ports_closed(node: str) -> Inject:
    """Drop what would begin at a Node's node ports, before it is led anywhere.

    Answers come back to such ports, too: what is masqueraded may be given any.
    """
    ports = "meta l4proto { tcp, udp } th dport 30000-32767"
    rules = f'iifname "eth0" ct state new {ports} drop'
    return on_node(node, "node-ports", UNLED, rules)


def udp_clients_pinned(node: str) -> Inject:
    """Send UDP clients that keep their port to the first backend that they had.

    It is what an entry does that kube-proxy overlooks when it forgets connections: a
    new one has the same answer.
    """
    return with_table(node, PINNED, f"table {PINNED} {{\n{PINS}{_in_ipv6(PINS)}}}\n")


def quiet_connections_forgotten(node: str, seconds: int) -> Inject:
    """Drop what Pods say to each other over TCP after that many seconds of silence."""
    chains = ""
    for pods in POD_RANGES:
        text = QUIET.format(pods=pods, seconds=seconds, flow=FLOW)
        chains += _in_ipv6(text) if ":" in pods else text
    return with_table(node, FORGETFUL, f"table {FORGETFUL} {{\n{chains}}}\n")


def first_dns_replica_silent(site: Site) -> Iterator[None]:
    """Drop what one replica of the cluster DNS is asked; it stays ready."""
    rules = "udp dport 53 drop\ntcp dport 53 drop"
    with _in_dns_replicas(site, site.dns_replicas()[:1], ARRIVING, rules):
        yield


def dns_without_api(site: Site) -> Iterator[None]:
    """Drop what the API server tells the cluster DNS; it goes on with what it knows."""
    replicas = site.dns_replicas()
    with _in_dns_replicas(site, replicas, ARRIVING, "tcp sport { 443, 6443 } drop"):
        yield


@contextmanager
def _in_dns_replicas(
    site: Site, replicas: list[dict[str, Any]], chain: str, rules: str
) -> Iterator[None]:
    """Have a table of one chain in replicas of the cluster DNS."""
    name = "inet k8snet-fault"
    inside = [
        _netns_of(
            site,
            site.short(pod["spec"]["nodeName"]),
            "coredns",
            pod["status"]["podIP"],
        )
        for pod in replicas
    ]
    try:
        for enter in inside:
            output([*enter, "nft", "-f", "-"], table(name, chain, rules))
        yield
    finally:
        for enter in inside:
            output([*enter, "nft", "-f", "-"], REMOVE.format(name))


def _netns_of(site: Site, node: str, program: str, address: str) -> list[str]:
    """Give the argv prefix that enters the network namespace of a Pod."""
    for pid in site.processes(node, program):
        enter = ["nsenter", "-t", str(pid), "-n"]
        if re.search(rf"\b{re.escape(address)}/", output([*enter, "ip", "addr"])):
            return enter
    raise LocalClusterError(f"no {program} at {address} on {node}")
