from __future__ import annotations

from typing import Any

import pytest

from pytest_k8snet.model import Word
from pytest_k8snet.plan import checks
from pytest_k8snet.rules import dns, dns_service

RULES = (*dns.RULES, *dns_service.RULES)


@pytest.mark.dns
@pytest.mark.parametrize("check", checks(RULES), ids=str)
def test_dns(k8snet_result: dict[str, Any]) -> None:
    if k8snet_result["word"] == Word.FAIL:
        pytest.fail(k8snet_result["text"], pytrace=False)
