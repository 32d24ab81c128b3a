"""Each fault turns red what it breaks, and nothing else; healed, all is green."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from faults import FAULTS, Fault, surprises

if TYPE_CHECKING:
    from shipped_suite import Suite

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_seen_where_it_is_and_nowhere_else(
    fault: Fault, suite: Suite
) -> None:
    with fault.inject(suite.site):
        run = suite.run()

    assert run.report, run.output
    found = surprises(fault, run.report, suite.site)
    assert not found, "\n".join(found)
    assert run.exit_code == pytest.ExitCode.TESTS_FAILED


def test_a_cluster_whose_faults_are_healed_is_green(suite: Suite) -> None:
    for fault in FAULTS:
        with fault.inject(suite.site):
            pass

    run = suite.run()

    assert run.green, run.output
