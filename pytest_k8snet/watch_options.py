"""What ``k8snet watch`` is told on its command line."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pytest_k8snet.defaults import DEFAULT_IMAGE
from pytest_k8snet.outages import PROFILES, Way


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.usage = (
        "k8snet watch --context NAME [--profile NAME] [--budget KIND=SECONDS] ...\n"
        "                    [--report DIR] [--duration SECONDS] "
        "[--linger SECONDS] [-- COMMAND ...]"
    )
    parser.add_argument(
        "--context",
        required=True,
        metavar="NAME",
        help="kubeconfig context of the cluster; the current context is never used",
    )
    parser.add_argument(
        "--profile",
        choices=tuple(PROFILES),
        default="upgrade",
        help="how long each kind of path may be out at a time: upgrade allows what a "
        "rolling upgrade of a healthy cluster costs "
        f"({', '.join(f'{k}={v:g}s' for k, v in PROFILES['upgrade'].items())}), strict "
        "allows nothing (default: upgrade)",
    )
    parser.add_argument(
        "--budget",
        action="append",
        type=budget,
        default=[],
        metavar="KIND=SECONDS",
        help=f"allow another time for one kind of path ({', '.join(Way)}), such as "
        "service=2s; may be repeated",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="folder for watch.json, which is written anew each second",
    )
    parser.add_argument(
        "--duration",
        type=seconds,
        metavar="SECONDS",
        help="watch for this long, such as 60s; with a COMMAND, end both then",
    )
    parser.add_argument(
        "--linger",
        type=seconds,
        default=3.0,
        metavar="SECONDS",
        help="watch on for this long after COMMAND has ended: what it did may show "
        "only then (default: 3)",
    )
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="kubeconfig file (default: $KUBECONFIG, then ~/.kube/config)",
    )
    parser.add_argument(
        "--image",
        default=os.environ.get("K8SNET_IMAGE"),
        help="image of the agents: any with Python 3.9 or later as python3 (default: "
        f"$K8SNET_IMAGE, then {DEFAULT_IMAGE}, on a local cluster its own)",
    )
    parser.add_argument(
        "--nodes", default="", metavar="SELECTOR", help="label selector of the Nodes"
    )


def seconds(text: str) -> float:
    """Read a number of seconds; a trailing ``s`` is allowed."""
    try:
        value = float(text.removesuffix("s"))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(
            f"{text!r} should be a number of seconds, such as 2s or 0.5"
        )
    return value


def budget(text: str) -> tuple[Way, float]:
    """Read one budget: ``KIND=SECONDS``."""
    kind, equals, value = text.partition("=")
    if not equals or kind not in set(Way):
        raise argparse.ArgumentTypeError(
            f"{text!r} should be KIND=SECONDS, with one of {', '.join(Way)}"
        )
    return Way(kind), seconds(value)
