"""A tunnel is as it was when its fault is healed: in a namespace, without a cluster."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

import pytest

from pytest_k8snet.faults import overlay
from pytest_k8snet.faults.site import Site, output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.faults.fault import Inject

pytestmark = pytest.mark.cluster

NETNS = f"k8snet-tunnel-{os.getpid()}"
PEER = ("10.203.9.13", "fd00:203:9::13")
LAY = """
ip link set lo up
ip link add eth0 type veth peer name peer
ip link set eth0 up
ip link set peer up
ip addr add 10.203.9.12/24 dev eth0
ip addr add fd00:203:9::12/64 dev eth0 nodad
ip link add flannel.1 type vxlan id 1 dstport 8472 nolearning \
  local 10.203.9.12 dev eth0
ip link add flannel-v6.1 type vxlan id 1 dstport 8472 nolearning \
  local fd00:203:9::12 dev eth0
ip link set flannel.1 up
ip link set flannel-v6.1 up
ip addr add 10.244.1.0/32 dev flannel.1
ip addr add fd00:10:244:1::/128 dev flannel-v6.1 nodad
ip neigh add 10.244.2.0 lladdr 02:00:00:00:00:aa dev flannel.1 nud permanent
ip neigh add fd00:10:244:2:: lladdr 02:00:00:00:00:bb dev flannel-v6.1 nud permanent
bridge fdb add 02:00:00:00:00:aa dev flannel.1 dst 10.203.9.13
bridge fdb add 02:00:00:00:00:bb dev flannel-v6.1 dst fd00:203:9::13
ip route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink
ip route add fd00:10:244:2::/64 via fd00:10:244:2:: dev flannel-v6.1 onlink
"""
LOOK = """
for device in flannel.1 flannel-v6.1; do
  ip -o link show $device | cut -d' ' -f2-20
  ip -o addr show dev $device scope global
  ip neigh show dev $device nud permanent
  ip -4 route show dev $device
  ip -6 route show dev $device | grep -v ^fe80 || true
  bridge fdb show dev $device
done
"""


class Tunnel:
    """Stands for a site of one Node: a network namespace with tunnels as flannel's."""

    def run(self, _: str, *argv: str, text: str = "") -> str:
        return output(["ip", "netns", "exec", NETNS, *argv], text)

    def addresses(self, _: str) -> tuple[str, ...]:
        return PEER

    @property
    def state(self) -> list[str]:
        return sorted(self.run("", "sh", "-ec", LOOK).splitlines())


@pytest.fixture
def tunnel() -> Iterator[Tunnel]:
    output(["ip", "netns", "add", NETNS])
    try:
        made = Tunnel()
        made.run("", "sh", "-ec", LAY)
        yield made
    finally:
        output(["ip", "netns", "del", NETNS])


@pytest.mark.parametrize(
    "inject",
    [
        overlay.other_mac("worker"),
        overlay.wrong_peer("worker", peer="worker2"),
        overlay.down("worker"),
    ],
    ids=["other-mac", "wrong-peer", "down"],
)
def test_a_tunnel_is_as_it_was_when_its_fault_is_healed(
    inject: Inject, tunnel: Tunnel
) -> None:
    before = tunnel.state

    with inject(cast("Site", tunnel)):
        broken = tunnel.state

    assert broken != before
    assert tunnel.state == before
