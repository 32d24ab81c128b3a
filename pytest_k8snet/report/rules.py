"""The rules, for people and programs, in tables. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_k8snet.plan import LACKING, checks
from pytest_k8snet.report.areas import AREAS
from pytest_k8snet.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_k8snet.model import Rule

PREFACE = """# Rules

What the suite asserts: {rules} rules in {checks} checks. Ids never change and are never
reused. Made by `k8snet rules --format markdown > docs/rules.md`.

MUST and SHOULD are the words of RFC 2119; FEATURE is a MUST for clusters that claim the
feature, or show it. A rule is asked for each of its protocols, IP families and paths,
and on every Node. The profile is the smallest one that has it.
"""


def does_not_apply(rule: Rule) -> list[str]:
    """Say where a rule does not apply."""
    where = [LACKING[feature] for feature in sorted(rule.needs)]
    if rule.option:
        where.append(f"--k8snet-{rule.option.replace('_', '-')} is not given")
    if rule.min_nodes > 1:
        where.append(f"there are less than {rule.min_nodes} Nodes")
    return where


def table(rules: Iterable[Rule] = RULES) -> list[tuple[str, ...]]:
    """Give the rules as rows, a header first."""
    rows = [(r.id, str(r.level), r.mark, str(r.profile), r.requirement) for r in rules]
    return [("RULE", "LEVEL", "AREA", "PROFILE", "REQUIREMENT"), *rows]


def as_json(rules: Iterable[Rule] = RULES) -> str:
    """Give the rules for programs."""
    entries = [
        {
            "id": rule.id,
            "level": str(rule.level),
            "area": rule.mark,
            "profile": str(rule.profile),
            "requirement": rule.requirement,
            "spec": rule.spec,
            "needs": sorted(map(str, rule.needs)),
            "usually": rule.usually,
            "checks": [check.id for check in checks([rule])],
        }
        for rule in rules
    ]
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def markdown(rules: Iterable[Rule] = RULES) -> str:
    """Give the rules as a document: docs/rules.md."""
    rules = tuple(rules)
    out = PREFACE.format(rules=len(rules), checks=len(checks(rules)))
    for mark, area in AREAS.items():
        out += f"\n## {area[0].upper()}{area[1:]} (`-m {mark}`)\n\n"
        out += "| rule | level | profile | requirement | not if | checks |\n"
        out += "|---|---|---|---|---|---|\n"
        for rule in (r for r in rules if r.mark == mark):
            cells = (
                f"[{rule.id}]({rule.spec})",
                rule.level,
                rule.profile,
                rule.requirement,
                "; ".join(does_not_apply(rule)),
                str(len(checks([rule]))),
            )
            out += f"| {' | '.join(c.replace('|', chr(92) + '|') for c in cells)} |\n"
    return out
