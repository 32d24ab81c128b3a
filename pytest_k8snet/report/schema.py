"""The schema of report.json: versioned, sorted, with ids that never change.

Additions keep ``SCHEMA_VERSION``; anything that changes what a reader of an older
report would understand raises it, and ``recording`` learns to read both.

What was seen is packed: see ``Batch``. ``recording.read`` unpacks it.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 2


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SuiteDocument(_Part):
    """What asked."""

    version: str = Field(
        default="", description="of pytest-k8snet; empty in old reports"
    )
    profile: str = "default"
    rules: int = Field(
        default=0, description="in the suite's catalogue, selected or not"
    )


class NodeDocument(_Part):
    """A Node."""

    name: str
    addresses: tuple[str, ...] = ()
    pod_cidrs: tuple[str, ...] = ()
    ready: bool = True
    network_unavailable: bool = False
    schedulable: bool = True
    taints: tuple[tuple[str, str, str], ...] = Field(
        default=(), description="each as key, value, effect"
    )
    problem: str = Field(default="", description="why it takes no probe Pods")
    kubelet_version: str = ""
    zone: str = ""
    roles: tuple[str, ...] = ()


class Environment(_Part):
    """What was tested."""

    context: str
    server: str
    kubernetes: str
    network_plugin: str
    network_plugin_version: str = ""
    service_proxy: str
    families: list[str] = Field(description="IP families, the primary one first")
    features: list[str]
    domain: str
    nodes: list[NodeDocument] = Field(description="those that take probe Pods")
    left_out: list[NodeDocument] = []
    service_cidrs: list[str] = []
    dns_addresses: list[str] = []
    dns_replicas: list[str] = []
    api_addresses: list[str] = []
    given: dict[str, str] = Field(
        default={}, description="what the user gave for some rules"
    )

    @property
    def network(self) -> str:
        """The network plugin with its version, where that is known."""
        return f"{self.network_plugin} {self.network_plugin_version}".strip()


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


class FindingDocument(_Part):
    """Why something fails."""

    cause: str = Field(description="an id that never changes; or unknown")
    layer: str = Field(description="the part of the cluster that is at fault")
    confidence: str
    sentence: str
    nodes: tuple[str, ...] = ()
    thing: str = Field(default="", description="the address or Service at fault")
    evidence: tuple[str, ...] = ()
    next: str = Field(default="", description="what to look at, or to run")
    link: str = ""
    checks: tuple[str, ...] = Field(default=(), description="that it explains")
    also: tuple[str, ...] = Field(default=(), description="causes that fit as well")


class AnswerDocument(_Part):
    """Something that was looked at because of what failed."""

    look: str = Field(description="what was looked at")
    node: str = ""
    thing: str = Field(default="", description="an address or a Service")
    values: tuple[str, ...] = Field(default=(), description="what was seen")
    problem: str = Field(default="", description="why nothing could be seen")


class DeviationDocument(_Part):
    """An entry of the known deviations file, and what it did."""

    rule: str
    cells: list[str]
    reason: str
    expires: str
    state: str = Field(description="used, not needed, not asked, or expired")
    checks: list[str] = Field(description="the checks that it excused, or would have")


class ChangeDocument(_Part):
    """A check that is otherwise than in the baseline."""

    check: str
    change: str = Field(description="regressed, fixed, new or gone")
    before: str = Field(description="its result word; empty when it was not asked")
    after: str
    cells: dict[str, int] = Field(default={}, description="how many changed how")


class ShiftDocument(_Part):
    """Times that differ from the baseline's by more than noise does, in seconds."""

    what: str
    before: float
    after: float


class BaselineDocument(_Part):
    """How a run compares with its baseline."""

    started: str = Field(description="of the baseline")
    results: dict[str, int] = Field(description="of the baseline, by result word")
    nodes: dict[str, str] = Field(description="of those replaced: by which, and whom")
    environment: list[str] = Field(description="what differs, a line each")
    changes: list[ChangeDocument]
    threshold: str
    shifts: list[ShiftDocument]


