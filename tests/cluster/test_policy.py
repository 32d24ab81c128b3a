"""NetworkPolicy on a cluster whose network plugin does not know it.

What is claimed and not enforced is among the faults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from faults.catalogue.policies import CLAIM

from pytest_k8snet.faults.objects import everything_denied
from pytest_k8snet.model import Word

if TYPE_CHECKING:
    from shipped_suite import Suite

pytestmark = pytest.mark.cluster


def test_policies_that_nobody_claims_do_not_apply(suite: Suite) -> None:
    run = suite.run("-m", "policy")

    assert run.report, run.output
    reasons = {check.reason for check in run.report.checks}
    assert set(run.words.values()) == {Word.NOT_APPLICABLE}
    assert reasons == {"no network plugin enforces NetworkPolicy"}
    assert run.exit_code == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_policy_of_somebody_else_that_denies_everything_is_named(
    suite: Suite,
) -> None:
    with everything_denied(suite.site):
        run = suite.run(CLAIM)

    assert run.report, run.output
    assert set(run.words.values()) == {Word.INCONCLUSIVE, Word.NOT_APPLICABLE}
    for check in run.report.checks:
        if check.result == Word.INCONCLUSIVE:
            assert "policies that are not ours apply to our Pods" in check.reason
            assert "default-deny" in check.reason
    assert run.exit_code == pytest.ExitCode.TESTS_FAILED
