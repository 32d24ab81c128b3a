"""What the terminal shows: header, plan, and the summary. Pure: values to text."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

from pytest_k8snet.diagnose import UNKNOWN
from pytest_k8snet.model import Word
from pytest_k8snet.report.figures import (
    baseline_lines,
    by_area,
    finding_label,
    tally,
)
from pytest_k8snet.result import by_place, describe
from pytest_k8snet.service_manifests import by_transport

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_k8snet.diagnose import Finding
    from pytest_k8snet.manifests import LabSpec
    from pytest_k8snet.model import ClusterFacts
    from pytest_k8snet.plan import Plan
    from pytest_k8snet.report.schema import BaselineDocument, FindingDocument
    from pytest_k8snet.result import Result

    Findings = Sequence[Finding] | Sequence[FindingDocument]

MOST_NAMED = 4
MOST_LISTED = 12


def header(facts: ClusterFacts, origin: str = "") -> list[str]:
    """Name what is tested, for pytest's header."""
    nodes = ", ".join(n.name for n in facts.nodes[:MOST_NAMED])
    if (more := len(facts.nodes) - MOST_NAMED) > 0:
        nodes += f" and {more} more"
    plugin = f"{facts.network_plugin} {facts.network_plugin_version}".strip()
    families = " and ".join(facts.families)
    by = f" (from {origin})" if origin.startswith("$") or " in " in origin else ""
    lines = [
        f"k8snet: context {facts.context}{by}, {facts.server}, {facts.version}",
        f"k8snet: network plugin {plugin}, {facts.service_proxy}, {families}",
        f"k8snet: {len(facts.nodes)} Nodes: {nodes}",
    ]
    lines += [f"k8snet: left out: {n.name}: {n.problem}" for n in facts.left_out]
    return lines


def summary(
    results: Sequence[Result],
    figures: Mapping[str, Any],
    *,
    problems: Mapping[str, str],
    findings: Findings = (),
    width: int = 80,
    colour: bool = False,
) -> str:
    """Write the table per area, then the failures by place, then the times."""
    out = _table(results, width, colour=colour)
    out += findings_text(findings, results) + ("\n" if findings else "")
    explained = {c for one in findings if one.cause != UNKNOWN for c in one.checks}
    out += _failures([r for r in results if r.check.id not in explained])
    out += _inconclusive(results, problems)
    phases = ", ".join(f"{k} {v:.1f} s" for k, v in figures["phases"].items())
    out += (
        f"settled in {figures['settle']:.2f} s"
        + (f" but for {figures['unsettled']} cells" if figures["unsettled"] else "")
        + f", {figures['total']:.1f} s in all ({phases})\n"
        f"{figures['probes']} probes, {figures['api_requests']} API requests, "
        f"{figures['controller_rss_mib']:.0f} MiB\n"
    )
    return out


def _table(results: Iterable[Result], width: int, *, colour: bool) -> str:
    from rich.console import Console  # noqa: PLC0415 - only at the end of a run
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("area")
    for word in ("pass", "fail", "inconclusive", "n/a", "known"):
        table.add_column(word, justify="right")
    table.add_column("cells", justify="right")
    table.add_column("slowest", justify="right")
    for name, mine in by_area(results).items():
        table.add_row(name, *_row(mine))
    text = StringIO()
    Console(file=text, width=max(width, 80), force_terminal=colour).print(table)
    return text.getvalue()


def _row(mine: Sequence[Result]) -> list[str]:
    counted = tally(mine)
    words = counted.words
    red = "[red]{}[/red]" if words[Word.FAIL] else "{}"
    yellow = "[yellow]{}[/yellow]" if words[Word.INCONCLUSIVE] else "{}"
    return [
        str(words[Word.PASS]),
        red.format(words[Word.FAIL]),
        yellow.format(words[Word.INCONCLUSIVE]),
        str(words[Word.NOT_APPLICABLE]),
        str(words[Word.KNOWN_DEVIATION]),
        f"{counted.passed}/{counted.cells}",
        f"{counted.slowest * 1000:.0f} ms",
    ]


