"""The schema of report.json: versioned, sorted, with ids that never change.

Additions keep ``SCHEMA_VERSION``; anything that changes what a reader of an older
report would understand raises it.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeDocument(_Part):
    """A Node that was tested."""

    name: str
    addresses: list[str]
    pod_cidrs: list[str]
    kubelet_version: str


class Environment(_Part):
    """What was tested."""

    context: str
    server: str
    kubernetes: str
    network_plugin: str
    service_proxy: str
    families: list[str] = Field(description="IP families, the primary one first")
    features: list[str]
    domain: str
    nodes: list[NodeDocument]
    skipped_nodes: dict[str, str] = Field(
        description="Node name to why it was left out"
    )


class Coverage(_Part):
    """How much of what there is was asked."""

    nodes: int
    ordered_pairs: int = Field(description="of Nodes, same-node included")
    checks: int
    probes_planned: int = Field(description="distinct probes, repeats not counted")


class Figures(_Part):
    """What was measured: seconds, counts and MiB."""

    total: float
    phases: dict[str, float]
    settle: float
    unsettled: int = Field(description="cells that had not settled when judged")
    probes: int = Field(description="probes sent, the repeated ones included")
    api_requests: int
    controller_rss_mib: float


class Cell(_Part):
    """One source and target, over all attempts of a check."""

    source: str
    target: str
    conforms: bool | None = Field(description="null when it was not judged")
    outcome: str = Field(description="of the first violation, else of the last attempt")
    attempts: int
    milliseconds: float = Field(description="of the slowest attempt")
    detail: str = ""
    after: float | None = Field(None, description="seconds from the change watched")


class CheckDocument(_Part):
    """One check: a rule for one protocol, IP family and path kind."""

    id: str
    rule: str
    area: str
    level: str
    requirement: str
    spec: str
    protocol: str | None
    family: str | None
    path: str | None
    result: str = Field(description="one of the five result words")
    reason: str
    cells_passed: int
    cells_total: int
    cells: list[Cell]
    reproduce: str = ""


class Report(_Part):
    """A whole run."""

    schema_version: int = SCHEMA_VERSION
    started: str = Field(description="RFC 3339, UTC")
    environment: Environment
    coverage: Coverage
    figures: Figures
    results: dict[str, int] = Field(description="checks by result word")
    checks: list[CheckDocument] = Field(description="sorted by id")
