"""The faults by which the suite is measured, and those that are hard to tell apart."""

from __future__ import annotations

BENCHMARK = (
    "route-missing-podcidr",
    "ip-forward-off",
    "forward-policy-drop",
    "bridge-nf-call-off",
    "hairpin-off",
    "mtu-path-blackhole",
    "masq-pod-to-pod",
    "conntrack-table-full",
    "vxlan-udp-blocked-one-way",
    "vxlan-stale-vtep-mac",
    "cni-conf-missing",
    "ipam-range-exhausted",
    "podcidr-duplicate-two-nodes",
    "kube-proxy-dead-stale-rules",
    "kube-proxy-rules-missing",
    "udp-stale-conntrack",
    "svc-selector-mismatch",
    "etp-local-blackhole",
    "nodeport-node-firewall",
    "coredns-one-replica-bad",
    "coredns-upstream-broken",
    "kubelet-clusterdns-wrong-one-node",
    "netpol-not-enforced",
    "node-to-local-pod-blocked",
    "ingress-tls-bad-cert",
)
"""One for each layer, and for each kind of pattern."""

CONFUSABLE = (
    ("route-missing-podcidr", "vxlan-udp-blocked-one-way", "vxlan-fdb-wrong-vtep"),
    ("forward-policy-drop", "nft-hidden-drop"),
    ("ip-forward-off", "vxlan-device-down"),
    ("kube-proxy-dead-stale-rules", "endpointslice-orphan", "coredns-stale-api"),
    ("coredns-one-replica-bad", "link-lossy"),
    ("etp-local-blackhole", "nodeport-node-firewall"),
)
"""Sets whose faults hit about the same cells."""

LIKE_THEM = tuple(
    fault for faults in CONFUSABLE for fault in faults if fault not in BENCHMARK
)
"""What is made only to be told apart from a fault of the benchmark."""

AT_ONCE = (
    ("kubelet-clusterdns-wrong-one-node", "hairpin-off"),
    ("route-missing-podcidr", "nodeport-node-firewall"),
)
"""Pairs of faults on different Nodes: each must get a finding of its own."""
