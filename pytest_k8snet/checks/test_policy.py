from __future__ import annotations

from typing import Any

import pytest

from pytest_k8snet.model import Word
from pytest_k8snet.plan import checks
from pytest_k8snet.rules import policy, policy_changes


@pytest.mark.policy
@pytest.mark.parametrize(
    "check", checks((*policy.RULES, *policy_changes.RULES)), ids=str
)
def test_policy(k8snet_result: dict[str, Any]) -> None:
    if k8snet_result["word"] == Word.FAIL:
        pytest.fail(k8snet_result["text"], pytrace=False)
