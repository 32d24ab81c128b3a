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
    ("route-missing-podcidr", "vxlan-udp-blocked-one-way"),
    ("ip-forward-off", "forward-policy-drop"),
    ("kube-proxy-dead-stale-rules", "kube-proxy-rules-missing", "udp-stale-conntrack"),
    ("etp-local-blackhole", "nodeport-node-firewall"),
)
"""Sets whose faults hit about the same cells."""
