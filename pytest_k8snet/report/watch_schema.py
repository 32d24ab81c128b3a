"""The schema of watch.json: what a watch saw, valid at any moment of it. Pure."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from pytest_k8snet.outages import Way

if TYPE_CHECKING:
    from pytest_k8snet.model import ClusterFacts
    from pytest_k8snet.outages import Record
    from pytest_k8snet.watched import Watched

WATCH_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OutageDocument(_Part):
    """A time in which a path did not always work; in seconds since the start."""

    start: float
    end: float
    seconds: float
    gap: float = Field(description="the longest time without any success in it")
    lost: int = Field(description="requests without an answer in time")
    failed: int = Field(description="requests with an error or a wrong answer")
    why: str
    over: bool = Field(description="whether it was seen to end")


class BrokenDocument(_Part):
    """A connection that was kept, and broke."""

    at: float
    why: str


class PathDocument(_Part):
    """What became of a path."""

    kind: str = Field(description="pod, service, nodeport or dns")
    source: str
    target: str
    family: str
    kept: bool = Field(description="over one connection, not a new one for each")
    address: str
    result: str = Field(description="pass, fail, inconclusive or not-applicable")
    reason: str = ""
    asked: int
    outages: list[OutageDocument] = Field(default=[], description="longest first")
    not_measured: list[tuple[float, float]] = []
    broken: list[BrokenDocument] = []


class WatchDocument(_Part):
    """A whole watch."""

    watch_version: int = WATCH_VERSION
    started: str = Field(description="RFC 3339, UTC")
    seconds: float
    state: str = Field(description="running, finished or interrupted")
    command: list[str] = []
    exit_code: int | None = Field(default=None, description="of the command")
    result: str = Field(description="the worst of the paths' results")
    context: str
    server: str
    kubernetes: str
    network_plugin: str
    service_proxy: str
    nodes: list[str]
    not_running: dict[str, str] = {}
    budgets: dict[str, float] = Field(
        description="seconds that a path of a kind may be out at a time"
    )
    paths: list[PathDocument]


def watch_document(facts: ClusterFacts, watched: Watched) -> WatchDocument:
    """Write down what a watch saw so far."""
    begun = datetime.fromtimestamp(watched.started, UTC)
    return WatchDocument(
        started=begun.isoformat(timespec="milliseconds"),
        seconds=round(watched.seconds, 3),
        state=watched.state,
        command=list(watched.command),
        exit_code=watched.exit_code,
        result=str(watched.word),
        context=facts.context,
        server=facts.server,
        kubernetes=facts.version,
        network_plugin=facts.network_plugin,
        service_proxy=facts.service_proxy,
        nodes=[node.name for node in facts.nodes],
        not_running=dict(watched.problems),
        budgets={str(way): watched.budgets[way] for way in Way},
        paths=[_path(one) for one in watched.records],
    )


def json_schema() -> str:
    """Give the JSON Schema: it is beside this file, for programs in other languages."""
    return json.dumps(WatchDocument.model_json_schema(), indent=2) + "\n"


def _path(record: Record) -> PathDocument:
    path = record.path
    return PathDocument(
        kind=str(path.way),
        source=path.source,
        target=path.target,
        family=str(path.family),
        kept=path.kept,
        address=record.address,
        result=str(record.word),
        reason=record.reason,
        asked=record.asked,
        outages=[
            OutageDocument(
                start=round(one.start, 3),
                end=round(one.end, 3),
                seconds=round(one.seconds, 3),
                gap=round(one.gap, 3),
                lost=one.lost,
                failed=one.failed,
                why=str(one.why),
                over=one.over,
            )
            for one in record.outages
        ],
        not_measured=[(round(a, 3), round(b, 3)) for a, b in record.unmeasured],
        broken=[BrokenDocument(at=round(t, 3), why=str(w)) for t, w in record.broken],
    )
