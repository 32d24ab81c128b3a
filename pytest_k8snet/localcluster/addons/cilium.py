"""Cilium: Pods connected by eBPF, and NetworkPolicy enforced. kube-proxy stays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_k8snet.localcluster import userland
from pytest_k8snet.localcluster.component import Component, Edit, Source
from pytest_k8snet.localcluster.images import USERS, Files, Image, below

from .addon import Addon
from .chart import HELM, render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.localcluster.build import Binaries
    from pytest_k8snet.localcluster.objects import Object

    from .addon import Setting

# The newest that is complete in the module proxy.
VERSION = "1.15.19"
MODULE = "github.com/cilium/cilium"
AGENT_IMAGE = f"quay.io/cilium/cilium:v{VERSION}"
OPERATOR_IMAGE = f"quay.io/cilium/operator-generic:v{VERSION}"
NAMESPACE = "kube-system"

# What the chart's init containers and the agent run.
TOOLS = (
    *("bash", "basename", "cat", "chmod", "cp", "dirname", "grep", "ls", "mkdir"),
    *("mount", "mv", "nsenter", "rm", "sed", "sh", "sleep", "touch", "umount", "uname"),
    *("ip", "ipset", "tc"),
)
# The agent reads which modules are loaded; a kernel may have none, nor the list.
NO_MODULES = Edit(
    MODULE,
    "pkg/datapath/linux/modules/modules_linux.go",
    "\tfModules, err := os.Open(loadedModulesFilepath)\n",
    "\tfModules, err := os.Open(loadedModulesFilepath)\n"
    "\tif errors.Is(err, os.ErrNotExist) {\n\t\treturn nil, nil\n\t}\n",
)
COMPONENTS = (
    HELM,
    Component(
        "cilium",
        tuple(
            f"{MODULE}/{package}"
            for package in (
                "cilium-dbg",
                "daemon",
                "operator",
                "plugins/cilium-cni",
                "tools/mount",
            )
        ),
        f"-s -w -X {MODULE}/pkg/version.ciliumVersion={VERSION}",
        tags="ipam_provider_operator",
        edits=(NO_MODULES,),
        sources=tuple(
            Source(MODULE, path)
            for path in (
                "bpf",
                "images/cilium/init-container.sh",
                "install/kubernetes/cilium",
                "plugins/cilium-cni/cni-uninstall.sh",
                "plugins/cilium-cni/install-plugin.sh",
            )
        ),
    ),
)

# The agent asks which options the kernel was built with, and only to warn: an answer
# that has them all spares the image a program, and each start its seconds of probing.
_OPTIONS = (
    *("BPF", "BPF_SYSCALL", "NET_SCH_INGRESS", "NET_CLS_BPF", "NET_CLS_ACT"),
    *("BPF_JIT", "HAVE_EBPF_JIT", "CGROUP_BPF", "LWTUNNEL_BPF", "BPF_EVENTS"),
)
_FEATURES = json.dumps({"system_config": {f"CONFIG_{name}": "y" for name in _OPTIONS}})
STAND_INS = {
    "usr/local/bin/bpftool": f"#!/bin/bash\necho '{_FEATURES}'\n",
    # A Pod is to load nothing into the machine's kernel.
    "usr/local/bin/modprobe": "#!/bin/bash\nexit 0\n",
    # What newer compilers warn of is an error to the agent.
    "usr/local/bin/clang": '#!/bin/bash\nexec /usr/bin/clang "$@" -w\n',
}


def images(binaries: Binaries) -> dict[str, Image]:
    """Make the images of the chart: the agent compiles, and needs a compiler."""
    built = binaries["cilium"]
    tools = userland.joined(userland.programs((*TOOLS, "clang")), userland.iptables())
    programs = {
        "usr/bin/cilium-agent": built / "daemon",
        "usr/bin/cilium-dbg": built / "cilium-dbg",
        "usr/bin/cilium-mount": built / "mount",
        "opt/cni/bin/cilium-cni": built / "cilium-cni",
        "cni/loopback": binaries["cni"] / "loopback",
        "cni-uninstall.sh": built / "cni-uninstall.sh",
        "init-container.sh": built / "init-container.sh",
        "install-plugin.sh": built / "install-plugin.sh",
    }
    stand_ins = {path: text.encode() for path, text in STAND_INS.items()}
    agent = Files(
        {
            **tools.files,
            **below("var/lib/cilium/bpf", built / "bpf"),
            **USERS,
            **programs,
            **stand_ins,
        },
        tools.links,
        ("dev", "host", "proc", "root", "run", "sys", "tmp", "var/tmp"),
        executable=frozenset({*programs, *stand_ins}),
    )
    operator = "usr/bin/cilium-operator-generic"
    return {
        AGENT_IMAGE: Image(
            agent, {"Cmd": ["/usr/bin/cilium-agent"], "Env": userland.PATH}
        ),
        OPERATOR_IMAGE: Image(
            Files({operator: built / "operator", **USERS}, {}, ("tmp",)),
            {"Cmd": [f"/{operator}"], "Env": [*userland.PATH, "GOPS_CONFIG_DIR=/tmp"]},
        ),
    }


def steps(setting: Setting) -> Iterator[list[Object]]:
    """Yield the objects of upstream's own chart."""
    binaries = setting.binaries
    yield render(binaries["cilium"] / "cilium", NAMESPACE, values(setting), binaries)


def values(setting: Setting) -> dict[str, Any]:
    """Return the chart's values: a pod network with NetworkPolicy, and nothing else."""
    off = {"enabled": False}
    by_tag = {"useDigest": False}
    return {
        "image": by_tag,
        "operator": {"replicas": 1, "image": by_tag},
        "ipam": {"mode": "kubernetes"},
        "ipv4": {"enabled": "ipv4" in setting.spec.families},
        "ipv6": {"enabled": "ipv6" in setting.spec.families},
        "routingMode": "tunnel",
        "tunnelProtocol": "vxlan",
        "kubeProxyReplacement": "false",
        # What it leaves to others when it does not replace kube-proxy.
        "cni": {"chainingMode": "portmap"},
        "sessionAffinity": True,
        # Programs attached to a cgroup would be attached to the machine's.
        "socketLB": off,
        "bpf": {"masquerade": False},
        "l7Proxy": False,
        "envoy": off,
        "hubble": off,
        "healthChecking": False,
        "endpointHealthChecking": off,
        "l2NeighDiscovery": off,
        # Else a label that changes counts only after five seconds.
        "identityChangeGracePeriod": "1s",
        # It would want systemd.
        "sysctlfix": off,
    }


CILIUM = Addon(
    name="cilium",
    components=COMPONENTS,
    images=images,
    steps=steps,
    programs=("clang", "ipset", "tc"),
)
