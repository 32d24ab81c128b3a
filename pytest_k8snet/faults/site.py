"""The place where faults are made: a local cluster's Nodes, processes and API."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from pytest_k8snet import localcluster
from pytest_k8snet.cluster.api import Api
from pytest_k8snet.cluster.errors import NotFound
from pytest_k8snet.localcluster import cgroups, node_agents, state
from pytest_k8snet.localcluster.commands import run
from pytest_k8snet.localcluster.errors import LocalClusterError, TimedOutError
from pytest_k8snet.localcluster.node import Node, nodes
from pytest_k8snet.manifests import MANAGED_BY, US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_k8snet.localcluster import Cluster

POD_RANGES = ("10.244.0.0/16", "fd00:10:244::/56")
DNS = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"
DNS_PODS = "/api/v1/namespaces/kube-system/pods"
LOOK_EVERY = 0.05
"""Seconds between two looks of a saboteur; a Service takes seconds to be asked."""


@dataclass(frozen=True)
class Site:
    """A running netns cluster. Nodes are named without the cluster's name."""

    cluster: Cluster
    api: Api

    @classmethod
    def of(cls, cluster: Cluster) -> Site:
        return cls(cluster, Api.connect(cluster.context, str(cluster.kubeconfig)))

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(self.short(name) for name in self.cluster.nodes)

    def short(self, node: str) -> str:
        return node.removeprefix(f"{self.cluster.name}-")

    def full(self, node: str) -> str:
        return f"{self.cluster.name}-{node}"

    # ------------------------------------------------------------------- on a Node

    def run(self, node: str, *argv: str, text: str = "") -> str:
        """Run a command on a Node; give what it writes."""
        command = localcluster.node_command(self.cluster.name, node, argv)
        return output(command, text)

    def nft(self, node: str, rules: str) -> None:
        self.run(node, "nft", "-f", "-", text=rules)

    def processes(self, node: str, program: str) -> list[int]:
        """Find a program's processes on a Node, as this machine numbers them."""
        members = cgroups.processes(self.cluster.name, self.full(node))
        return sorted(pid for pid in members if argv_of(pid)[:1] == [program])

    def agents(self, node: str, role: str) -> list[int]:
        """Find our agents of one role on a Node: those that serve, not control."""
        members = cgroups.processes(self.cluster.name, self.full(node))
        wanted = f"{role}@{self.full(node)}"
        return sorted(
            pid for pid in members if "serve" in argv_of(pid) and wanted in argv_of(pid)
        )

    def controls(self, node: str, role: str) -> list[int]:
        """Find the ends of our control streams at the agents of one role."""
        members = cgroups.processes(self.cluster.name, self.full(node))
        wanted = f"{role}@{self.full(node)}"
        return sorted(
            pid
            for pid in members
            if "control" in argv_of(pid) and wanted in argv_of(pid)
        )

    def running(self, node: str, program: str) -> list[int]:
        """Find a program's processes on a Node; there must be one."""
        found = self.processes(node, program)
        if not found:
            raise LocalClusterError(f"{program} does not run on {node}")
        return found

    def kill(self, node: str, program: str) -> list[int]:
        """Kill a program on a Node; give its processes."""
        found = self.running(node, program)
        for pid in found:
            end(pid)
        return found

    @contextmanager
    def stopped(self, node: str, program: str) -> Iterator[None]:
        """Have a program on a Node stop where it is."""
        found = self.running(node, program)
        # What entered the Node for it stops itself once it sees its child stopped, and
        # nobody would continue that: then it would never notice the child's end. So it
        # has to have stopped before.
        both = [*map(parent_of, found), *found]
        try:
            for pid in both:
                stop(pid)
            yield
        finally:
            for pid in reversed(both):
                end(pid, signal.SIGCONT)

    def end(self, node: str, program: str) -> None:
        """Kill a program on a Node, and wait until it has let go of all it held.

        A process loses its command line before its sockets are closed.
        """
        found = self.kill(node, program)
        wait_until(
            lambda: not any(Path(f"/proc/{pid}").exists() for pid in found),
            f"the end of {program} on {node}",
            10,
        )

    def node(self, name: str) -> Node:
        record = state.load(self.cluster.name)
        assert record is not None
        return next(n for n in nodes(record) if n.record.short == name)

    def start_kubelet(self, node: str) -> None:
        node_agents.start_kubelet(self.node(node))

    def start_proxy(self, node: str) -> None:
        node_agents.start_proxy(self.node(node))

    def pod_ranges(self, node: str) -> list[str]:
        found = self.api.get(f"/api/v1/nodes/{self.full(node)}")
        return list(found["spec"]["podCIDRs"])

    def addresses(self, node: str) -> list[str]:
        return list(self.node(node).record.addresses)

    def ready(self, node: str) -> bool:
        found = self.api.get(f"/api/v1/nodes/{self.full(node)}")
        conditions = found["status"]["conditions"]
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    # ----------------------------------------------------------------- cluster DNS

    def dns_replicas(self) -> list[dict[str, Any]]:
        """Give the Pods of the cluster DNS that stay, in the order of their addresses.

        One that was replaced goes on answering for a few seconds, and is gone then.
        """
        pods = self.api.list(DNS_PODS, labelSelector="k8s-app=kube-dns")
        staying = [
            p
            for p in pods
            if p["status"].get("podIP") and "deletionTimestamp" not in p["metadata"]
        ]
        return sorted(staying, key=lambda p: str(p["status"]["podIP"]))

    def gather_dns(self, node: str) -> None:
        """Have all replicas of the cluster DNS on one Node.

        What happens to another Node then leaves name resolution alone.
        """
        place = {"kubernetes.io/hostname": self.full(node)}
        self.api.patch(DNS, {"spec": {"template": {"spec": {"nodeSelector": place}}}})

        def gathered() -> bool:
            pods = self.api.list(DNS_PODS, labelSelector="k8s-app=kube-dns")
            return len(pods) > 1 and all(
                p["spec"].get("nodeName") == self.full(node)
                and any(
                    c["type"] == "Ready" and c["status"] == "True"
                    for c in p["status"].get("conditions", ())
                )
                for p in pods
            )

        wait_until(gathered, "the cluster DNS has moved", 60)

    def restart_dns(self) -> None:
        """Start the replicas of the cluster DNS anew, one after the other."""
        when = {"k8snet.io/restarted": str(time.time())}
        template = {"metadata": {"annotations": when}}
        made = self.api.patch(DNS, {"spec": {"template": template}})

        def restarted() -> bool:
            status = self.api.get(DNS)["status"]
            seen = status.get("observedGeneration", 0) >= made["metadata"]["generation"]
            counts = [status.get(f"{c}Replicas") for c in ("updated", "available")]
            return bool(seen and counts == [status.get("replicas")] * 2)

        wait_until(restarted, "the cluster DNS has started anew", 60)

    # ------------------------------------------------------------------ objects, gone

    def remove(self, path: str) -> None:
        """Delete an object at once, and wait until it is gone."""

        def gone() -> bool:
            try:
                self.api.get(path)
            except NotFound:
                return True
            return False

        self.api.delete(path, gracePeriodSeconds=0)
        wait_until(gone, f"{path} is gone", 30)

    # --------------------------------------------------------------- what we leave

    def namespaces(self) -> list[str]:
        """Name the namespaces that our runs have in the cluster."""
        found = self.api.list("/api/v1/namespaces", labelSelector=f"{MANAGED_BY}={US}")
        return sorted(n["metadata"]["name"] for n in found)

    def pods(self) -> list[dict[str, Any]]:
        """Give the Pods of our runs."""
        return self.api.list("/api/v1/pods", labelSelector=f"{MANAGED_BY}={US}")

    def wait_until_clean(self, seconds: float = 30.0) -> None:
        wait_until(lambda: not self.namespaces(), "our namespaces are gone", seconds)


