"""The subcommand that breaks a local cluster, for people who want to see it broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001


def add(commands: Subparsers) -> None:
    summary = "break a local cluster, and heal it"
    more = "Only local clusters on Linux namespaces, never any other."
    parser = commands.add_parser(
        "fault", help=summary, description=f"Break a local cluster, and heal it. {more}"
    )
    below = parser.add_subparsers(metavar="COMMAND", required=True)
    listing = below.add_parser(
        "list",
        help="list the faults, and where they are in force",
        description="List the faults: on which Nodes of which cluster file, what each "
        "breaks, and the clusters where it is in force.",
    )
    listing.set_defaults(run=_run_list)
    inject = below.add_parser(
        "inject",
        help="make a fault, and leave it in force",
        description=f"Make a fault, and leave it in force until it is healed. {more}",
    )
    inject.add_argument("fault", metavar="NAME", help="see k8snet fault list")
    inject.set_defaults(run=_run_inject)
    heal = below.add_parser(
        "heal",
        help="heal a fault, or all that are in force",
        description="Heal a fault, or all that are in force.",
    )
    heal.add_argument("fault", metavar="NAME", nargs="?")
    heal.set_defaults(run=_run_heal)
    for one in (inject, heal):
        one.add_argument("--cluster", metavar="CLUSTER", required=True)


def _run_list(options: argparse.Namespace) -> int:
    from pytest_k8snet import localcluster  # noqa: PLC0415 - only when asked
    from pytest_k8snet.faults import holder  # noqa: PLC0415 - only when asked
    from pytest_k8snet.faults.catalogue import FAULTS  # noqa: PLC0415 - only when asked
    from pytest_k8snet.report.terminal import columns  # noqa: PLC0415 - only when asked

    del options
    found = [c for c in localcluster.clusters() if c.provider == "netns"]
    where = {cluster.name: holder.in_force(cluster) for cluster in found}
    rows = [("FAULT", "CLUSTER FILE", "NODES", "IN FORCE ON", "WHAT IT BREAKS")]
    rows += [
        (
            fault.id,
            fault.cluster,
            ",".join(fault.nodes) or "-",
            ",".join(name for name, held in where.items() if fault in held) or "-",
            fault.breaks,
        )
        for fault in FAULTS
    ]
    print(columns(rows), end="")
    return 0


def _run_inject(options: argparse.Namespace) -> int:
    from pytest_k8snet.faults import holder  # noqa: PLC0415 - only when asked

    fault, cluster = holder.find(options.fault), holder.breakable(options.cluster)
    holder.inject(fault, cluster)
    where = f" ({', '.join(fault.nodes)})" if fault.nodes else ""
    print(
        f'"{cluster.name}" is broken: {fault.breaks}{where}\n'
        f"Heal it: k8snet fault heal {fault} --cluster {cluster.name}"
    )
    return 0


def _run_heal(options: argparse.Namespace) -> int:
    from pytest_k8snet.faults import holder  # noqa: PLC0415 - only when asked

    named = [holder.find(options.fault)] if options.fault else []
    cluster = holder.breakable(options.cluster)
    named = named or holder.in_force(cluster)
    for fault in named:
        holder.heal(fault, cluster)
        print(f'{fault} is healed on "{cluster.name}".')
    if not named:
        print(f'Nothing is in force on "{cluster.name}".')
    return 0