def _failures(results: Sequence[Result]) -> str:
    out = ""
    for place, failed in by_place(results).items():
        out += f"\nfailed {place}:\n"
        for one in failed[:MOST_LISTED]:
            cells = f"{one.failed_cells} of {one.cells} cells"
            out += f"  {one.check.id}  {cells}\n"
        if (more := len(failed) - MOST_LISTED) > 0:
            out += f"  ... and {more} more checks\n"
        first = failed[0]
        out += f"  for example  {describe(first.verdict.violations[0])}\n"
        if first.reproduce:
            out += f"  reproduce    {first.reproduce}\n"
    return out + ("\n" if out else "")


def _inconclusive(results: Sequence[Result], problems: Mapping[str, str]) -> str:
    out = "".join(
        f"not running: {who}: {why}\n" for who, why in sorted(problems.items())
    )
    reasons: dict[str, list[str]] = {}
    for one in results:
        if one.word is Word.INCONCLUSIVE:
            reasons.setdefault(one.reason, []).append(one.check.id)
    for reason, ids in list(reasons.items())[:MOST_LISTED]:
        more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
        out += f"inconclusive: {ids[0]}{more}: {reason}\n"
    return out + ("\n" if out else "")


def findings_text(findings: Findings, results: Sequence[Result] = ()) -> str:
    """Say why things fail: the finding that explains most first."""
    failed = {r.check.id: r for r in results if r.word is Word.FAIL}
    out = ""
    for one in findings[:MOST_LISTED]:
        out += f"\nfinding: {one.sentence} {finding_label(one)}".rstrip() + "\n"
        out += "".join(f"  {line}\n" for line in one.evidence)
        out += f"  next: {one.next}\n" if one.next else ""
        out += f"  see: {one.link}\n" if one.link else ""
        if one.cause != UNKNOWN:  # else they are listed by place
            out += _explained([failed[c] for c in one.checks if c in failed])
    if (more := len(findings) - MOST_LISTED) > 0:
        out += f"... and {more} more findings\n"
    return out


def _explained(failed: Sequence[Result]) -> str:
    """Name the rules that one cause turned red, and a command that asks again."""
    rules = list(dict.fromkeys(r.check.rule.id for r in failed))
    if not rules:
        return ""
    more = f" and {len(rules) - MOST_LISTED} more" if len(rules) > MOST_LISTED else ""
    out = f"  red: {len(failed)} checks of {', '.join(rules[:MOST_LISTED])}{more}\n"
    reproduce = next((r.reproduce for r in failed if r.reproduce), "")
    return out + (f"  reproduce: {reproduce}\n" if reproduce else "")


def baseline_text(baseline: BaselineDocument) -> str:
    """Say how the run compares with its baseline."""
    return "\n".join(["", *baseline_lines(baseline, MOST_LISTED), "", ""])


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Write rows as aligned columns, the last one as wide as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


def plan_text(plan: Plan, spec: LabSpec, *, inspect: bool = False) -> str:
    """Say what a run would create and ask, without touching anything."""
    from pytest_k8snet import access, manifests  # noqa: PLC0415 - for --k8snet-plan

    nodes = len(plan.facts.nodes)
    roles = {str(role): count for role, count in access.pods(plan).items()}
    pods = ", ".join(f"{count} {role}" for role, count in roles.items())
    services = ", ".join(
        f"{s.name} x {nodes}" if s.per_node else s.name
        for s in plan.services
        if not s.balanced
    )
    entries = [
        f"LoadBalancer {one.name}"
        for s in plan.services
        if s.balanced
        for one in by_transport(s)
    ] + [f"{e.kind} {e.name}" for e in plan.entries]
    selected = len(plan.checks) + len(plan.skipped)
    lines = [
        f"checks      {len(plan.checks)} of the {selected} selected ones apply",
        f"probes      {plan.probe_count} over {nodes * nodes} ordered pairs of Nodes",
        f"namespaces  {', '.join(access.namespaces(plan, spec))}",
        f"Pods        {pods or 'none'}",
        f"image       {spec.image}",
        f"Services    {services or 'none'}",
        f"policies    {', '.join(p.name for p in plan.policies) or 'none'}",
        f"leading in  {', '.join(entries) or 'nothing'}",
        f"time        about {access.seconds(plan):.0f} s, given the image",
        "permissions (apply them for a user who may do nothing else):",
        access.role_yaml(plan),
    ]
    if inspect:
        where = spec.namespace(manifests.INSPECT)
        looks = f"if it fails privileged Pods in {where}, one on each suspect Node"
        lines.insert(-2, looks)
    lines += [f"not applicable: {check.id}: {why}" for check, why in plan.skipped]
    return "\n".join(lines)
