from __future__ import annotations

from typing import Any

import pytest

from pytest_k8snet.model import Word
from pytest_k8snet.plan import checks
from pytest_k8snet.rules import service, service_variants

RULES = (*service.RULES, *service_variants.RULES)


@pytest.mark.rule3
@pytest.mark.parametrize("check", checks(RULES), ids=str)
def test_service(k8snet_result: dict[str, Any]) -> None:
    if k8snet_result["word"] == Word.FAIL:
        pytest.fail(k8snet_result["text"], pytrace=False)
