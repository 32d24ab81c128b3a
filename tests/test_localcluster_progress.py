"""Nothing looks hung: each stage is told, and a long one gives signs of life."""

from __future__ import annotations

import re

import pytest

from pytest_k8snet.localcluster import progress


def test_each_stage_is_a_line_with_the_time() -> None:
    lines: list[str] = []
    told = progress.Lines(lines.append)

    told.stage("nodes")
    told.detail("not worth a line of its own")
    told.stage("control plane")

    assert [line.partition("] ")[2] for line in lines] == ["nodes", "control plane"]
    assert all(re.match(r"\[ +\d+\.\ds\] ", line) for line in lines)


def test_a_long_stage_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    told = progress.Lines(lines.append)
    told.beat()
    told.stage("build")
    told.beat()
    assert len(lines) == 1, "no sign is needed yet"

    monkeypatch.setattr(progress, "HEARTBEAT_SECONDS", 0.0)
    told.detail("kubelet")
    told.beat()

    assert lines[1].endswith("still build: kubelet")


def test_signs_of_life_end_with_the_work() -> None:
    told = progress.Lines(lambda _: None)
    with pytest.raises(ValueError, match="broken"), told.alive():
        raise ValueError("broken")
