from __future__ import annotations

from typing import Any

import pytest

from pytest_k8snet.model import Word
from pytest_k8snet.plan import checks
from pytest_k8snet.rules import entry, external, load_balancer

RULES = (*external.RULES, *load_balancer.RULES, *entry.RULES)


@pytest.mark.rule4
@pytest.mark.parametrize("check", checks(RULES), ids=str)
def test_external(k8snet_result: dict[str, Any]) -> None:
    if k8snet_result["word"] == Word.FAIL:
        pytest.fail(k8snet_result["text"], pytrace=False)
