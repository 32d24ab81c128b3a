"""The first schema: one object per cell, its ends in words, its attempts as one."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Any

from pytest_k8snet.model import Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]

SOURCE = re.compile(r"(?P<role>[a-z]+)(@(?P<node>[^/]+))?(/(?P<container>.+))?")
TARGET = re.compile(r"(?P<name>[^@]*?)(@(?P<node>[^:]+))?(:(?P<port>[^:@]+))?")
DETAIL = re.compile(r"(?P<cell>.*?)  (?P<outcome>[a-z ]+?)( \((?P<why>.*)\))?(, .*)?")
PREFIXES = {f"{kind} ": kind for kind in Kind if kind not in {Kind.POD, Kind.NONE}}
LISTS = ("checks", "places", "texts", "grids", "asks", "layouts", "batches")
OF_RULES = ("area", "level", "requirement", "spec")


def upgrade(old: Json) -> Json:
    """Give the same in version 2, as far as version 1 said it."""
    environment = dict(old["environment"])
    left_out = environment.pop("skipped_nodes")
    environment["left_out"] = [{"name": n, "problem": p} for n, p in left_out.items()]
    made: Json = {
        **{k: old[k] for k in ("started", "coverage", "figures", "results")},
        **{k: [] for k in LISTS},
        "schema_version": 2,
        "suite": {},
        "environment": environment,
        "rules": [
            {"id": c["rule"], **{k: c[k] for k in OF_RULES}}
            for c in {c["rule"]: c for c in old["checks"]}.values()
        ],
    }
    for check in old["checks"]:
        made["checks"].append(_check(check, made))
    return made


def _check(check: Json, made: Json) -> Json:
    dropped = {*OF_RULES, "cells_passed", "cells_total"}
    kept = {k: v for k, v in check.items() if k not in dropped}
    kept["cells"] = (check["cells_passed"], check["cells_total"])
    kept |= {"batches": [], "violations": [], "unjudged": []}
    for ask, cells in groupby(check["cells"], lambda c: _ask(c, check)):
        batch = _batch(ask, list(cells), check, made)
        kept["batches"].append(batch)
    for row, cell in enumerate(check["cells"]):
        if cell["conforms"] is False:
            kept["violations"].append((row, row))
        elif cell["conforms"] is None and check["result"] != "inconclusive":
            kept["unjudged"].append((row, row))
    return kept


def _ask(cell: Json, check: Json) -> Json:
    source, (kind, target) = _source(cell), _target(cell)
    answered = cell["outcome"] == Outcome.ANSWERED
    return {
        # What was done was not said; these are described alike.
        "op": "dns" if check["area"] == "dns" and answered else "connect",
        "source": source["role"],
        "container": source["container"] or "main",
        "kind": str(kind),
        "name": "" if kind is Kind.DNS_SERVER else target["name"],
        "port": target["port"] or "main",
    }


def _source(cell: Json) -> dict[str, str]:
    found = SOURCE.fullmatch(cell["source"])
    return (
        found.groupdict("") if found else {"role": "api", "node": "", "container": ""}
    )


def _target(cell: Json) -> tuple[Kind, dict[str, str]]:
    text = cell["target"]
    if text == "-":
        return Kind.NONE, dict.fromkeys(("name", "node", "port"), "")
    for prefix, kind in PREFIXES.items():
        if text.startswith(prefix):
            return kind, _parts(text.removeprefix(prefix))
    return Kind.POD, _parts(text)


def _parts(text: str) -> dict[str, str]:
    found = TARGET.fullmatch(text)
    if found and found["node"] is not None:
        return found.groupdict("")
    name, _, port = text.rpartition(":")
    return {"name": name or text, "node": "", "port": port if name else ""}


def _batch(ask: Json, cells: list[Json], check: Json, made: Json) -> int:
    targets = [_target(c)[1] for c in cells]
    replica = ask["kind"] == Kind.DNS_SERVER
    place = _index(made["places"])
    grid = {
        "source": [place(_source(c)["node"]) for c in cells],
        "target": [place(t["name"] if replica else t["node"]) for t in targets],
    }
    text = _index(made["texts"])
    columns = {
        "outcome": [text(c["outcome"]) for c in cells],
        "detail": [text(_why(c)) for c in cells],
        "milliseconds": [c["milliseconds"] for c in cells],
        "after": [c["after"] for c in cells],
    }
    made["batches"].append(
        {
            "ask": _index(made["asks"])(ask),
            "grid": _index(made["grids"])(grid),
            "protocol": check["protocol"],
            "family": check["family"],
            "layout": _index(made["layouts"])(list(columns)),
            "columns": list(columns.values()),
        }
    )
    return len(made["batches"]) - 1


def _why(cell: Json) -> str:
    found = DETAIL.fullmatch(cell["detail"])
    return (found and found["why"]) or ""


def _index(items: list[Any]) -> Callable[[Any], int]:
    """Give what finds the number of an item, added if it is not there."""

    def number(item: object) -> int:
        if item not in items:
            items.append(item)
        return items.index(item)

    return number
