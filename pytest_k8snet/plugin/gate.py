"""What decides, beside the rules, about red and green: deviations and a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_k8snet.model import Word

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_k8snet.deviations import Entry, Use
    from pytest_k8snet.model import ClusterFacts
    from pytest_k8snet.plugin.options import Settings
    from pytest_k8snet.report.compare import CheckChange
    from pytest_k8snet.report.recording import Recording
    from pytest_k8snet.report.schema import Environment
    from pytest_k8snet.result import Result

RED = frozenset({Word.FAIL, Word.INCONCLUSIVE})


@dataclass(frozen=True)
class Gate:
    """What the user knows beforehand.

    Attributes:
        entries: of the known deviations file.
        file: that file; "" without one.
        baseline: an earlier run; only what got worse is red.
        places: the places of this run, each with the one it stands for there.
        today: on which entries expire.

    """

    entries: tuple[Entry, ...] = ()
    file: str = ""
    baseline: Recording | None = None
    places: Mapping[str, str] | None = None
    today: date = date.max

    @classmethod
    def open(cls, settings: Settings, facts: ClusterFacts) -> Gate:
        """Read what the user named.

        Raises:
            pytest.UsageError: when a file cannot be used, with why.

        """
        entries, file = _deviations(settings)
        today = datetime.now(UTC).date()
        if not settings["baseline"]:
            return cls(entries, file, today=today)
        from pytest_k8snet.report.compare import match_places  # noqa: PLC0415
        from pytest_k8snet.report.document import environment  # noqa: PLC0415

        baseline, here = _baseline(settings), environment(facts)
        there = baseline.report.environment
        if _other_cluster(there, here):
            raise pytest.UsageError(
                f"{settings.origin['baseline']}: that is a run of another cluster: "
                f"context {there.context}, {there.server}, and no Node of this one; "
                "k8snet compare compares the runs of different clusters"
            )
        return cls(entries, file, baseline, match_places(there, here), today)

    def header(self) -> list[str]:
        """Say what is taken into account, for pytest's header."""
        lines = []
        if self.baseline:
            started = self.baseline.report.started
            lines.append(f"k8snet: red is only what got worse since {started}")
        if self.file:
            lines.append(
                f"k8snet: known deviations: {len(self.entries)} in {self.file}"
            )
        return lines

    def amended(self, result: Result) -> Result:
        """Give a result with known deviations taken for what they are."""
        from pytest_k8snet.deviations import amend  # noqa: PLC0415

        return amend(result, self.entries, self.today) if self.entries else result

    def uses(self, results: Iterable[Result]) -> tuple[Use, ...]:
        """Say what every entry of the file did."""
        from pytest_k8snet.deviations import uses  # noqa: PLC0415

        return uses(self.entries, results, self.today)

    def change(self, result: Result) -> CheckChange | None:
        """Say what became of a check since the baseline; None without one."""
        from pytest_k8snet.report.compare import compare_check  # noqa: PLC0415

        if self.baseline is None:
            return None
        known = {r.check.id: r for r in self.baseline.results}
        before = known.get(result.check.id)
        return compare_check(result.check.id, before, result, self.places or {})

    def on_the_wire(self, result: Result) -> dict[str, Any]:
        """Give what a test needs of a result; rules stay where they are.

        ``excused`` says why what is not as it should be is not red; ``properties`` are
        for JUnit's file.
        """
        from pytest_k8snet.result import explain  # noqa: PLC0415

        result, check = self.amended(result), result.check
        text = explain(result) if result.word is Word.FAIL else result.reason
        properties = {
            "rule": check.rule.id,
            "level": str(check.rule.level),
            "requirement": check.rule.requirement,
            "spec": check.rule.spec,
            "result": str(result.word),
            "cells": f"{result.cells - result.failed_cells}/{result.cells}",
        }
        excused = ""
        if result.word in RED and (change := self.change(result)):
            properties["baseline"] = str(change.change)
            excused = _excuse(change)
        return {
            "id": check.id,
            "word": str(result.word),
            "text": text,
            "excused": excused and f"{excused}: {text}",
            "properties": properties,
        }


def _excuse(change: CheckChange) -> str:
    """Say why something that is not as it should be is not red; "" when it is.

    What fails is excused by a baseline only where it did not hold there either: not
    judged is not broken.
    """
    from pytest_k8snet.report.compare import Change  # noqa: PLC0415

    if change.change is Change.REGRESSED:
        return ""
    if change.change is Change.NEW:
        fails = change.after and change.after.word is Word.FAIL
        return "" if fails else "not judged in the baseline"
    return f"no regression: {change.before and change.before.word} in the baseline, too"


def _deviations(settings: Settings) -> tuple[tuple[Entry, ...], str]:
    from pytest_k8snet.deviations import FILE, read  # noqa: PLC0415 - pydantic

    given = settings["deviations"]
    if not given and not Path(FILE).is_file():
        return (), ""
    path = Path(given or FILE)
    try:
        return read(path.read_text(encoding="utf-8")), str(path)
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"{path}: {error}") from None


def _baseline(settings: Settings) -> Recording:
    from pytest_k8snet.report.recording import Unreadable, read  # noqa: PLC0415

    path = Path(settings["baseline"])
    try:
        return read(path.read_text(encoding="utf-8"))
    except (OSError, Unreadable) as error:
        where = settings.origin["baseline"]
        raise pytest.UsageError(f"{where}: {path}: {error}") from None


def _other_cluster(there: Environment, here: Environment) -> bool:
    nodes = {n.name for n in there.nodes} & {n.name for n in here.nodes}
    return not nodes and there.context != here.context and there.server != here.server
