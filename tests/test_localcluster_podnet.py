"""The pod network keeps source addresses inside the cluster, and only there."""

from __future__ import annotations

from pytest_k8snet.localcluster import podnet


def test_only_what_leaves_the_cluster_is_masqueraded() -> None:
    rules = podnet.masquerade(
        own=["10.244.1.0/24", "fd00:10:244:1::/64"],
        pods=["10.244.0.0/16", "fd00:10:244::/56"],
        nodes=["10.203.0.11", "fd00:203::11", "10.203.0.12"],
    )

    found = [line.strip() for line in rules.splitlines() if "masquerade" in line]
    assert found == [
        (
            "ip saddr 10.244.1.0/24 ip daddr != "
            '{ 10.244.0.0/16, 10.203.0.11, 10.203.0.12 } oifname "eth0" masquerade'
        ),
        (
            "ip6 saddr fd00:10:244:1::/64 ip6 daddr != "
            '{ fd00:10:244::/56, fd00:203::11 } oifname "eth0" masquerade'
        ),
    ]


def test_the_bridge_serves_hairpins_and_leaves_sources_alone() -> None:
    bridge, portmap = podnet.conflist(["10.244.1.0/24", "fd00::/64"])["plugins"]

    assert bridge["hairpinMode"] is True
    assert bridge["ipMasq"] is False
    assert bridge["ipam"]["ranges"] == [
        [{"subnet": "10.244.1.0/24"}],
        [{"subnet": "fd00::/64"}],
    ]
    assert bridge["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    assert portmap["capabilities"] == {"portMappings": True}
