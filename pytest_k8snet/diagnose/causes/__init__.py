"""The causes, the likelier ones first among those that look alike.

The patterns follow what was measured of each fault; the ids are those that people who
met it would search for.
"""

from __future__ import annotations

from pytest_k8snet.diagnose.causes.entry import ENTRY_CAUSES
from pytest_k8snet.diagnose.causes.nodes import NODE_CAUSES
from pytest_k8snet.diagnose.causes.pods import POD_CAUSES
from pytest_k8snet.diagnose.causes.services import SERVICE_CAUSES

CAUSES = (*POD_CAUSES, *NODE_CAUSES, *SERVICE_CAUSES, *ENTRY_CAUSES)
