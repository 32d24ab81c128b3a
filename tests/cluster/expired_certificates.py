"""A plugin with which the suite gives its sites certificates that have expired."""

from __future__ import annotations

from datetime import timedelta

from pytest_k8snet import publishing

publishing.LIFETIME = timedelta(minutes=-30)
