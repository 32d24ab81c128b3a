"""Traefik: a controller for Ingress, and for Gateway API with its standard channel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_k8snet.localcluster import objects
from pytest_k8snet.localcluster.component import Component, Source
from pytest_k8snet.localcluster.images import USERS, Files, Image

from .addon import Addon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.localcluster.build import Binaries
    from pytest_k8snet.localcluster.objects import Object

    from .addon import Setting

MODULE = "github.com/traefik/traefik/v3"
VERSION = "3.6.12"
IMAGE = f"docker.io/traefik:v{VERSION}"
PROGRAM = "usr/local/bin/traefik"
MANIFEST = Path(__file__).with_name("traefik.yaml")

COMPONENT = Component(
    "traefik",
    (f"{MODULE}/cmd/traefik",),
    f"-s -w -X {MODULE}/pkg/version.Version={VERSION}",
    # In the version that Traefik itself was written for.
    sources=(Source("sigs.k8s.io/gateway-api", "config/crd/standard"),),
)


def images(binaries: Binaries) -> dict[str, Image]:
    """Make the image: one static program."""
    program: dict[str, bytes | Path] = {PROGRAM: binaries["traefik"] / "traefik"}
    files = Files({**program, **USERS}, {}, ("etc/traefik", "tmp"))
    return {IMAGE: Image(files, {"Entrypoint": [f"/{PROGRAM}"]})}


def steps(setting: Setting) -> Iterator[list[Object]]:
    """Yield Gateway API's own definitions, then Traefik."""
    definitions = setting.binaries["traefik"] / "standard"
    yield [
        item
        for file in sorted(definitions.glob("*.yaml"))
        for item in objects.load(file.read_text())
    ]
    yield objects.load(MANIFEST.read_text())


TRAEFIK = Addon(name="traefik", components=(COMPONENT,), images=images, steps=steps)
