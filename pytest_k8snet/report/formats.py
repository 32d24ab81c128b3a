"""What a report folder holds: one file per format, each made of the same recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_k8snet.report.conformance import conformance
from pytest_k8snet.report.document import text
from pytest_k8snet.report.html import html
from pytest_k8snet.report.markdown import markdown
from pytest_k8snet.report.prometheus import prometheus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_k8snet.report.recording import Recording

FORMATS: Mapping[str, Callable[[Recording], str]] = {
    "report.json": lambda recording: text(recording.report),
    "report.html": html,
    "report.md": markdown,
    "metrics.prom": prometheus,
    "conformance.yaml": conformance,
}
"""By file name."""
