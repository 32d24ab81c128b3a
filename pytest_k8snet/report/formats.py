"""What a report folder holds: one file per format, each made of the same recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_k8snet.report import document

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_k8snet.report.recording import Recording

FORMATS: Mapping[str, Callable[[Recording], str]] = {
    "report.json": lambda recording: document.text(recording.report),
}
"""By file name."""
