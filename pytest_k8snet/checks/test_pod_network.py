from __future__ import annotations

from typing import Any

import pytest

from pytest_k8snet.model import Word
from pytest_k8snet.plan import checks
from pytest_k8snet.rules import pod_end, pod_network, pod_traffic

RULES = (*pod_network.RULES, *pod_end.RULES, *pod_traffic.RULES)


@pytest.mark.rule2
@pytest.mark.parametrize("check", checks(RULES), ids=str)
def test_pod_network(k8snet_result: dict[str, Any]) -> None:
    if k8snet_result["word"] == Word.FAIL:
        pytest.fail(k8snet_result["text"], pytrace=False)