class RuleDocument(_Part):
    """One requirement."""

    id: str
    area: str
    level: str
    requirement: str
    spec: str
    usually: str = Field(default="", description="what breaks it, where it failed")


class AskDocument(_Part):
    """What was asked, without Nodes."""

    op: str
    source: str = Field(description="the role that asks")
    container: str = "main"
    kind: str = Field(default="-", description="which of the target's addresses")
    name: str = ""
    port: str = "main"
    count: int = Field(default=1, description="attempts per cell")
    timeout: str = "dead"
    blocked: bool = False
    settings: dict[str, Any] = {}


class Grid(_Part):
    """Where the cells of a batch begin and end, as numbers of ``Report.places``."""

    source: list[int]
    target: list[int]


Number = int | float | None
"""A number in ``Report.texts``; in columns of times, seconds or milliseconds."""


class ByPlace(_Part):
    """A column that is the same in all rows, or in those with the same place, but few.

    ``source`` or ``target`` have a value for each place at that end, in the order in
    which the grid first names them; ``all`` has the one for every row otherwise.
    """

    all: Number = None
    source: list[Number] | None = None
    target: list[Number] | None = None
    but: dict[int, Number] = Field(default={}, description="rows that are otherwise")


Column = Number | list[Number] | ByPlace
"""The same in every row; row by row; or what most rows are, and the others."""


class Batch(_Part):
    """What was seen of one question, asked at every cell of a grid.

    A row is an attempt; those at one cell follow each other. The layout names the
    columns as the fields of ``Observation`` in the package's ``model`` are, with
    ``milliseconds`` for how long it took; one that is empty everywhere is left out.
    All but the times are numbers in ``Report.texts``.
    """

    ask: int = Field(description="a number in Report.asks")
    grid: int = Field(description="a number in Report.grids")
    protocol: str | None = None
    family: str | None = None
    layout: int = Field(description="a number in Report.layouts")
    columns: list[Column]


Ranges = Annotated[
    list[tuple[int, int]], Field(description="of rows: first and last, both included")
]


class CheckDocument(_Part):
    """One check: a rule for one protocol, IP family and path kind."""

    id: str
    rule: str
    protocol: str | None = None
    family: str | None = None
    path: str | None = None
    result: str = Field(description="one of the five result words")
    reason: str = ""
    cells: tuple[int, int] = Field(default=(0, 0), description="passed, and in all")
    batches: list[int] = Field(default=[], description="numbers in Report.batches")
    violations: Ranges = []
    unjudged: Ranges = []
    reproduce: str = ""


class Report(_Part):
    """A whole run."""

    schema_version: int = SCHEMA_VERSION
    started: str = Field(description="RFC 3339, UTC")
    suite: SuiteDocument
    environment: Environment
    coverage: Coverage
    figures: Figures
    not_running: dict[str, str] = Field(default={}, description="who, and why")
    results: dict[str, int] = Field(description="checks by result word")
    findings: list[FindingDocument] = Field(
        default=[], description="the one that explains most first"
    )
    evidence: list[AnswerDocument] = Field(
        default=[], description="what the findings rest on beside what checks saw"
    )
    deviations: list[DeviationDocument] = []
    baseline: BaselineDocument | None = None
    rules: list[RuleDocument] = Field(description="sorted by id")
    checks: list[CheckDocument] = Field(description="sorted by id")
    places: list[str] = Field(description="Nodes and addresses; empty for no place")
    texts: list[str | list[str]] = Field(description="every value of the columns")
    grids: list[Grid]
    asks: list[AskDocument]
    layouts: list[list[str]] = Field(description="names of columns")
    batches: list[Batch]


def json_schema() -> str:
    """Give the JSON Schema: it is beside this file, for programs in other languages."""
    return json.dumps(Report.model_json_schema(), indent=2) + "\n"
