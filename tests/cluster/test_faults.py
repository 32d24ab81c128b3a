"""Each fault turns red what it breaks, and nothing else; healed, all is green."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from faults import ROUNDS, Round, injected, seen, surprises
from faults.table import Sighting

if TYPE_CHECKING:
    from shipped_suite import Suite

pytestmark = pytest.mark.cluster


def names(faults: Round) -> str:
    return "+".join(map(str, faults))


@pytest.mark.parametrize("faults", ROUNDS, ids=names)
def test_a_fault_is_seen_where_it_is_and_nowhere_else(
    faults: Round, suite: Suite, sightings: list[Sighting]
) -> None:
    (args,) = {one.args for one in faults}

    with injected(faults, suite.site):
        run = suite.run(*args)

    assert run.recording, run.output
    found = surprises(faults, run.recording, suite.site)
    assert not found, "\n".join(found)
    assert run.exit_code == pytest.ExitCode.TESTS_FAILED
    seconds = round(run.recording.report.figures.total)
    for one in faults:
        red = seen(one.red, run.recording, suite.site)
        sightings.append(Sighting(one.fault.id, one.fault.breaks, seconds, red))


def test_a_cluster_whose_faults_are_healed_is_green(suite: Suite) -> None:
    for faults in ROUNDS:
        with injected(faults, suite.site):
            pass

    run = suite.run()

    assert run.green, run.output
