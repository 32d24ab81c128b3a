"""A Node's container runtime that does wrong to some of the Pods it starts."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_k8snet.faults.netfilter import ARRIVING, LEAVING, on_node, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.faults.fault import Inject
    from pytest_k8snet.faults.site import Site

WRAPPER = Path(__file__).with_name("runc_wrapper.py")
FOLDER = "fault"
"""Where the wrapper looks for what to do, in a Node's state folder, which is /mnt."""

ARRIVALS = "type nat hook prerouting priority dstnat; policy accept;"
DEPARTURES = "type nat hook output priority -100; policy accept;"
MASKED = "type nat hook postrouting priority srcnat; policy accept;"
CHOSEN = "32768-60999"
"""Ports that the kernel chooses: the Node's loopback server has one of them."""
LOCALNET = "/proc/sys/net/ipv4/conf/all/route_localnet"


def meddled(node: str, pod: str, container: str, what: str, script: str = "") -> Inject:
    """Meddle with a container of the Pods that a Node starts from now on.

    Args:
        node: the Node.
        pod: what the Pods' names begin with.
        container: its name.
        what: is done, in a word.
        script: run in the Pod's network namespace before the container starts;
            without it the container gets a network namespace of its own.

    """
    wanted = {"pod": pod, "container": container, "script": script}

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        own = site.node(node)
        file = own.folder / FOLDER / f"{pod}{container}-{what}.json"
        program = site.run(node, "sh", "-c", "command -v runc").strip()
        first = not file.parent.exists()
        try:
            if first:
                own.write(f"{FOLDER}/wrapper", WRAPPER.read_text(), 0o755)
                site.run(node, "cp", program, f"/mnt/{FOLDER}/runc")
                site.run(node, "mount", "--bind", f"/mnt/{FOLDER}/wrapper", program)
            file.write_text(json.dumps(wanted))
            yield
        finally:
            file.unlink()
            if first:
                # It may be running at this moment.
                site.run(node, "umount", "--lazy", program)
                site.run(node, "rm", "-r", f"/mnt/{FOLDER}")

    return inject


def apart(node: str, pod: str, container: str) -> Inject:
    """Give a container of some Pods a network namespace of its own."""
    return meddled(node, pod, container, "apart")


def hosts_file_changed(node: str, pod: str) -> Inject:
    """Write other names than their own into the /etc/hosts of some Pods."""
    script = f'sed -i "s/{pod}/stranger-/g" "$HOSTS"'
    return meddled(node, pod, "main", "hosts", script)


def second_address(node: str, pod: str, port: int) -> Inject:
    """Give some Pods another address, and lead there what is for one of their ports."""
    rules = "\n".join(
        f'iifname "eth0" meta l4proto {{ tcp, udp }} th dport {port} dnat {ip} to {to}'
        for ip, to in (("ip", "192.0.2.1"), ("ip6", "2001:db8::1"))
    )
    script = (
        "ip addr add 192.0.2.1/32 dev eth0\n"
        "ip addr add 2001:db8::1/128 dev eth0 nodad\n"
    ) + _nft("address", ARRIVALS, rules)
    return meddled(node, pod, "main", "address", script)


def loopback_published(node: str, pod: str, port: int) -> Inject:
    """Lead what is for a port of some Pods to their loopback."""
    rules = f'iifname "eth0" tcp dport {port} dnat ip to 127.0.0.1'
    script = f"echo 1 >{LOCALNET}\n" + _nft("published", ARRIVALS, rules)
    return meddled(node, pod, "main", "published", script)


def loopback_refuses(node: str, pod: str, port: int) -> Inject:
    """Refuse what comes to a port of some Pods over their loopback."""
    rules = f"ip daddr 127.0.0.1 tcp dport {port} reject with tcp reset\n"
    rules += f"ip6 daddr ::1 tcp dport {port} reject with tcp reset"
    return meddled(node, pod, "main", "refuses", _nft("refuses", ARRIVING, rules))


def isolated(pod: str) -> Inject:
    """Let some Pods reach nobody, and nobody them, on every Node."""
    script = _nft("in", ARRIVING, 'iifname "eth0" meta l4proto { tcp, udp } drop')
    script += _nft("out", LEAVING, 'oifname "eth0" meta l4proto { tcp, udp } drop')

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        with ExitStack() as stack:
            for node in site.nodes:
                one = meddled(node, pod, "main", "isolated", script)
                stack.enter_context(one(site))
            yield

    return inject


def node_loopback_shown(node: str, pod: str) -> Inject:
    """Lead what some Pods send to their loopback to that of their Node."""
    script = (
        f"echo 1 >{LOCALNET}\n"
        "gateway=$(ip -4 route show default | cut -d' ' -f3)\n"
        + _nft(
            "away",
            DEPARTURES,
            f"ip daddr 127.0.0.1 tcp dport {CHOSEN} dnat ip to $gateway",
        )
        + _nft("masked", MASKED, 'oifname "eth0" ip saddr 127.0.0.1 masquerade')
    )
    away = meddled(node, pod, "main", "away", script)

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        (pods,) = (r for r in site.pod_ranges(node) if ":" not in r)
        gateway = ip_network(pods)[1]
        here = f"ip daddr {gateway} tcp dport {CHOSEN} dnat ip to 127.0.0.1"
        arriving = on_node(node, "loopback", ARRIVALS, f'iifname "cni0" {here}')
        before = site.run(node, "cat", LOCALNET)
        with arriving(site), away(site):
            try:
                site.run(node, "tee", LOCALNET, text="1")
                yield
            finally:
                site.run(node, "tee", LOCALNET, text=before)

    return inject


def _nft(what: str, chain: str, rules: str) -> str:
    """Write the lines of a script that make a table; it may use variables."""
    return f"nft -f - <<.\n{table(f'inet k8snet-fault-{what}', chain, rules)}.\n"
