"""How fast is the suite? Runs it several times and prints a table and JSON.

    uv run python benchmarks/suite.py --context k8snet-three-node --runs 5

``--drop NODE`` also measures it with that Node's cross-node Pod traffic dropped, in
pairs with the healthy run (local clusters on namespaces only). ``--select`` passes an
expression to ``-k``. Everything is measured from outside, process start included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_k8snet import localcluster

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE = "inet k8snet_benchmark"
LIMIT = 600
"""Seconds after which a run is given up."""


def run_once(context: str, select: str, extra: list[str]) -> dict[str, Any]:
    """Run the suite in a process of its own, and give its figures."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "-q", f"--k8s-context={context}"]
        command += [f"--k8snet-report={folder}", "-p", "no:cacheprovider", *extra]
        if select:
            command += ["-k", select]
        started = time.perf_counter()
        before = os.times()
        ended = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        wall = time.perf_counter() - started
        after = os.times()
        report = Path(folder) / "report.json"
        if not report.exists():
            raise SystemExit(f"the run wrote no report:\n{ended.stdout}{ended.stderr}")
        document = json.loads(report.read_text())
    figures = document["figures"]
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    probing = figures["phases"].get("probe", 0.0) + figures["settle"]
    rules: dict[str, set[str]] = {}
    for check in document["checks"]:
        rules.setdefault(check["rule"], set()).add(check["result"])
    return {
        "wall": wall,
        "total": figures["total"],
        **{f"phase {name}": took for name, took in figures["phases"].items()},
        "probes": figures["probes"],
        "probes/s": figures["probes"] / probing if probing else 0.0,
        "API requests": figures["api_requests"],
        "RSS MiB": figures["controller_rss_mib"],
        "controller CPU s": used,
        "exit code": ended.returncode,
        "results": document["results"],
        "rules": rules,
    }


@contextmanager
def dropped(context: str, node: str) -> Iterator[None]:
    """Drop what crosses to and from the Pods of a Node, and heal it at the end."""
    cluster = localcluster.find(context)
    if cluster is None or cluster.provider != "netns":
        raise SystemExit(f"--drop needs a local cluster on namespaces, not {context}")

    def nft(text: str) -> None:
        argv = localcluster.node_command(cluster.name, node, ["nft", "-f", "-"])
        subprocess.run(argv, input=text, text=True, check=True)

    pods = pod_ranges(context, node)
    rules = [f"add table {TABLE}"]
    rules += [f"add chain {TABLE} cut {{ type filter hook forward priority -300; }}"]
    for one in pods:
        family = "ip6" if ":" in one else "ip"
        rules += [f'add rule {TABLE} cut iifname "eth0" {family} daddr {one} drop']
        rules += [f'add rule {TABLE} cut oifname "eth0" {family} saddr {one} drop']
    nft("\n".join(rules))
    try:
        yield
    finally:
        nft(f"delete table {TABLE}")


def pod_ranges(context: str, node: str) -> list[str]:
    """Give a Node's pod ranges."""
    from pytest_k8snet.cluster.api import Api  # noqa: PLC0415 - imports kubernetes

    api = Api.connect(context)
    try:
        found: list[str] = api.get(f"/api/v1/nodes/{node}")["spec"]["podCIDRs"]
    finally:
        api.close()
    return found


def spread(values: list[float]) -> dict[str, float]:
    """Give minimum, median and maximum."""
    return {
        "min": round(min(values), 3),
        "median": round(statistics.median(values), 3),
        "max": round(max(values), 3),
    }


def summarize(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Give the spread of every figure over all runs."""
    numbers = [k for k, v in runs[0].items() if isinstance(v, int | float)]
    return {
        "runs": len(runs),
        "results": runs[-1]["results"],
        "figures": {k: spread([r.get(k, 0.0) for r in runs]) for k in numbers},
    }


def table(name: str, summary: dict[str, Any]) -> str:
    """Write a summary as text."""
    results = ", ".join(f"{n} {word}" for word, n in summary["results"].items())
    lines = [f"{name}: {summary['runs']} runs, {results}"]
    lines += [f"  {'':20} {'min':>10} {'median':>10} {'max':>10}"]
    for key, one in summary["figures"].items():
        lines.append(
            f"  {key:20} {one['min']:10.2f} {one['median']:10.2f} {one['max']:10.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table, then the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--context", required=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--select", default="", help="as pytest's -k")
    parser.add_argument("--drop", metavar="NODE", help="also with this Node cut off")
    parser.add_argument("--json", type=Path, help="write the JSON here, too")
    parser.add_argument("extra", nargs="*", help="further pytest options, after --")
    given = parser.parse_args()
    kinds: dict[str, list[dict[str, Any]]] = {"healthy": []}
    for number in range(given.runs):
        print(f"run {number + 1} of {given.runs}", file=sys.stderr, flush=True)
        kinds["healthy"].append(run_once(given.context, given.select, given.extra))
        if given.drop:
            with dropped(given.context, given.drop):
                cut = run_once(given.context, given.select, given.extra)
            kinds.setdefault(f"{given.drop} cut off", []).append(cut)
    summaries = {name: summarize(runs) for name, runs in kinds.items()}
    for name, summary in summaries.items():
        print(table(name, summary))
    if given.drop:
        pairs = zip(*kinds.values(), strict=True)
        ratios = spread([cut["wall"] / healthy["wall"] for healthy, cut in pairs])
        summaries["cut off / healthy"] = ratios
        print(f"cut off / healthy, wall: {ratios}")
    text = json.dumps(summaries, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
