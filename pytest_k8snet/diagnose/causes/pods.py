"""The causes of Pods that do not come up or are misplaced, and of Nodes without any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_k8snet.diagnose.cause import (
    Cause,
    Confidence,
    Scope,
    Sign,
    anywhere,
    asked_on,
    crossing,
)
from pytest_k8snet.diagnose.causes._traffic import POD, THREADS
from pytest_k8snet.diagnose.evidence import Look, Proof
from pytest_k8snet.diagnose.matrix import RUNS
from pytest_k8snet.diagnose.proofs import (
    KUBELET_UNWELL,
    anything,
    mentions,
    no_plugin_configured,
    of_cluster,
    of_node,
    strays,
    warned,
)
from pytest_k8snet.model import Outcome

if TYPE_CHECKING:
    from pytest_k8snet.diagnose.cause import Place
    from pytest_k8snet.diagnose.matrix import Cell

NOT_RUNNING = (Sign((RUNS,), asked_on, every=False),)
NODE_READY = ("NODE-READY",)
NOT_READY = "^(?:Ready|NetworkUnavailable) is "
UNINITIALIZED = "(?i)cni (?:plugin not |config un)initialized|NetworkPluginNotReady"


def mistaken(cell: Cell, _: Place) -> bool:
    """To a wrong answer, from anywhere: an address of two Pods leads to either."""
    return cell.seen.outcome in {Outcome.CONNECTED, Outcome.ANSWERED}


POD_CAUSES = (
    Cause(
        id="cni-conf-missing",
        layer="CNI",
        scope=Scope.NODE,
        says="{node} has no network plugin configured: it takes no new Pods.",
        # It takes a while until the Node says so; its Pods do at once.
        signs=(Sign((*NODE_READY, RUNS), asked_on, every=False),),
        proofs=(
            Proof(of_node(Look.CONDITIONS), mentions(UNINITIALIZED)),
            warned(UNINITIALIZED),
            Proof(of_node(Look.PLUGINS), no_plugin_configured),
        ),
        unsigned=True,
        next="on {node}: ls /etc/cni/net.d; the Pod of the network plugin there writes "
        "it: its log",
        link=THREADS + "flannel-io/flannel/issues/728",
    ),
    Cause(
        id="ipam-range-exhausted",
        layer="IPAM",
        scope=Scope.NODE,
        says="{node} has no addresses left for new Pods.",
        signs=NOT_RUNNING,
        proofs=(warned("(?i)no IP addresses available|no available ip"),),
        unsigned=True,
        next="on {node}: ls /var/lib/cni/networks/*: are there more files than Pods? "
        "Those of Pods that are gone leaked",
        link=THREADS + "rancher/rancher/issues/14504",
    ),
    Cause(
        id="cni-binary-missing",
        layer="CNI",
        scope=Scope.NODE,
        says="{node} lacks a network plugin that its configuration names.",
        signs=NOT_RUNNING,
        proofs=(warned("(?i)failed to find plugin"),),
        unsigned=True,
        next="on {node}: ls /opt/cni/bin",
        link=THREADS + "rancher/rke2/issues/7981",
    ),
    Cause(
        id="cni-version-mismatch",
        layer="CNI",
        scope=Scope.NODE,
        says="The network plugin of {node} does not know the version of its own "
        "configuration.",
        signs=NOT_RUNNING,
        proofs=(warned("incompatible CNI versions"),),
        unsigned=True,
        next="on {node}: cniVersion in /etc/cni/net.d; CNI_COMMAND=VERSION "
        "/opt/cni/bin/bridge </dev/null",
        link=THREADS + "containerd/containerd/issues/6876",
    ),
    Cause(
        id="cni-bridge-address-mismatch",
        layer="CNI",
        scope=Scope.NODE,
        says="The bridge of {node} has an address of another range than its Pods.",
        signs=NOT_RUNNING,
        proofs=(warned("already has an IP address different from"),),
        unsigned=True,
        next="on {node}: ip addr show cni0; remove it, and it is made anew",
        link=THREADS + "containernetworking/cni/issues/306",
    ),
    Cause(
        id="node-network-unavailable",
        layer="control plane",
        scope=Scope.NODE,
        says="{node} is not ready, or says that its network is not.",
        signs=(Sign(("NODE-READY",), asked_on),),
        breaks=("NODE-READY",),
        proofs=(
            Proof(of_node(Look.CONDITIONS), mentions(NOT_READY)),
            KUBELET_UNWELL,
        ),
        next="kubectl describe node {node}: the conditions and their messages",
        link="https://kubernetes.io/docs/reference/node/node-status/",
    ),
    Cause(
        id="podcidr-duplicate-two-nodes",
        layer="IPAM",
        scope=Scope.NODE,
        says="The Pods of {node} have addresses of another Node's range{only}.",
        signs=(
            Sign(("POD-ADDRESS-IN-RANGE",), asked_on, every=False),
            Sign(POD, crossing, every=False),
        ),
        reaches=mistaken,
        confidence=Confidence.CONFIRMED,
        proofs=(Proof(of_cluster(Look.RANGES), strays),),
        next="on {node}: the range in /etc/cni/net.d, beside that of kubectl get node "
        "{node} -o yaml | grep -A2 podCIDRs",
        link=THREADS + "kubernetes/kubernetes/issues/21458",
    ),
    Cause(
        id="podcidr-duplicate-two-nodes",
        layer="IPAM",
        scope=Scope.CLUSTER,
        says="Running Pods share an address.",
        signs=(Sign(("POD-ADDRESS-UNIQUE",), anywhere, every=False),),
        breaks=("POD-ADDRESS-UNIQUE",),
        proofs=(Proof(of_cluster(Look.RANGES), anything),),
        next="kubectl get pods -A -o wide, by address; kubectl get nodes -o yaml | "
        "grep -A2 podCIDRs: has every Node a range of its own?",
        link=THREADS + "kubernetes/kubernetes/issues/21458",
    ),
)
