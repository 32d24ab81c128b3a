"""NetworkPolicy on a cluster whose network plugin does not know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_k8snet.model import Word

if TYPE_CHECKING:
    from shipped_suite import Suite

pytestmark = pytest.mark.cluster

CLAIM = "--k8snet-features=NetworkPolicy"
DEMAND_AN_ANSWER = {
    "NP-DEFAULT-ALLOW",
    "NP-ISOLATION-PER-DIRECTION",
    "NP-NODE-TO-LOCAL-POD",
    "NP-SELF",
}


def test_policies_that_nobody_claims_do_not_apply(suite: Suite) -> None:
    run = suite.run("-m", "policy")

    assert run.report, run.output
    reasons = {check.reason for check in run.report.checks}
    assert set(run.words.values()) == {Word.NOT_APPLICABLE}
    assert reasons == {"no network plugin enforces NetworkPolicy"}
    assert run.exit_code == pytest.ExitCode.NO_TESTS_COLLECTED


def test_policies_that_are_claimed_and_not_enforced_are_red(suite: Suite) -> None:
    run = suite.run("-m", "policy", CLAIM)

    assert run.report, run.output
    for check in run.report.checks:
        open_anyway = check.rule in DEMAND_AN_ANSWER
        assert check.result == (Word.INCONCLUSIVE if open_anyway else Word.FAIL)
        if open_anyway:
            assert "is in force on every Node" in check.reason
    assert "should be blocked" in run.output
    assert run.exit_code == pytest.ExitCode.TESTS_FAILED
