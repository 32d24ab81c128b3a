"""The subcommands for local clusters: a table of them, each a function or two."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_k8snet import localcluster
from pytest_k8snet.localcluster.progress import for_terminal

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

FAILED = 1
COMPONENTS = (
    "kubelet",
    "kube-proxy",
    "containerd",
    "init",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
)


def add(commands: Subparsers) -> None:
    summary = "make, list, inspect, change and remove local clusters"
    parser = commands.add_parser("cluster", help=summary, description=summary)
    below = parser.add_subparsers(metavar="COMMAND", required=True)
    changing = (_up, _down, _upgrade, _restart, _build)
    for one in (*changing, _list, _status, _logs, _shell, _kubeconfig):
        one(below)


def _command(
    commands: Subparsers,
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    more: str = "",
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.{more and f' {more}'}",
    )
    parser.set_defaults(run=run)
    return parser


def _up(commands: Subparsers) -> None:
    parser = _command(
        commands,
        "up",
        _run_up,
        "make a cluster, and a kubeconfig context for it",
        "The first time, Kubernetes is built from source, which takes some ten "
        "minutes on two processors; later clusters are up in seconds.",
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        help="a kind configuration file, or the name of one in ./clusters",
    )
    parser.add_argument("--name", help="the cluster's name; replaces the file's")
    parser.add_argument(
        "--provider",
        choices=("auto", "kind", "netns"),
        help="who makes it: kind in a container engine, or netns with Linux "
        "namespaces; auto takes kind where it is installed and an engine answers "
        "(default: $K8SNET_PROVIDER, else auto)",
    )
    _add_install(parser)
    parser.add_argument(
        "--retain", action="store_true", help="keep what there is when it fails"
    )
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        metavar="PATH",
        help="where the context goes (default: $KUBECONFIG, else ~/.kube/config)",
    )


def _run_up(options: argparse.Namespace) -> int:
    start = time.monotonic()
    cluster = localcluster.up(
        cluster_file(options.file),
        name=options.name,
        provider=options.provider,
        install_packages=options.install_packages,
        retain=options.retain,
        kubeconfig=options.kubeconfig,
        progress=for_terminal(),
    )
    print(
        f'Cluster "{cluster.name}" is up after {time.monotonic() - start:.1f} s. '
        f"Try:\n  kubectl --context {cluster.context} get nodes\n"
        f"  pytest --k8s-context={cluster.context}\n"
        f"  k8snet cluster down {cluster.name}"
    )
    return 0


def cluster_file(given: str) -> Path:
    """Find a cluster file; a bare name means one in ./clusters."""
    path = Path(given)
    named = Path("clusters") / f"{given}.yaml"
    bare = path.name == given and not path.suffix
    return named if bare and not path.is_file() and named.is_file() else path


def _add_install(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--install-packages",
        action="store_true",
        help="install missing programs (containerd, runc, ...) with the "
        "distribution's package manager",
    )


def _down(commands: Subparsers) -> None:
    parser = _command(
        commands,
        "down",
        _run_down,
        "remove a cluster and all that belongs to it",
        "It may be in any state; removing what is not there is no error.",
    )
    parser.add_argument("name", metavar="NAME")


def _run_down(options: argparse.Namespace) -> int:
    found = localcluster.down(options.name, progress=for_terminal())
    said = f'"{options.name}" is removed.' if found else f'"{options.name}": none here.'
    print(f"Cluster {said}")
    return 0


def _upgrade(commands: Subparsers) -> None:
    parser = _command(
        commands,
        "upgrade",
        _run_upgrade,
        "bring a netns cluster's Nodes to the version of its control plane",
        "One by one, as administrators do without draining: kubelet and kube-proxy are "
        "stopped, replaced and started, and the next Node has to wait until this one "
        "is ready. What was interrupted is finished by the same command. A cluster "
        "file can ask for older Nodes: clusters/upgrade.yaml does.",
    )
    parser.add_argument("name", metavar="NAME")


def _run_upgrade(options: argparse.Namespace) -> int:
    start = time.monotonic()
    version, changed = localcluster.upgrade(options.name, progress=for_terminal())
    said = f"all Nodes run {version} already"
    if changed:
        took = time.monotonic() - start
        said = f"{version} runs on {', '.join(changed)} after {took:.1f} s"
    print(f'Cluster "{options.name}": {said}.')
    return 0


def _restart(commands: Subparsers) -> None:
    parser = _command(
        commands,
        "restart",
        _run_restart,
        "restart a component on a netns cluster's Nodes, one by one",
        "The next Node has to wait until this one is ready.",
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument(
        "component",
        metavar="COMPONENT",
        choices=COMPONENTS[:3],
        help=f"one of {', '.join(COMPONENTS[:3])}",
    )
    parser.add_argument("--node", help="only there; full name, or without NAME-")


def _run_restart(options: argparse.Namespace) -> int:
    start = time.monotonic()
    found = localcluster.restart(
        options.name, options.component, node=options.node, progress=for_terminal()
    )
    print(
        f'Cluster "{options.name}": {options.component} was restarted on '
        f"{', '.join(found)} in {time.monotonic() - start:.1f} s."
    )
    return 0


def _list(commands: Subparsers) -> None:
    _command(commands, "list", _run_list, "list the clusters of this machine")


def _run_list(options: argparse.Namespace) -> int:
    del options
    for name in localcluster.incomplete():
        print(
            f'Cluster "{name}" is incomplete: just being made, or left by an `up` that '
            f"was killed; `k8snet cluster down {name}` removes it.",
            file=sys.stderr,
        )
    rows = [("NAME", "PROVIDER", "NODES", "VERSION", "CONTEXT")]
    rows += [
        (
            cluster.name,
            cluster.provider,
            str(len(cluster.nodes)),
            ",".join(localcluster.versions(cluster)) or "-",
            cluster.context,
        )
        for cluster in localcluster.clusters()
    ]
    if len(rows) == 1:
        print("No local cluster runs here.", file=sys.stderr)
        return 0
    _print_table(rows)
    return 0


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _status(commands: Subparsers) -> None:
    parser = _command(
        commands,
        "status",
        _run_status,
        "show what runs of a cluster",
        "Exits 1 when something that should run does not.",
    )
    parser.add_argument("name", metavar="NAME", nargs="?")


def _run_status(options: argparse.Namespace) -> int:
    found = localcluster.status(options.name)
    print(f"cluster     {found.cluster.name} ({found.cluster.provider})")
    print(f"context     {found.cluster.context}")
    print(f"kubeconfig  {found.cluster.kubeconfig}")
    print(f"API server  {'ready' if found.api_ready else 'does not answer'}\n")
    _print_table(
        [
            ("NODE", "VERSION", "ADDRESSES", "RUNNING", "NOT RUNNING"),
            *(
                (
                    node.name,
                    node.version or "-",
                    ",".join(node.addresses) or "-",
                    ",".join(node.running) or "-",
                    ",".join(node.stopped) or "-",
                )
                for node in found.nodes
            ),
        ]
    )
    return 0 if found.healthy else FAILED


def _logs(commands: Subparsers) -> None:
    parser = _command(commands, "logs", _run_logs, "show what a Node's component says")
    parser.add_argument("node", metavar="NODE", help="full name, or without NAME-")
    parser.add_argument(
        "component",
        metavar="COMPONENT",
        nargs="?",
        default="kubelet",
        choices=COMPONENTS,
        help=f"one of {', '.join(COMPONENTS)} (default: kubelet)",
    )
    _add_name(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="wait for more")


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="the cluster (default: the only one)")


def _run_logs(options: argparse.Namespace) -> int:
    argv = localcluster.logs_command(
        options.name, options.node, options.component, follow=options.follow
    )
    return subprocess.run(argv, check=False).returncode


def _shell(commands: Subparsers) -> None:
    parser = _command(
        commands,
        "shell",
        _run_shell,
        "open a shell on a Node, or run a command there",
        'The command follows "--"; without one it is bash. NODE may be "outside": the '
        "place that is neither Node nor Pod.",
    )
    parser.set_defaults(takes_command=True)
    parser.usage = "k8snet cluster shell [-h] [--name NAME] NODE [-- COMMAND ...]"
    parser.add_argument("node", metavar="NODE", help="full name, or without NAME-")
    _add_name(parser)


def _run_shell(options: argparse.Namespace) -> int:
    cluster = localcluster.require(options.name)
    argv = options.command or ["bash"]
    if options.node == "outside" and cluster.outside:
        argv = [*cluster.outside, *argv]
    else:
        argv = localcluster.node_command(
            cluster.name, options.node, argv, terminal=sys.stdin.isatty()
        )
    return subprocess.run(argv, check=False).returncode


def _build(commands: Subparsers) -> None:
    parser = _command(
        commands,
        "build",
        _run_build,
        "build what netns clusters are made of, and make none",
        "For CI: build once, keep the cache folder. With FILE also what only its "
        "cluster needs: another pod network, add-ons.",
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        help="a cluster file, or the name of one in ./clusters; without it, only what "
        "every cluster needs is built",
    )
    _add_install(parser)


def _run_build(options: argparse.Namespace) -> int:
    localcluster.prepare(
        cluster_file(options.file) if options.file else None,
        progress=for_terminal(),
        install_packages=options.install_packages,
    )
    return 0


def _kubeconfig(commands: Subparsers) -> None:
    parser = _command(
        commands, "kubeconfig", _run_kubeconfig, "print a cluster's own kubeconfig"
    )
    parser.add_argument("name", metavar="NAME", nargs="?")


def _run_kubeconfig(options: argparse.Namespace) -> int:
    print(localcluster.kubeconfig_text(options.name).rstrip())
    return 0