def argv_of(pid: int) -> list[str]:
    """Give a process's command line, its program without the folder."""
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return []
    program, *arguments = argv.split("\0")
    return [program.rpartition("/")[2], *arguments]


def fields_of(pid: int) -> list[str]:
    """Give what the kernel says of a process, its state first: proc_pid_stat(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def parent_of(pid: int) -> int:
    """Give the process that waits for another one."""
    return int(fields_of(pid)[1])


def output(argv: Sequence[str], text: str = "") -> str:
    """Run a command; give what it writes."""
    return run(argv, text=text, timeout=30).stdout


def wait_until(holds: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait for something to become true; fail with its name."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimedOutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)


@contextmanager
def meanwhile(site: Site, look: Callable[[], bool]) -> Iterator[None]:
    """Call LOOK again and again beside what goes on, until it gives True."""
    over = Event()

    def work() -> None:
        while not over.wait(LOOK_EVERY):
            if look():
                return

    site.wait_until_clean()  # of a run before, whose objects are going
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(work)
        try:
            yield
        finally:
            over.set()
            looking.result()


def stop(pid: int) -> None:
    """Stop a process, and wait until it has."""
    end(pid, signal.SIGSTOP)
    wait_until(lambda: fields_of(pid)[0] == "T", f"process {pid} has stopped", 10)


def end(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may be gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
