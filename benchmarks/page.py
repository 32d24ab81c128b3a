"""How long do people wait for report.html? Writes it, and opens it in Chromium.

    uv run python -m benchmarks.page --nodes 100 --runs 5

The run is one on paper, of rules about every pair of Nodes, one Node cut off. Prints
the seconds until the page has loaded, each time in a browser that has opened none
before: minimum, median and maximum.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from browser import PROGRAM, opened
from recordings import on_paper, rules_of

from pytest_k8snet.model import Profile
from pytest_k8snet.report.html import html
from pytest_k8snet.report.recording import recorded

OF_PAIRS = {"POD-TO-POD", "SERVICE-CLUSTER-IP"}


def main() -> None:
    """Measure, and print a line for the page and one for the browser."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page")
    parser.add_argument("--nodes", type=int, default=100, metavar="N")
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    given = parser.parse_args()
    if PROGRAM is None:
        raise SystemExit("error: no Chromium is installed: install one first")
    rules = [r for r in rules_of(Profile.DEFAULT) if r.id in OF_PAIRS]
    run = recorded(on_paper(given.nodes, rules, cut_off="node-0000"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.html"
        started = time.perf_counter()
        file.write_text(html(run), encoding="utf-8")
        written = time.perf_counter() - started
        print(f"{given.nodes} Nodes: {file.stat().st_size} bytes in {written:.1f} s")
        took = []
        for number in range(given.runs):
            profile = Path(folder) / str(number)
            profile.mkdir()
            with opened(profile) as browser:
                took.append(browser.open(file))
    least, middle, most = min(took), statistics.median(took), max(took)
    print(f"{given.runs} x opened: {least:.2f}  {middle:.2f}  {most:.2f} s")


if __name__ == "__main__":
    main()
