"""Deploys the shop before its tests, and removes it after them."""

from __future__ import annotations

import os
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import pytest
import yaml
from kubernetes import client, config, utils, watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.workbench import Workbench

SHOP = Path(__file__).with_name("shop.yaml")
IMAGE = os.environ.get("SHOP_IMAGE", "python:3.13-alpine")
WAIT = 120
"""Seconds for the images to be pulled and the Pods to become ready."""


@pytest.fixture(scope="session", autouse=True)
def shop(k8snet: Workbench) -> Iterator[None]:
    """Have the shop run in the cluster that the command line names."""
    text = Template(SHOP.read_text(encoding="utf-8")).substitute(SHOP_IMAGE=IMAGE)
    with config.new_client_from_config(context=k8snet.facts.context) as api:
        namespace, *objects = yaml.safe_load_all(text)
        # Not below: a shop that was there before is not ours to remove.
        utils.create_from_dict(api, namespace)
        try:
            utils.create_from_yaml(api, yaml_objects=objects)
            wait_until_ready(client.AppsV1Api(api))
            yield
        finally:
            remove(client.CoreV1Api(api))


def wait_until_ready(apps: client.AppsV1Api) -> None:
    """Wait until every Deployment of the shop has all its replicas ready."""
    pending = {"web", "db"}
    changes = watch.Watch()
    for change in changes.stream(
        apps.list_namespaced_deployment, "shop", timeout_seconds=WAIT
    ):
        found = change["object"]
        if found.status.ready_replicas == found.spec.replicas:
            pending.discard(found.metadata.name)
        if not pending:
            return
    pytest.fail(f"not ready within {WAIT} s: {', '.join(sorted(pending))}")


def remove(core: client.CoreV1Api) -> None:
    """Remove the shop, and wait until it is gone."""
    version = core.read_namespace("shop").metadata.resource_version
    core.delete_namespace("shop")
    for change in watch.Watch().stream(
        core.list_namespace,
        field_selector="metadata.name=shop",
        resource_version=version,
        timeout_seconds=WAIT,
    ):
        if change["type"] == "DELETED":
            return
